/** What models said of a study and what physicians say of it: asking, saying, and what stands. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import { api } from "../../app/api";
import type {
  FindingReview,
  FindingReviewBody,
  FindingReviews,
  FindingSaid,
  ReviewedFinding,
  ReviewedReport,
  ReviewedReports,
} from "../../contract";
import type { Key } from "../../i18n";
import type { Mark } from "../../imaging/marks";
import { uuid7 } from "../bedside/draft";

export const NONE_FOUND = "NONE-FOUND";
/** What a report calls made-up heads. */
export const PHANTOM = "synthetic phantom";
const ASK_EVERY_MS = 20_000;
export const REASONS = ["vessel", "calcification", "artefact", "normal-structure", "duplicate", "not-seen", "other"] as const;
export const REGIONS = ["lobar", "deep", "infratentorial"] as const;
export type Reason = (typeof REASONS)[number];
/** What somebody says, without what the page adds to it. */
export type Word = Pick<FindingReviewBody, "verdict" | "reason" | "said">;

/** One finding with the report it stands in. */
export interface Row {
  report: ReviewedReport;
  finding: ReviewedFinding;
}

/** What something is said of: a finding, or a report that has none. */
export interface Subject {
  report: ReviewedReport;
  finding: Reviewed;
}
type Reviewed = Pick<ReviewedFinding, "finding_uid" | "reviews">;

/** A report in which nothing was found, to say something of it: under its own UID. */
export function whole(report: ReviewedReport): Subject {
  return { report, finding: { finding_uid: report.sop_uid, reviews: report.reviews } };
}

export function useReports(studyKey: string, changedMs: number) {
  return useQuery({
    queryKey: ["reviews", studyKey, changedMs],
    queryFn: () => api.get<ReviewedReports>(`/studies/${studyKey}/reviews`),
    refetchInterval: ASK_EVERY_MS,
    placeholderData: (before) => before,
  });
}

/** What stands of a finding; null while nothing does. */
export function standing(finding: Reviewed): FindingReview | null {
  const last = finding.reviews.at(-1);
  return last && last.verdict !== "reopened" ? last : null;
}

/** What a finding is now: as a model told it, or as it was corrected. */
export function present(finding: ReviewedFinding): FindingSaid {
  return standing(finding)?.said ?? finding.told;
}

/** What is to be drawn over the pictures of a series, each called by its number in its report. */
export function marksOf(reports: ReviewedReport[], series: string): Mark[] {
  return reports.flatMap(({ findings }) =>
    findings.flatMap((finding, index) => {
      const { centre_mm: centre, diameter_mm: diameter } = present(finding);
      const verdict = standing(finding)?.verdict ?? "";
      return finding.series_uid === series ? [{ uid: finding.finding_uid, label: `AI ${index + 1}`, centre, diameter, verdict }] : [];
    }),
  );
}

/** How sure the model is, in a word. */
export function surety(confidence: number): Key {
  if (confidence > 0.9) return "finding.veryProbable";
  if (confidence >= 0.75) return "finding.probable";
  return confidence >= 0.5 ? "finding.possible" : "finding.low";
}

/** A probability in whole percent, and never a certainty that nobody has. */
export function percent(confidence: number): string {
  return confidence > 0.995 ? ">\u00a099\u00a0%" : `${Math.round(100 * confidence)}\u00a0%`;
}

/** Millimetres to the tenth: a model tells more digits than a voxel carries. */
export function tenths(mm: number): string {
  return mm.toFixed(1);
}

/** Say something of a finding.  The same word pressed again has the same name, so that it is said once. */
export function useSay(studyKey: string) {
  const queries = useQueryClient();
  const names = useRef(new Map<string, string>());
  return useMutation({
    mutationFn: ({ row, word }: { row: Subject; word: Word }) => {
      const said = { ...word, sha256: row.report.sha256, version: row.finding.reviews.length };
      const key = JSON.stringify([row.finding.finding_uid, said]);
      const name = names.current.get(key) ?? uuid7(Date.now(), crypto.getRandomValues(new Uint8Array(16)));
      names.current.set(key, name);
      const path = `/studies/${studyKey}/findings/${row.finding.finding_uid}/reviews`;
      return api.post<FindingReviews>(path, { ...said, review_id: name });
    },
    // Also where somebody else was first: then one sees what they said.
    onSettled: () => queries.invalidateQueries({ queryKey: ["reviews", studyKey] }),
  });
}

/** The lists of studies: asking for them, and how a row says when and how much. */
import { keepPreviousData, queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api } from "../../app/api";
import type { StudyReadBody, StudyRow, StudyRows } from "../../contract";
import type { Words } from "../../i18n";
import { dayOf } from "../../imaging/dicom";

const ASK_EVERY_MS = 20_000;

let listedAt = "";

/** Note on which page studies are listed, for the way back from one of them; empty: on none now. */
export function noteListedAt(hash: string): void {
  listedAt = hash;
}

/** The page from which a study was opened; empty where it was opened by its address. */
export function cameFrom(): string {
  return listedAt;
}

function asking(asked: Record<string, string>) {
  const query = new URLSearchParams(asked).toString();
  return queryOptions({
    queryKey: ["studies", query],
    queryFn: () => api.get<StudyRows>(`/studies?${query}`),
    refetchInterval: ASK_EVERY_MS,
  });
}

/** Studies by what is asked for: person, study, limit.  Nobody else's stand there while they are fetched. */
export function useStudies(asked: Record<string, string>) {
  return useQuery(asking(asked));
}

/** A page of all studies, by site, modality, unread, offset, limit; the page before stands until it is there. */
export function useStudyPage(asked: Record<string, string>) {
  return useQuery({ ...asking(asked), placeholderData: keepPreviousData });
}

const READERS = new Set(["physician", "clinic"]);

/** Whether somebody of this role says that studies are read. */
export function mayRead(role: string | undefined): boolean {
  return READERS.has(role ?? "");
}

/** Whether the next press says that a study is read; else that it is to be read again. */
export function awaitsReader(row: Pick<StudyRow, "is_unread" | "is_fetched">): boolean {
  return row.is_unread || row.is_fetched;
}

/** Say that what is shown of a study (`images`) is read, or where it is, that it is to be read again. */
export function useMarkRead() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (row: StudyRow) => {
      const path = `/studies/${row.study_key}/read`;
      const body: StudyReadBody = { images: row.images };
      return awaitsReader(row) ? api.post<void>(path, body) : api.delete(path);
    },
    onSuccess: () => queries.invalidateQueries({ queryKey: ["studies"] }),
  });
}

/** `2026-11-20 07:30`, as far as it is said. */
export function takenAt({ study_date: day, study_time: time }: Pick<StudyRow, "study_date" | "study_time">): string {
  return [dayOf(day), time.length >= 4 ? `${time.slice(0, 2)}:${time.slice(2, 4)}` : ""].filter(Boolean).join(" ");
}

/** Where the picture is that a site sent ahead of a study. */
export function keyImageAt({ study_key: key }: Pick<StudyRow, "study_key">): string {
  return `/api/v1/studies/${key}/key-image`;
}

/** How much of a study has come, in words. */
export function arrivalWords(row: StudyRow, t: Words["t"]): string {
  if (row.state === "preview") {
    if (row.expected === null) return t("study.preview");
    return t(row.has_key_image ? "study.previewOf" : "study.onTheWay", { m: row.expected });
  }
  if (row.state === "whole") return t("study.whole");
  if (row.expected === null) return t("study.open", { n: row.arrived });
  return t("study.partly", { n: row.arrived, m: row.expected });
}

/** What models point to in a study, and the presses by which a physician says what it is. */
import { useState } from "react";
import type { ReactNode } from "react";
import { useKeys } from "../../app/keys";
import { useLive } from "../../app/live";
import type { FindingReview, FindingSaid, ReviewedReport, StudyRow } from "../../contract";
import type { Key, Words } from "../../i18n";
import { useWords } from "../../i18n";
import { serverNow, shortMoment } from "../../live/clock";
import { Icon } from "../../state/Icon";
import { Fault, Pending } from "../../state/Small";
import { EditForm, ReasonForm } from "./FindingForms";
import { NONE_FOUND, PHANTOM, percent, present, standing, surety, tenths, useSay, whole } from "./findings";
import type { Reason, Row, Subject, Word, useReports } from "./findings";
import { mayRead } from "./studies";
import "./findings.css";

/** An image that is to be looked at; anew with each press. */
export interface Pointed {
  series: string;
  image: string;
  finding: string;
}

function placeWords({ region, diameter_mm: diameter }: FindingSaid, t: Words["t"]): string {
  return [t("finding.size", { n: tenths(diameter) }), region && t(`region.${region}`)].filter(Boolean).join(" · ");
}

function verdictWords(review: FindingReview, { t, both }: Words): string {
  const told = { name: both(review.by), time: shortMoment(review.at_ms, serverNow()) };
  if (review.verdict === "rejected") return t("finding.rejectedBy", { ...told, reason: t(`reason.${review.reason as Reason}`) });
  return t(review.verdict === "edited" ? "finding.editedBy" : "finding.verifiedBy", told);
}

/** A model's word stays marked as one until a person has said otherwise. */
function Standing({ finding, agreed }: Pick<Subject, "finding"> & { agreed?: Key }) {
  const words = useWords();
  const review = standing(finding);
  if (!review) {
    return (
      <span className="finding-mark open" data-testid="finding-mark">
        {words.t("finding.unverified")}
      </span>
    );
  }
  return (
    <span className="finding-mark" data-testid="finding-mark">
      {review.verdict !== "rejected" && <Icon name="check" />}{" "}
      {agreed ? words.t(agreed, { name: words.both(review.by), time: shortMoment(review.at_ms, serverNow()) }) : verdictWords(review, words)}
    </span>
  );
}

interface Item {
  row: Row;
  number: number;
  isPicked: boolean;
  mayReview: boolean;
  isBusy: boolean;
  open: "" | "edit" | "reject";
  onPick: () => void;
  onOpen: (form: "" | "edit" | "reject") => void;
  onSay: (word: Word) => void;
}

function Buttons({ row, isPicked, isBusy, onOpen, onSay }: Item) {
  const { t } = useWords();
  const key = (name: string) => isPicked && <span className="key">{name}</span>;
  return (
    <div className="finding-buttons">
      <button type="button" className="btn" disabled={isBusy} data-testid="finding-accept" onClick={() => onSay({ verdict: "accepted" })}>
        {t("finding.accept")} {key("Y")}
      </button>
      <button type="button" className="btn" disabled={isBusy} data-testid="finding-edit" onClick={() => onOpen("edit")}>
        {t("finding.change")} {key("E")}
      </button>
      <button type="button" className="btn" disabled={isBusy} data-testid="finding-reject" onClick={() => onOpen("reject")}>
        {t("finding.reject")} {key("X")}
      </button>
      {standing(row.finding) && (
        <button type="button" className="btn quiet" disabled={isBusy} data-testid="finding-reopen" onClick={() => onSay({ verdict: "reopened" })}>
          {t("finding.reopen")} {key("U")}
        </button>
      )}
    </div>
  );
}

function Finding(item: Item) {
  const words = useWords();
  const { t, both } = words;
  const { row, number, isPicked, mayReview, isBusy, open, onPick, onOpen, onSay } = item;
  const { finding } = row;
  const review = standing(finding);
  const leave = () => onOpen("");
  return (
    <li className="finding" data-testid="finding" data-verdict={review?.verdict ?? ""} aria-current={isPicked || undefined}>
      <button type="button" className="finding-name" data-testid="finding-show" onClick={onPick}>
        <span className="strong">
          {number} {both(finding.name)}
        </span>
        <span className="dense t2">
          {placeWords(present(finding), t)} · {t(surety(finding.confidence))} {percent(finding.confidence)}
        </span>
        {review?.said && <span className="dense t2">{t("finding.told", { words: placeWords(finding.told, t) })}</span>}
      </button>
      <Standing finding={finding} />
      {finding.reviews.length > 1 && (
        <details className="dense t2">
          <summary>{t("finding.earlier", { n: finding.reviews.length - 1 })}</summary>
          <ul>
            {finding.reviews.slice(0, -1).map((one) => (
              <li key={one.version}>
                {one.verdict === "reopened"
                  ? t("finding.reopenedBy", { name: both(one.by), time: shortMoment(one.at_ms, serverNow()) })
                  : verdictWords(one, words)}
              </li>
            ))}
          </ul>
        </details>
      )}
      {mayReview && open === "" && <Buttons {...item} />}
      {open === "reject" && <ReasonForm isBusy={isBusy} onSay={onSay} onLeave={leave} />}
      {open === "edit" && <EditForm told={finding.told} before={present(finding)} isBusy={isBusy} onSay={onSay} onLeave={leave} />}
    </li>
  );
}

/** Where the model found nothing a physician says so too, or takes that back: then the report is theirs. */
function NoneFound({ report, isBusy, onSay }: { report: ReviewedReport; isBusy: boolean; onSay: ((word: Word) => void) | null }) {
  const { t } = useWords();
  const { finding } = whole(report);
  const isAgreed = standing(finding) !== null;
  return (
    <div className="finding" data-testid="none-found" data-verdict={standing(finding)?.verdict ?? ""}>
      <Standing finding={finding} agreed="finding.noneBy" />
      {onSay && (
        <div className="finding-buttons">
          <button
            type="button"
            className={isAgreed ? "btn quiet" : "btn"}
            disabled={isBusy}
            data-testid={isAgreed ? "none-reopen" : "none-agree"}
            onClick={() => onSay({ verdict: isAgreed ? "reopened" : "accepted" })}
          >
            {t(isAgreed ? "finding.reopen" : "finding.agreeNone")}
          </button>
        </div>
      )}
    </div>
  );
}

function ReportHead({ report }: { report: ReviewedReport }) {
  const { t } = useWords();
  const open = report.findings.filter((one) => !standing(one)).length;
  return (
    <>
      <h2>{t("finding.title")}</h2>
      {report.outcome === NONE_FOUND && <p className="t2">{t("finding.none")}</p>}
      {report.outcome === "NOT-READ" && <p className="strong">{t("finding.notRead")}</p>}
      {report.findings.length > 0 && (
        <p className="dense" data-testid="report-state" data-state={report.state}>
          {open > 0 ? t("finding.open", { n: open, m: report.findings.length }) : t("finding.allReviewed")}
        </p>
      )}
    </>
  );
}

/** Which model said it and within which limits: always open. */
function Provenance({ report }: { report: ReviewedReport }) {
  const { t } = useWords();
  return (
    <div className="finding-from dense t2">
      <p>
        {t("finding.model", { task: report.task, version: report.version })} ·{" "}
        {report.training_data === PHANTOM ? t("finding.phantom") : report.training_data}
      </p>
      <p>{t("finding.asTold")}</p>
      {report.comments.map((one) => (
        <p key={one}>{one}</p>
      ))}
    </div>
  );
}

interface Asked {
  study: StudyRow;
  found: ReturnType<typeof useReports>;
  onShow: (pointed: Pointed) => void;
}

export function Findings({ study, found, onShow }: Asked) {
  const role = useLive((state) => state.me?.role);
  const say = useSay(study.study_key);
  const [picked, setPicked] = useState(0);
  const [form, setForm] = useState<"" | "edit" | "reject">("");
  const reports = found.data?.reports ?? [];
  const rows = reports.flatMap((report) => report.findings.map((finding) => ({ report, finding })));
  const mayReview = mayRead(role);
  const pick = (index: number) => {
    const row = rows[index];
    if (!row) return;
    if (index !== picked) setForm("");
    setPicked(index);
    onShow({ series: row.finding.series_uid, image: row.finding.key_image_uid, finding: row.finding.finding_uid });
  };
  const tell = (index: number, word: Word) => {
    const row = rows[index];
    if (!row || say.isPending || !mayReview) return;
    setPicked(index);
    setForm("");
    say.mutate({ row, word });
  };
  const now = rows[picked];
  useKeys({
    j: () => pick(Math.min(picked + 1, rows.length - 1)),
    k: () => pick(Math.max(picked - 1, 0)),
    y: () => tell(picked, { verdict: "accepted" }),
    e: () => mayReview && now && setForm("edit"),
    x: () => mayReview && now && setForm("reject"),
    u: () => now && standing(now.finding) && tell(picked, { verdict: "reopened" }),
  });
  if (reports.length === 0 && !found.error) return null;
  return (
    <Panel error={say.error ?? found.error} isBusy={found.isFetching} onRetry={() => void found.refetch()}>
      {reports.map((report) => (
        <section key={report.sha256} data-testid="ai-report">
          <ReportHead report={report} />
          {report.outcome === NONE_FOUND && (
            <NoneFound
              report={report}
              isBusy={say.isPending}
              onSay={mayReview ? (word) => say.mutate({ row: whole(report), word }) : null}
            />
          )}
          <ol className="findings-list">
            {rows.map((row, index) =>
              row.report === report ? (
                <Finding
                  key={row.finding.finding_uid}
                  row={row}
                  number={report.findings.indexOf(row.finding) + 1}
                  isPicked={index === picked}
                  mayReview={mayReview}
                  isBusy={say.isPending}
                  open={index === picked ? form : ""}
                  onPick={() => pick(index)}
                  onOpen={(next) => {
                    setPicked(index);
                    setForm(next);
                  }}
                  onSay={(word) => tell(index, word)}
                />
              ) : null,
            )}
          </ol>
          <Provenance report={report} />
        </section>
      ))}
    </Panel>
  );
}

function Panel({ error, isBusy, onRetry, children }: {
  error: unknown;
  isBusy: boolean;
  onRetry: () => void;
  children: ReactNode;
}) {
  const { t } = useWords();
  return (
    <aside className="findings" aria-label={t("finding.title")} data-testid="findings">
      <Pending active={isBusy} />
      <Fault error={error} onRetry={onRetry} />
      {children}
      <p className="dense t3 hide-phone">{t("finding.keys")}</p>
    </aside>
  );
}

/** The studies of one person on their page. */
import { useState } from "react";
import { address } from "../../app/router";
import type { StudyRow } from "../../contract";
import { useWords } from "../../i18n";
import { Fault } from "../../state/Small";
import { Archive } from "./Archive";
import { arrivalWords, keyImageAt, noteListedAt, takenAt, useStudies } from "./studies";
import "./study.css";

const SHOWN = "20";

export function Studies({ personId }: { personId: string }) {
  const { t } = useWords();
  const found = useStudies({ person: personId, limit: SHOWN });
  const rows = found.data?.studies ?? [];
  return (
    <section className="side-block" data-testid="studies">
      <h2>{t("study.title")}</h2>
      <Fault error={found.error} onRetry={() => void found.refetch()} />
      {found.data && rows.length === 0 && <p className="t2">{t("study.none")}</p>}
      <ul className="studies">
        {rows.map((row) => (
          <li key={row.study_key}>
            <Entry row={row} />
          </li>
        ))}
      </ul>
      {found.data?.has_archive && <Archive key={personId} personId={personId} rows={rows} />}
    </section>
  );
}

function Entry({ row }: { row: StudyRow }) {
  const { t } = useWords();
  const [isGone, setIsGone] = useState(false);
  return (
    <a
      className="study-entry"
      href={address("study", row.study_key)}
      data-testid="study-entry"
      data-state={row.state}
      onClick={() => noteListedAt(location.hash)}
    >
      {row.has_key_image && !isGone && (
        <img
          className="thumb"
          src={keyImageAt(row)}
          alt=""
          loading="lazy"
          data-testid="thumb"
          onError={() => setIsGone(true)}
        />
      )}
      <span className="strong">
        {row.modalities.join(" ") || t("study.unknown")} {row.description}
      </span>
      <span className="dense t2">
        {takenAt(row) || t("study.noDate")} · {row.images > 0 && `${t("study.images", { n: row.images })} · `}
        {arrivalWords(row, t)}
      </span>
    </a>
  );
}

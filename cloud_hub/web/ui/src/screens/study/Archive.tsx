/** What the hospital's archive has of a person: nothing is asked there before somebody presses. */
import { useId } from "react";
import { address } from "../../app/router";
import { useLive } from "../../app/live";
import type { ArchivedStudy, ArchiveFetch, StudyRow } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { dayOf } from "../../imaging/dicom";
import { Icon } from "../../state/Icon";
import { Fault } from "../../state/Small";
import { isUnderWay, mayFetch, reasonKey, useArchive, useFetch } from "./archive";
import { noteListedAt, takenAt } from "./studies";

/** `rows`: what is here of the person. */
export function Archive({ personId, rows }: { personId: string; rows: StudyRow[] }) {
  const { t } = useWords();
  const found = useArchive(personId);
  const studies = found.data?.studies ?? [];
  return (
    <div className="archive" data-testid="archive">
      <div className="archive-head">
        <h3>{t("archive.title")}</h3>
        <button
          type="button"
          className="btn"
          data-testid="archive-look"
          disabled={found.isFetching}
          onClick={() => void found.refetch()}
        >
          {t(found.isFetching ? "archive.asking" : found.data ? "archive.again" : "archive.look")}
        </button>
      </div>
      <Fault error={found.error} />
      {found.data && !found.error && studies.length === 0 && (
        <p className="t2">{t(found.data.is_numbered ? "archive.none" : "archive.noNumber")}</p>
      )}
      <ul className="studies">
        {studies.map((study) => (
          <li key={study.study_uid}>
            <Entry personId={personId} study={study} row={rows.find((row) => row.study_uid === study.study_uid)} />
          </li>
        ))}
      </ul>
      {found.data?.is_more && <p className="dense t2">{t("archive.more", { n: studies.length })}</p>}
    </div>
  );
}

function Entry({ personId, study, row }: { personId: string; study: ArchivedStudy; row: StudyRow | undefined }) {
  const { t } = useWords();
  const role = useLive((state) => state.me?.role);
  const { fetch, begin, error } = useFetch(personId, study);
  const named = useId();
  const here = Math.max(study.here, fetch.images);
  const isWhole = here > 0 && here >= (fetch.of ?? study.images ?? Infinity);
  const key = row?.study_key ?? study.study_key;
  return (
    <div className="study-entry archived" data-testid="archived" data-state={fetch.state}>
      <span className="strong" id={named}>
        {study.modalities.join(" ") || t("study.unknown")} {study.description}
      </span>
      <span className="dense t2">
        {takenAt(study) || t("study.noDate")}
        {study.images !== null && ` · ${t("study.images", { n: study.images })}`}
        {here > 0 && ` · ${t(isWhole ? "archive.whole" : "archive.here", { n: here })}`}
      </span>
      <Whose study={study} />
      <Told fetch={fetch} />
      <Fault error={error} />
      <div className="row wrap">
        {key && (
          <a className="btn" aria-describedby={named} href={address("study", key)} onClick={() => noteListedAt(location.hash)}>
            {t("archive.open")}
          </a>
        )}
        {mayFetch(role) && !isWhole && !isUnderWay(fetch) && (
          <button
            type="button"
            className="btn"
            data-testid="archive-fetch"
            aria-describedby={named}
            disabled={begin.isPending}
            onClick={() => begin.mutate()}
          >
            {t(here > 0 ? "archive.rest" : "archive.fetch")}
          </button>
        )}
      </div>
    </div>
  );
}

/** The patient as the archive has them, and what the record says otherwise: a wrong number leads to somebody else. */
function Whose({ study }: { study: ArchivedStudy }) {
  const { t } = useWords();
  const sex = study.sex === "F" || study.sex === "M" ? t(`archive.sex.${study.sex}` as Key) : "";
  const told = [study.patient_name, dayOf(study.birth_date), sex].filter(Boolean).join(" · ");
  return (
    <>
      <span className="dense t2">{t("archive.patient", { name: told || t("study.unnamed") })}</span>
      {study.differs.length > 0 && (
        <span className="dense archive-differs" data-testid="archive-differs">
          <Icon name="warn" />
          {t("archive.differs", { what: study.differs.map((what) => t(`archive.${what}` as Key)).join(t("archive.and")) })}
        </span>
      )}
    </>
  );
}

function Told({ fetch }: { fetch: ArchiveFetch }) {
  const { t } = useWords();
  const words = {
    none: "",
    waiting: t("archive.waiting"),
    fetching: fetch.of === null ? t("archive.begun") : t("archive.fetching", { n: fetch.images, m: fetch.of }),
    done: "",
    failed: t(reasonKey(fetch.reason)),
  }[fetch.state];
  return (
    <span className="dense archive-told" role="status" data-testid="archive-told">
      {fetch.state === "failed" && <Icon name="warn" />}
      {words}
      {fetch.state === "fetching" && fetch.of !== null && (
        <progress value={fetch.images + fetch.left_out} max={fetch.of} aria-hidden="true" />
      )}
      {fetch.left_out > 0 && <span>{t("archive.leftOut", { n: fetch.left_out })}</span>}
    </span>
  );
}

/** Images that came to this site; a doctor says whose they are where the identifier does not (decision 30). */
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../app/api";
import { useLive } from "../../app/live";
import type { Bed, Patient, SiteStudies, SiteStudy, StudyPersonBody } from "../../contract";
import { useWords } from "../../i18n";
import { dayOf } from "../../imaging/dicom";
import { serverNow, shortMoment } from "../../live/clock";
import { Fault } from "../../state/Small";
import { byNeed, differences, mayFile, nameSaid } from "./siteImages";

const ASK_EVERY_MS = 20_000;
const PAGE = 50;
const MOST = 200;
const MATCHED = ":match";
const KEY = ["site-studies"];

export function SiteImages({ beds }: { beds: Bed[] }) {
  const { t } = useWords();
  const role = useLive((state) => state.me?.role);
  const takesImages = useLive((state) => state.takesImages);
  const [open, setOpen] = useState(false);
  if (!takesImages || !mayFile(role)) return null;
  return (
    <section className="card" data-testid="site-images">
      <div className="observe-row">
        <h2>{t("siteImages.title")}</h2>
        <span className="sp" />
        <button type="button" className="btn" aria-expanded={open} data-testid="site-images-open" onClick={() => setOpen(!open)}>
          {t(open ? "siteImages.close" : "siteImages.open")}
        </button>
      </div>
      {open && <List beds={beds} />}
    </section>
  );
}

/** Asked for only while it is open: whoever is shown images of somebody is written down. */
function List({ beds }: { beds: Bed[] }) {
  const { t } = useWords();
  const [limit, setLimit] = useState(PAGE);
  const found = useQuery({
    queryKey: [...KEY, limit],
    queryFn: () => api.get<SiteStudies>(`/studies?limit=${limit}`),
    refetchInterval: ASK_EVERY_MS,
    placeholderData: keepPreviousData,
  });
  const studies = byNeed(found.data?.studies ?? []);
  return (
    <>
      <Fault error={found.error} onRetry={() => void found.refetch()} />
      {found.data && studies.length === 0 && <p className="t2">{t("siteImages.none")}</p>}
      {studies.map((study) => (
        <Study key={study.study_id} study={study} beds={beds} />
      ))}
      {studies.length >= limit && limit < MOST && (
        <button type="button" className="btn" onClick={() => setLimit(limit + PAGE)}>
          {t("siteImages.older")}
        </button>
      )}
    </>
  );
}

function Study({ study, beds }: { study: SiteStudy; beds: Bed[] }) {
  const { t } = useWords();
  const [choosing, setChoosing] = useState(false);
  return (
    <article className="site-study" data-testid="site-study" data-filed={study.person_id !== ""}>
      <div className="strong">
        {study.description || t("study.unknown")} {dayOf(study.study_date)}
      </div>
      <div className="dense">{t("siteImages.say", { what: said(study) || t("study.unnamed") })}</div>
      <div className="dense t2">
        {t("siteImages.came", { time: shortMoment(study.newest_ms, serverNow()) })}
        {study.conflicts > 0 && ` · ${t("siteImages.conflicts", { n: study.conflicts })}`}
        {!study.is_here && ` · ${t("siteImages.atHub")}`}
      </div>
      <Whose study={study} beds={beds} />
      <button
        type="button"
        className={study.person_id ? "btn observe-open" : "btn"}
        aria-expanded={choosing}
        onClick={() => setChoosing(!choosing)}
      >
        {t(choosing ? "siteImages.keep" : study.person_id ? "siteImages.change" : "siteImages.decide")}
      </button>
      {choosing && <Choice study={study} beds={beds} onDone={() => setChoosing(false)} />}
    </article>
  );
}

function said(study: SiteStudy): string {
  return [nameSaid(study.patient_name), study.patient_id, dayOf(study.birth_date)].filter(Boolean).join(" · ");
}

function Whose({ study, beds }: { study: SiteStudy; beds: Bed[] }) {
  const { t } = useWords();
  const name = useName();
  if (!study.person_id) {
    return <div className="strong">{t(study.is_mixed ? "siteImages.mixed" : "siteImages.nobody")}</div>;
  }
  const bed = beds.find((one) => one.patient?.person_id === study.person_id);
  const who = bed?.patient ? `${bed.label} ${name(bed.patient)}` : t("siteImages.elsewhere");
  const by = study.assigned_by === MATCHED ? t("siteImages.matched") : t("siteImages.by", { who: study.assigned_by });
  return (
    <div data-testid="site-study-whose">
      {t("siteImages.filed", { who })} <span className="dense t2">{by}</span>
    </div>
  );
}

function useName(): (patient: Patient) => string {
  const { both } = useWords();
  return (patient) => both({ zh: patient.name, en: patient.name_en || patient.name });
}

/** First tap: whose; then what speaks against it stands there, and the second tap files. */
function Choice({ study, beds, onDone }: { study: SiteStudy; beds: Bed[]; onDone: () => void }) {
  const { t } = useWords();
  const name = useName();
  const queries = useQueryClient();
  const [key, setKey] = useState("");
  const file = useMutation({
    mutationFn: (body: StudyPersonBody) => api.post<SiteStudies>(`/studies/${study.study_id}/person`, body),
    onSuccess: () => {
      onDone();
      return queries.invalidateQueries({ queryKey: KEY });
    },
  });
  const taken = beds.filter((bed) => bed.patient && bed.patient.person_id !== study.person_id);
  const patient = taken.find((bed) => bed.key === key)?.patient;
  return (
    <div className="site-study-choice" data-testid="site-study-choice">
      {taken.length === 0 && <p className="t2">{t("siteImages.nobodyHere")}</p>}
      <div className="t0-beds" role="group" aria-label={t("siteImages.decide")}>
        {taken.map((bed) => (
          <button
            key={bed.key}
            type="button"
            className="choice"
            aria-pressed={bed.key === key}
            onClick={() => setKey(bed.key)}
          >
            {bed.label} {bed.patient && name(bed.patient)}
          </button>
        ))}
      </div>
      {patient && (
        <>
          <p className="dense">
            {t("siteImages.person", { what: [name(patient), ...patient.identifiers, patient.birth_date].filter(Boolean).join(" · ") })}
          </p>
          {differences(study, patient).map((each) => (
            <p key={each} className="strong" role="alert">
              {t(`siteImages.differs.${each}`)}
            </p>
          ))}
          <Fault error={file.error} />
          <button
            type="button"
            className="btn pri"
            disabled={file.isPending}
            data-testid="site-study-file"
            onClick={() => file.mutate({ person_id: patient.person_id })}
          >
            {t("siteImages.file", { who: name(patient) })}
          </button>
        </>
      )}
    </div>
  );
}

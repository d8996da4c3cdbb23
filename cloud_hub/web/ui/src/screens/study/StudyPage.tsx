/** One study: its series, and one of them as pictures. */
import { useQuery } from "@tanstack/react-query";
import { Suspense, lazy, useState } from "react";
import { countByPriority } from "../../alarms/order";
import { Clock, Demo, LanguageSwitch, Page, SoundState, Who } from "../../app/Chrome";
import { useOpenAlarms } from "../../app/hooks";
import { useLive } from "../../app/live";
import { address } from "../../app/router";
import type { Bed, StudyRow } from "../../contract";
import { useWords } from "../../i18n";
import type { SeriesTold } from "../../imaging/dicom";
import { seriesOfStudy } from "../../imaging/dicomweb";
import { LinkState } from "../../state/LinkState";
import { Empty, Fault, NotLive, Pending } from "../../state/Small";
import { AlarmCounts } from "../AlarmCounts";
import { GlassBanner } from "../glass/GlassBanner";
import { sexWord } from "../wall/Tile";
import { Findings } from "./Findings";
import type { Pointed } from "./Findings";
import { ReadState } from "./ReadState";
import { marksOf, useReports } from "./findings";
import { arrivalWords, cameFrom, keyImageAt, takenAt, useStudies } from "./studies";
import "./study.css";

const Viewer = lazy(() => import("./Viewer"));

function useBedOf(personId: string): Bed | undefined {
  return useLive((state) => Object.values(state.beds).find((bed) => personId && bed.patient?.person_id === personId));
}

function leaveTo(bed: Bed | undefined): string {
  return cameFrom() || (bed ? address("patient", bed.key) : address("images"));
}

function Head({ row, bed }: { row: StudyRow; bed: Bed | undefined }) {
  const { t, both } = useWords();
  const site = useLive((state) => state.sites[row.site]);
  const others = useOpenAlarms().filter((alarm) => alarm.priority === "high" && alarm.bed_key !== bed?.key);
  return (
    <header className="top">
      <a className="btn quiet" href={leaveTo(bed)} data-testid="study-back">
        {t("study.back")}
      </a>
      <h1 className="study-name">{both(row.name) || t("study.unnamed")}</h1>
      {bed?.patient && (
        <span className="nowrap">
          {t("person.age", { sex: sexWord(bed.patient.gender, t), age: bed.patient.age_years ?? "–" })}
        </span>
      )}
      {!row.person_id && <span className="strong">{t("study.nobody")}</span>}
      <span className="t2">
        {row.modalities.join(" ")} {row.description} · {both(site?.name) || row.site} {takenAt(row)}
      </span>
      <span className="t2" data-testid="study-arrival" data-state={row.state}>
        {arrivalWords(row, t)}
      </span>
      <NotLive kind={bed?.not_live ?? ""} />
      <span className="sp" />
      {others.length > 0 && <AlarmCounts counts={countByPriority(others)} withWords />}
      {site && <LinkState site={site} />}
      <SoundState />
      <Demo />
      <LanguageSwitch />
      <Who />
      <Clock />
    </header>
  );
}

const WITHOUT_PICTURES = ["SR", "KO", "PR", "SEG"];

/** What there is to see of a study before any image of it has come. */
function Ahead({ row }: { row: StudyRow }) {
  const { t } = useWords();
  const [isGone, setIsGone] = useState(false);
  if (!row.has_key_image || isGone) return <p className="viewer-words">{t("study.nothingYet")}</p>;
  return (
    <figure className="key-image" data-testid="key-image">
      <img src={keyImageAt(row)} alt={t("study.keyImage")} onError={() => setIsGone(true)} />
      <figcaption>{t("study.keyImageIs")}</figcaption>
    </figure>
  );
}

interface Picked {
  row: StudyRow;
  series: SeriesTold[];
  picked: string;
  onPick: (uid: string) => void;
}

function SeriesList({ row, series, picked, onPick }: Picked) {
  const { t } = useWords();
  return (
    <nav className="series-list" aria-label={t("study.series")}>
      <h2>{t("study.series")}</h2>
      <ul>
        {series.map((one) => (
          <li key={one.uid}>
            <button
              type="button"
              className="series"
              aria-pressed={one.uid === picked}
              data-testid="series"
              onClick={() => onPick(one.uid)}
            >
              <span className="strong">{one.description || `${one.modality} ${one.number}`}</span>
              <span className="dense t2">
                {one.modality} · {t("study.images", { n: one.images })}
              </span>
            </button>
          </li>
        ))}
      </ul>
      <ReadState row={row} shown={series.reduce((sum, one) => sum + one.images, 0)} />
      <p className="not-primary" data-testid="not-primary">
        {t("study.notPrimary")}
      </p>
    </nav>
  );
}

function Opened({ row }: { row: StudyRow }) {
  const { t } = useWords();
  const [wish, setWish] = useState("");
  const [pointed, setPointed] = useState<Pointed | null>(null);
  // Asked for again when something of it was added.
  const found = useQuery({
    queryKey: ["series", row.study_key, row.changed_ms],
    queryFn: () => seriesOfStudy(row),
    placeholderData: (before) => before,
  });
  const said = useReports(row.study_key, row.changed_ms);
  const bed = useBedOf(row.person_id);
  const series = found.data ?? [];
  const picked = series.find((one) => one.uid === wish) ?? series[0];
  // Reports come before the images that they are about.
  const hasNoPicture = !wish && series.every(({ modality }) => WITHOUT_PICTURES.includes(modality));
  const isAhead = found.data !== undefined && hasNoPicture && (row.has_key_image || series.length === 0);
  return (
    <>
      {row.person_id && <GlassBanner personId={row.person_id} />}
      <Head row={row} bed={bed} />
      <Pending active={found.isFetching} />
      <Fault error={found.error} onRetry={() => void found.refetch()} />
      <main className="study">
        <SeriesList row={row} series={series} picked={picked?.uid ?? ""} onPick={setWish} />
        {isAhead && <Ahead row={row} />}
        {picked && !isAhead && (
          <Suspense fallback={<p className="viewer-words">{t("pending")}</p>}>
            <Viewer
              key={picked.uid}
              study={row}
              series={picked}
              all={series}
              isPreview={row.state === "preview"}
              leave={leaveTo(bed)}
              pointed={pointed}
              marks={marksOf(said.data?.reports ?? [], picked.uid)}
            />
          </Suspense>
        )}
        <Findings
          study={row}
          found={said}
          onShow={(shown) => {
            if (series.some(({ uid }) => uid === shown.series)) setWish(shown.series);
            setPointed(shown);
          }}
        />
      </main>
    </>
  );
}

export function StudyPage({ studyKey }: { studyKey: string }) {
  const { t } = useWords();
  const found = useStudies({ filed: studyKey, limit: "1" });
  const row = found.data?.studies[0];
  return (
    <Page surface="night">
      {row && <Opened key={row.study_key} row={row} />}
      {!row && (
        <main className="study-absent">
          <Pending active={found.isPending} />
          <Fault error={found.error} onRetry={() => void found.refetch()} />
          {found.data && (
            <Empty text={t("study.gone")}>
              <a className="btn" href={address("images")}>
                {t("nav.images")}
              </a>
            </Empty>
          )}
        </main>
      )}
    </Page>
  );
}

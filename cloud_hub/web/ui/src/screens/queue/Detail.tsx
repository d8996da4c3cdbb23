/** A referral: its clock, the six fields, the patient now, what happened, what to do. */
import { useContextOf, useWatch } from "../../app/hooks";
import { useLive } from "../../app/live";
import { address } from "../../app/router";
import type { Bed, Reading as ReadingShape, Referral } from "../../contract";
import { MEASURES } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { exact, serverNow, shortMoment, timeOfDay } from "../../live/clock";
import { hasValue, readingOf, shownValue } from "../../state/format";
import { LinkState, SyncState } from "../../state/LinkState";
import { News2Glyph } from "../../state/News2Glyph";
import { pressureOf, Reading } from "../../state/Reading";
import { Receipt, Triage } from "../../state/Small";
import { pickWaves, Wave } from "../../state/Wave";
import { personOf } from "../bedside/Replies";
import { sexWord } from "../wall/Tile";
import { Moves } from "./Moves";
import { levelOf, ownerOf } from "./order";
import { StrokeRail } from "./StrokeRail";

function SixFields({ referral, bed }: { referral: Referral; bed: Bed | undefined }) {
  const { t, both, language } = useWords();
  const site = useLive((state) => state.sites[referral.site]);
  const well =
    referral.last_known_well_ms !== null
      ? shortMoment(referral.last_known_well_ms, serverNow())
      : referral.last_known_well_code === "woke-up"
        ? t("ref.woke")
        : "";
  const signs = referral.main_signs.map((sign) => t(`sign.${sign}` as Key)).join(language === "zh" ? " · " : ", ");
  const anti = referral.anticoagulant === "yes" ? t("ref.yes") : referral.anticoagulant === "no" ? t("ref.no") : "";
  const who = personOf(referral, language);
  const rows: [Key, string][] = [
    ["t0.who", who],
    ["ref.place", `${both(site?.name) || referral.site} ${bed?.label ?? ""}`.trim()],
    ["ref.lkw", well],
    ["ref.signs", signs],
    ["ref.anticoagulant", anti],
    ["ref.callback", referral.callback],
  ];
  const given = rows.filter(([, text]) => text !== "").length;
  return (
    <section className="detail-block">
      <h2>
        {t("ref.six")} <span className="dense t2">{t("ref.sixCount", { n: given })}</span>
      </h2>
      <dl className="six">
        {rows.map(([key, text]) => (
          <div key={key}>
            <dt>{t(key)}</dt>
            <dd className={text ? "" : "t2"}>{text || t("ref.unknown")}</dd>
          </div>
        ))}
      </dl>
      {referral.question && (
        <p>
          <span className="dense t2">{t("ref.question")}</span> {referral.question}
        </p>
      )}
    </section>
  );
}

const SHOWN = ["hr", "spo2", "rr", "temp", "glu"] as const;

function VitalsNow({ bed }: { bed: Bed }) {
  const { t } = useWords();
  const context = useContextOf(bed);
  const pressure = pressureOf(readingOf(bed, "nibp_sys"), readingOf(bed, "nibp_dia"), context);
  const waves = pickWaves(bed.waves, 1);
  useWatch([bed.key]);
  return (
    <section className="detail-block">
      <div className="row wrap">
        <h2>{t("ref.vitals")}</h2>
        <span className="sp" />
        <span className="dense t2">NEWS2</span>
        <News2Glyph news2={bed.news2} />
      </div>
      <div className="vitals-line">
        <span>
          <small>{t("m.bp")}</small>
          <Reading reading={readingOf(bed, "nibp_sys")} context={context} text={pressure.text} showAge />
        </span>
        {SHOWN.map((measure) => {
          const reading = readingOf(bed, measure);
          if (measure === "glu" && !reading) return null;
          return (
            <span key={measure}>
              <small>{t(`m.${measure}`)}</small>
              <Reading reading={reading} context={context} showAge />
            </span>
          );
        })}
      </div>
      {waves[0] && (
        <div className="detail-wave">
          <Wave bedKey={bed.key} measure={waves[0]} pxPerS={94} />
        </div>
      )}
      <p className="small t3">{t("ref.news2Note")}</p>
    </section>
  );
}

function VitalsSent({ readings }: { readings: ReadingShape[] }) {
  const { t, language } = useWords();
  const shown = readings.filter(hasValue);
  const wordOf = ({ measure, value }: ReadingShape & { value: string }) =>
    measure === "acvpu" || measure === "oxygen" ? t(`${measure}.${value}` as Key) : shownValue(measure, value);
  if (shown.length === 0) return null;
  return (
    <section className="detail-block">
      <h2>{t("ref.atSend")}</h2>
      <p className="dense">
        {shown
          .map(
            (reading) =>
              `${MEASURES[reading.measure]?.[language] ?? reading.measure} ${wordOf(reading)} (${timeOfDay(reading.measured_at_ms, false)})`,
          )
          .join(" · ")}
      </p>
    </section>
  );
}

function Log({ referral }: { referral: Referral }) {
  const { t, both } = useWords();
  return (
    <section className="detail-block">
      <h2>{t("ref.moves")}</h2>
      <ol className="log">
        {referral.moves.map((move, index) => (
          <li key={`${move.at_ms}${index}`}>
            <time title={exact(move.at_ms)}>{timeOfDay(move.at_ms)}</time>
            <strong>
              {t(`state.${move.state}` as Key)} {move.level}
            </strong>
            <span>{both(move.who)}</span>
            {move.pending && <span className="t2">{t("ref.pending")}</span>}
            {move.text && <span className="log-text">{move.text}</span>}
            {move.refused && <span className="log-text">{t("ref.refused", { why: move.refused })}</span>}
          </li>
        ))}
      </ol>
    </section>
  );
}

export function Detail({ referral }: { referral: Referral }) {
  const { t, both, language } = useWords();
  const bed = useLive((state) => state.beds[referral.bed_key]);
  const site = useLive((state) => state.sites[referral.site]);
  return (
    <article className="detail" data-testid="referral-detail" data-state={referral.state}>
      <header className="row wrap">
        <Triage level={levelOf(referral)} />
        <h1>
          {bed ? <a href={address("patient", bed.key)}>{personOf(referral, language)}</a> : personOf(referral, language)}
        </h1>
        {referral.patient && (
          <span>
            {t("person.ageLong", { sex: sexWord(referral.patient.gender, t), age: referral.patient.age_years ?? "–" })}
          </span>
        )}
        <span className="strong">{t(`state.${referral.state}` as Key)}</span>
        <span className="sp" />
        <span className="detail-link">
          {site && <LinkState site={site} />}
          {site && <SyncState site={site} />}
          <span className="small t3">{t("ref.serial", { id: referral.referral_id.slice(-8) })}</span>
        </span>
      </header>
      <p className="dense t2 row wrap">
        <span>
          {t("ref.authored")} {timeOfDay(referral.authored_at_ms)}
        </span>
        {referral.received_at_ms !== null && (
          <span>
            {t("ref.arrived")} {timeOfDay(referral.received_at_ms)}
          </span>
        )}
        {referral.offline && <span>{t("ref.offline")}</span>}
        {referral.owner && <span>{t("ref.owner", { who: both(ownerOf(referral)) })}</span>}
        <Receipt sync={referral.sync} />
      </p>
      <StrokeRail referral={referral} />
      <SixFields referral={referral} bed={bed} />
      {bed && <VitalsNow bed={bed} />}
      <VitalsSent readings={referral.readings} />
      <Log referral={referral} />
      <span className="sp" />
      <Moves key={referral.referral_id} referral={referral} />
    </article>
  );
}

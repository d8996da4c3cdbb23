/** One bed on a night tile: waves, numerals, score, alarm row; used on the wall and at the bedside. */
import type { KeyboardEvent, ReactNode } from "react";
import { AlarmAge, Shape } from "../../alarms/AlarmBanner";
import { alarmOfMeasure } from "../../alarms/order";
import { patientName, useContextOf } from "../../app/hooks";
import type { Alarm, Bed } from "../../contract";
import { useWords } from "../../i18n";
import { timeOfDay } from "../../live/clock";
import { Icon } from "../../state/Icon";
import { TileSync } from "../../state/LinkState";
import type { Context } from "../../state/format";
import { ageMs, hasValue, isStale, readingOf, trueAtMs } from "../../state/format";
import { News2Glyph } from "../../state/News2Glyph";
import { pressureOf, Reading } from "../../state/Reading";
import { NotLive } from "../../state/Small";
import { pickWaves, Wave } from "../../state/Wave";
import { VitalCell } from "./VitalCell";
import "./tile.css";

export function sexWord(gender: string, t: ReturnType<typeof useWords>["t"]): string {
  return t(gender === "male" ? "sex.male" : gender === "female" ? "sex.female" : "sex.other");
}

function Head({ bed }: { bed: Bed }) {
  const { t, language } = useWords();
  return (
    <div className="hd">
      <span className="bed">{bed.label || bed.bed}</span>
      <span className="nm">{patientName(bed, language)}</span>
      {bed.patient && (
        <span className="t3 dense nowrap">
          {t("person.age", { sex: sexWord(bed.patient.gender, t), age: bed.patient.age_years ?? "" })}
        </span>
      )}
      <span className="sp" />
      <span className="news-word t3">NEWS2</span>
      <News2Glyph news2={bed.news2} />
    </div>
  );
}

/** The newest moment at which anything here was true; null without any value. */
export function newestMs(bed: Bed): number | null {
  const times = bed.readings.filter(hasValue).map(trueAtMs);
  return times.length > 0 ? Math.max(...times) : null;
}

/** Monitor values all old: the whole tile is grey. */
export function isBedStale(bed: Bed, context: Context): boolean {
  const streamed = bed.readings.filter((reading) => hasValue(reading) && reading.origin !== "manual");
  return !context.isHeard || (streamed.length > 0 && streamed.every((reading) => isStale(reading, context)));
}

function limitsText(bed: Bed, t: ReturnType<typeof useWords>["t"]): string {
  const hr = readingOf(bed, "hr", "pr_oxim");
  const spo2 = readingOf(bed, "spo2");
  const parts: string[] = [];
  if (hr?.limit_low && hr.limit_high) parts.push(`${t("m.hr")} ${hr.limit_low}–${hr.limit_high}`);
  if (spo2?.limit_low) parts.push(`${t("m.spo2")} ≥ ${spo2.limit_low}`);
  return parts.length > 0 ? `${t("wall.limits")} ${parts.join(" · ")}` : "";
}

function QuietRow({ bed, context, calm }: { bed: Bed; context: Context; calm?: string }) {
  const { t, ago } = useWords();
  const newest = newestMs(bed);
  if (bed.not_live) {
    return (
      <div className="st">
        <NotLive kind={bed.not_live} />
      </div>
    );
  }
  if (newest === null) return <div className="st">{t(bed.waves.length > 0 ? "bed.wavesOnly" : "bed.deviceSilent")}</div>;
  if (isBedStale(bed, context)) {
    return (
      <div className="st" data-testid="stale">
        <Icon name="clock" /> {t("wall.notCurrent", { time: timeOfDay(newest, false) })}
        <span className="end">
          <TileSync bed={bed} />
        </span>
      </div>
    );
  }
  const pressure = readingOf(bed, "nibp_sys");
  return (
    <div className="st">
      {bed.unassigned > 0 ? (
        <span>{t("wall.unassigned", { n: bed.unassigned })}</span>
      ) : (
        <TileSync bed={bed} otherwise={calm ?? limitsText(bed, t)} />
      )}
      {pressure && hasValue(pressure) && <span className="end">{t("wall.bpAge", { age: ago(ageMs(pressure, context)) })}</span>}
    </div>
  );
}

function AlarmRow({ alarm, more, children }: { alarm: Alarm; more: number; children?: ReactNode }) {
  const { t, both } = useWords();
  return (
    <div className={`st al ${alarm.priority}`} data-testid="alarm-banner" data-alarm={alarm.alarm_id}>
      <Shape priority={alarm.priority} />
      <span className="sr">{t(`alarm.${alarm.priority}`)}</span>
      <span className="words">
        {both(alarm.text)} {more > 0 && `+${more}`}
      </span>
      <span className="end">{children ?? <AlarmAge alarm={alarm} />}</span>
    </div>
  );
}

interface Props {
  bed: Bed;
  alarms: Alarm[];
  onOpen?: () => void;
  isFocused?: boolean;
  calm?: string;
  /** Buttons of the alarm row, e.g. the bedside's accept. */
  alarmAction?: (alarm: Alarm) => ReactNode;
  children?: ReactNode;
}

export function Tile({ bed, alarms, onOpen, isFocused = false, calm, alarmAction, children }: Props) {
  const { t, language } = useWords();
  const context = useContextOf(bed);
  const worst = alarms[0];
  const waves = pickWaves(bed.waves, 2);
  const stale = isBedStale(bed, context);
  const pulse = readingOf(bed, "hr", "pr_oxim", "pr_nibp");
  const pressure = pressureOf(readingOf(bed, "nibp_sys"), readingOf(bed, "nibp_dia"), context);
  const pressureAlarm = alarmOfMeasure(alarms, "nibp_sys", "nibp_dia", "nibp_map");
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter" && event.target === event.currentTarget) onOpen?.();
  };
  return (
    <section
      className={`tile night ${worst?.priority ?? ""} ${stale ? "is-stale" : ""} ${bed.not_live ? "hatch-top" : ""}`}
      data-testid="patient-card"
      data-bed={bed.key}
      data-camera={bed.has_camera}
      data-focused={isFocused}
      tabIndex={onOpen ? 0 : undefined}
      aria-label={`${bed.label || bed.bed} ${patientName(bed, language)}`}
      onClick={onOpen}
      onKeyDown={onOpen ? onKey : undefined}
    >
      <Head bed={bed} />
      <div className="body">
        <div className="waves">
          {waves.map((measure) => (
            <Wave key={measure} bedKey={bed.key} measure={measure} />
          ))}
          {waves.length === 0 && <span className="t3 small">{t("patient.waveNone")}</span>}
        </div>
        <VitalCell
          label={t("m.hr") + (pulse && pulse.measure !== "hr" ? t("m.pulse") : "")}
          reading={pulse}
          alarm={alarmOfMeasure(alarms, "hr", "pr_oxim", "pr_nibp")}
          context={context}
        />
        <VitalCell
          label={`${t("m.spo2")} %`}
          reading={readingOf(bed, "spo2")}
          alarm={alarmOfMeasure(alarms, "spo2")}
          context={context}
        />
      </div>
      <div className="ft">
        <div className={pressureAlarm ? `inverted ${pressureAlarm.priority}` : ""}>
          <small>{t("m.bp")}</small>
          <Reading reading={readingOf(bed, "nibp_sys")} context={context} text={pressure.text} />
        </div>
        {(["rr", "temp"] as const).map((measure) => {
          const alarm = alarmOfMeasure(alarms, measure);
          return (
            <div key={measure} className={alarm ? `inverted ${alarm.priority}` : ""}>
              <small>{t(`m.${measure}`)}</small>
              <Reading reading={readingOf(bed, measure)} context={context} />
            </div>
          );
        })}
      </div>
      {children}
      {worst && !bed.not_live ? (
        <AlarmRow alarm={worst} more={alarms.length - 1}>
          {alarmAction?.(worst)}
        </AlarmRow>
      ) : (
        <QuietRow bed={bed} context={context} calm={calm} />
      )}
    </section>
  );
}

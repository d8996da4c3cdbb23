/** The night panel of the patient page: waves at 25 mm/s and every numeral with unit, age and limits. */
import { alarmOfMeasure } from "../../alarms/order";
import { Shape } from "../../alarms/AlarmBanner";
import { useContextOf } from "../../app/hooks";
import type { Alarm, Bed, Reading as ReadingShape } from "../../contract";
import { WAVES } from "../../contract";
import { useWords } from "../../i18n";
import { Icon } from "../../state/Icon";
import type { Context } from "../../state/format";
import { ageMs, hasValue, isStale, readingOf, shownUnit, shownValue } from "../../state/format";
import { pressureOf, Reading } from "../../state/Reading";
import { NotLive } from "../../state/Small";
import { pickWaves, Wave } from "../../state/Wave";
import { isBedStale } from "../wall/Tile";
import { cellFill } from "../wall/VitalCell";

/** CSS pixels a second at 25 mm/s and 96 pixels an inch. */
const PX_PER_S = 94;

interface CellProps {
  label: string;
  reading: ReadingShape | undefined;
  alarm: Alarm | undefined;
  context: Context;
  text?: string;
  extra?: string;
}

function Cell({ label, reading, alarm, context, text, extra = "" }: CellProps) {
  const { ago } = useWords();
  const unit = reading ? shownUnit(reading.unit) : "";
  const stale = reading !== undefined && hasValue(reading) && isStale(reading, context);
  return (
    <div className={`cell ${cellFill(alarm)}`} data-measure={reading?.measure}>
      <div className="cell-head">
        <span>
          {alarm && <Shape priority={alarm.priority} />} {label} {unit}
        </span>
        <span className="nowrap">
          {stale && <Icon name="clock" />} {reading && hasValue(reading) ? ago(ageMs(reading, context)) : ""}
        </span>
      </div>
      <div className="cell-value">
        <Reading reading={reading} context={context} text={text} />
        {(reading?.limit_high || reading?.limit_low || extra) && (
          <span className="cell-limits">
            {extra && <span>{extra}</span>}
            <span>{reading?.limit_high ?? "–"}</span>
            <span>{reading?.limit_low ?? "–"}</span>
          </span>
        )}
      </div>
    </div>
  );
}

function Numerals({ bed, alarms, context }: { bed: Bed; alarms: Alarm[]; context: Context }) {
  const { t } = useWords();
  const pulse = readingOf(bed, "hr", "pr_oxim", "pr_nibp");
  const systolic = readingOf(bed, "nibp_sys");
  const mean = readingOf(bed, "nibp_map");
  const pressure = pressureOf(systolic, readingOf(bed, "nibp_dia"), context);
  const cell = (measure: "spo2" | "temp" | "rr" | "glu") => (
    <Cell
      key={measure}
      label={t(`m.${measure}`)}
      reading={readingOf(bed, measure)}
      alarm={alarmOfMeasure(alarms, measure)}
      context={context}
    />
  );
  return (
    <div className="cells">
      <Cell
        label={t("m.hr") + (pulse && pulse.measure !== "hr" ? t("m.pulse") : "")}
        reading={pulse}
        alarm={alarmOfMeasure(alarms, "hr", "pr_oxim", "pr_nibp")}
        context={context}
      />
      <Cell
        label={t("m.bp")}
        reading={systolic}
        alarm={alarmOfMeasure(alarms, "nibp_sys", "nibp_dia", "nibp_map")}
        context={context}
        text={pressure.text}
        extra={mean && hasValue(mean) ? t("m.map", { n: shownValue("nibp_map", mean.value) }) : ""}
      />
      {cell("spo2")}
      {cell("temp")}
      {cell("rr")}
      {readingOf(bed, "glu") && cell("glu")}
    </div>
  );
}

export function LivePanel({ bed, alarms }: { bed: Bed; alarms: Alarm[] }) {
  const { t, language } = useWords();
  const context = useContextOf(bed);
  const waves = pickWaves(bed.waves, 3);
  return (
    <section className={`live-panel night ${bed.not_live ? "hatch-top" : ""} ${isBedStale(bed, context) ? "is-stale" : ""}`}>
      <div className="live-waves">
        <NotLive kind={bed.not_live} />
        {waves.length === 0 && <p className="t3">{t("patient.waveNone")}</p>}
        {waves.map((measure) => (
          <div key={measure} className={`live-wave ${measure.split("_")[0]}`}>
            <span className="wave-label">
              {WAVES[measure]?.[language] ?? measure} {measure.startsWith("ecg") && "· 25 mm/s"}
            </span>
            <Wave bedKey={bed.key} measure={measure} pxPerS={PX_PER_S} />
          </div>
        ))}
      </div>
      <Numerals bed={bed} alarms={alarms} context={context} />
    </section>
  );
}

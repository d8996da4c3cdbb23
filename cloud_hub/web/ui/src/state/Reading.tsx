/** A value with its unit, age and state: live, stale or missing. */
import type { Reading as ReadingShape } from "../contract";
import { MEASURES } from "../contract";
import { useWords } from "../i18n";
import { exact, timeOfDay } from "../live/clock";
import { Icon } from "./Icon";
import type { Context } from "./format";
import { ageMs, hasValue, isStale, MISSING, shownUnit, shownValue, trueAtMs } from "./format";

/** The bare value as it stands now, as class name and text. */
export function valueOf(reading: ReadingShape | undefined, context: Context): { text: string; state: string } {
  if (!hasValue(reading)) return { text: MISSING, state: "missing" };
  return { text: shownValue(reading.measure, reading.value), state: isStale(reading, context) ? "stale" : "live" };
}

/** Blood pressure as one value: a systolic value never stands alone. */
export function pressureOf(
  systolic: ReadingShape | undefined,
  diastolic: ReadingShape | undefined,
  context: Context,
): { text: string; state: string } {
  const upper = valueOf(systolic, context);
  const lower = valueOf(diastolic, context);
  if (upper.state === "missing" && lower.state === "missing") return upper;
  const state = upper.state === "live" && lower.state === "live" ? "live" : "stale";
  return { text: `${upper.text.replace(" ", "")}/${lower.text.replace(" ", "")}`, state };
}

interface Props {
  reading: ReadingShape | undefined;
  context: Context;
  showUnit?: boolean;
  showAge?: boolean;
  /** Shown instead of the reading's own value, e.g. a pressure of two parts. */
  text?: string;
}

export function Reading({ reading, context, showUnit = false, showAge = false, text }: Props) {
  const { t, ago } = useWords();
  const value = valueOf(reading, context);
  const unit = reading ? shownUnit(reading.unit || MEASURES[reading.measure]?.unit || "") : "";
  const title = reading ? `${exact(trueAtMs(reading))} ${reading.clock_suspect ? t("reading.clockSuspect") : ""}` : "";
  return (
    <span
      className={`reading ${value.state}`}
      title={title}
      data-measure={reading?.measure}
      data-state={value.state}
      data-value={reading?.value ?? ""}
      data-measured-at={reading?.measured_at_ms}
    >
      <span className="reading-value">{text ?? value.text}</span>
      {showUnit && unit && <small className="unit"> {unit}</small>}
      {showAge && reading && (
        <small className="age">
          {value.state === "stale" && <Icon name="clock" />} {ago(ageMs(reading, context))}
        </small>
      )}
      {value.state === "missing" && <span className="sr">{t("reading.missing")}</span>}
      {value.state === "stale" && reading && (
        <span className="sr">{t("reading.notCurrent", { time: timeOfDay(trueAtMs(reading), false) })}</span>
      )}
    </span>
  );
}

/** Numbers as they are shown: never more digits than the device sent, never a unit away (screens 2.2). */
import type { Bed, Reading } from "../contract";
import { MEASURES } from "../contract";

const SHOWN_UNITS: Record<string, string> = {
  "mm[Hg]": "mmHg",
  Cel: "℃",
  "{score}": "",
  "{ACVPU}": "",
  "{O2}": "",
  "1": "",
};

export const MISSING = "– –";

export function shownUnit(unit: string): string {
  return SHOWN_UNITS[unit] ?? unit;
}

/** Decimal text at the measure's precision, a true minus, never more digits than were sent. */
export function shownValue(measure: string, value: string): string {
  const step = MEASURES[measure]?.step;
  if (step === undefined || !/^-?\d+(\.\d+)?$/.test(value)) return value;
  const wanted = step.includes(".") ? 1 : 0;
  const sent = value.split(".")[1]?.length ?? 0;
  return Number(value).toFixed(Math.min(wanted, sent)).replace("-", "−");
}

export function readingOf(bed: Bed, ...measures: string[]): Reading | undefined {
  for (const measure of measures) {
    const found = bed.readings.find((reading) => reading.measure === measure);
    if (found) return found;
  }
  return undefined;
}

export interface Context {
  nowMs: number;
  /** The page hears its server, and the server hears the site. */
  isHeard: boolean;
  isReplay: boolean;
}

/** When a reading was true: the device's time, or its arrival where that clock is not trusted or is replayed. */
export function trueAtMs(reading: Reading): number {
  return reading.clock_suspect || reading.origin === "replay" ? reading.arrived_at_ms : reading.measured_at_ms;
}

export function ageMs(reading: Reading, context: Context): number {
  return Math.max(0, context.nowMs - trueAtMs(reading));
}

export function hasValue(reading: Reading | undefined): reading is Reading & { value: string } {
  return reading?.value != null && reading.quality !== "missing" && reading.quality !== "retracted";
}

export function isStale(reading: Reading, context: Context): boolean {
  return !context.isHeard || ageMs(reading, context) > reading.stale_after_s * 1000;
}

/** What a trend chart draws, computed apart from the drawing. */
import type { Trend } from "../../contract";

export interface Lane {
  key: string;
  /** Measures of this lane; two of them are drawn as bars from one to the other. */
  measures: [string] | [string, string];
  low: number;
  high: number;
  colour: string;
}

export const LANES: Lane[] = [
  { key: "hr", measures: ["hr"], low: 40, high: 160, colour: "--ecg" },
  { key: "spo2", measures: ["spo2"], low: 80, high: 100, colour: "--ppg" },
  { key: "bp", measures: ["nibp_sys", "nibp_dia"], low: 40, high: 220, colour: "--bp" },
  { key: "rr", measures: ["rr"], low: 4, high: 40, colour: "--resp" },
  { key: "temp", measures: ["temp"], low: 34, high: 41, colour: "--bp" },
];

export type Columns = [number[], (number | null)[], (number | null)[], (number | null)[]];

/** Steps in a row further apart than this many steps are not joined. */
const JOIN_STEPS = 2.5;

/** Times (s), last, low and high of a trend, with a null wherever steps are missing. */
export function columnsOf(trend: Trend | undefined): Columns {
  const columns: Columns = [[], [], [], []];
  let before = Number.NaN;
  for (const point of trend?.points ?? []) {
    const at = point.at_ms / 1000;
    if (at - before > JOIN_STEPS * (trend?.step_s ?? 60)) {
      columns[0].push((before + at) / 2);
      columns[1].push(null);
      columns[2].push(null);
      columns[3].push(null);
    }
    columns[0].push(at);
    columns[1].push(point.last);
    columns[2].push(point.low);
    columns[3].push(point.high);
    before = at;
  }
  return columns;
}

/** The lane's fixed range, widened to whole tens only where a value lies outside it. */
export function rangeOf(lane: Lane, trends: (Trend | undefined)[]): [number, number] {
  let [low, high] = [lane.low, lane.high];
  for (const trend of trends) {
    for (const point of trend?.points ?? []) {
      if (point.low < low) low = Math.floor(point.low / 10) * 10;
      if (point.high > high) high = Math.ceil(point.high / 10) * 10;
    }
  }
  return [low, high];
}

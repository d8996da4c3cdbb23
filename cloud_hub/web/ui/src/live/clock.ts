/** The server's clock as this page knows it, and the words for ages and remaining times. */

/** Milliseconds to add to `Date.now()` to get the server's time. */
let offsetMs = 0;

/** Take a server's time stamp; a stamp is late by its way here, so the largest offset seen is nearest to the truth. */
export function takeServerTime(serverMs: number, isFirst: boolean, nowMs: number = Date.now()): void {
  const measured = serverMs - nowMs;
  offsetMs = isFirst ? measured : Math.max(offsetMs - 1, measured);
}

export function serverNow(): number {
  return Date.now() + offsetMs;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

export type AgeUnit = "s" | "min" | "h" | "d";

/** An age in the largest unit that leaves at least one: screens 2.2. */
export function age(ms: number): { count: number; unit: AgeUnit } {
  const value = Math.max(0, ms);
  if (value < MINUTE_MS) return { count: Math.floor(value / 1000), unit: "s" };
  if (value < HOUR_MS) return { count: Math.floor(value / MINUTE_MS), unit: "min" };
  if (value < DAY_MS) return { count: Math.floor(value / HOUR_MS), unit: "h" };
  return { count: Math.floor(value / DAY_MS), unit: "d" };
}

const two = (value: number): string => String(value).padStart(2, "0");

/** A running clock, `01:18`, `1:02:05` from an hour on; the sign is left to the words beside it. */
export function digits(ms: number): string {
  const seconds = Math.floor(Math.abs(ms) / 1000);
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor((seconds % 3600) / 60))}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

/** Local time of day, `14:32:08` or `14:32`. */
export function timeOfDay(ms: number, withSeconds = true): string {
  const at = new Date(ms);
  const text = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return withSeconds ? `${text}:${two(at.getSeconds())}` : text;
}

/** Time of day, with the day in front where it is not today. */
export function shortMoment(ms: number, nowMs: number): string {
  const at = new Date(ms);
  if (at.toDateString() === new Date(nowMs).toDateString()) return timeOfDay(ms, false);
  return `${at.getMonth() + 1}-${two(at.getDate())} ${timeOfDay(ms, false)}`;
}

/** The exact instant with its zone, for hover and long press. */
export function exact(ms: number): string {
  const zone = -new Date(ms).getTimezoneOffset();
  const sign = zone < 0 ? "−" : "+";
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${timeOfDay(ms)} ${sign}${two(Math.floor(Math.abs(zone) / 60))}:${two(Math.abs(zone) % 60)}`;
}

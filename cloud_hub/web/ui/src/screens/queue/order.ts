/** Which referrals stand where in the queue. */
import type { Referral, Text2 } from "../../contract";
import { ENTERED_BY, OPEN_STATES } from "../../contract";

export type Group = "now" | "soon" | "later" | "closed";

const NOW_LEVELS = new Set(["T0", "T1"]);
const TO_HUB = new Set(["SUBMITTED", "TRIAGED"]);
const PAUSED = new Set(["MORE_INFO", "DECLINED", "SCHEDULED", "DOWN_REFERRED", "FOLLOW_UP", "REPORTED"]);

export function levelOf(referral: Referral): string {
  return referral.level || referral.level_claim;
}

/** The hub's own clock stands while the other side owes the next step. */
export function isPaused(referral: Referral): boolean {
  return PAUSED.has(referral.state);
}

export function groupOf(referral: Referral): Group {
  if (!OPEN_STATES.includes(referral.state)) return "closed";
  if (isPaused(referral)) return "later";
  if (NOW_LEVELS.has(levelOf(referral))) return "now";
  return levelOf(referral) === "T2" ? "soon" : "later";
}

const FAR_MS = Number.MAX_SAFE_INTEGER;

/** By level, then by the nearest deadline, then by arrival. */
export function byUrgency(left: Referral, right: Referral): number {
  return (
    levelOf(left).localeCompare(levelOf(right)) ||
    (left.deadline_ms ?? FAR_MS) - (right.deadline_ms ?? FAR_MS) ||
    (left.received_at_ms ?? left.authored_at_ms) - (right.received_at_ms ?? right.authored_at_ms)
  );
}

/** The name of whoever holds a referral: its newest step at the hub's side says it. */
export function ownerOf(referral: Referral): Text2 | null {
  if (!referral.owner) return null;
  const step = referral.moves.findLast((move) => ENTERED_BY[move.state]?.includes("physician"));
  return step?.who ?? { zh: referral.owner, en: referral.owner };
}

export function waitingForTriage(referrals: Record<string, Referral>): Referral[] {
  return Object.values(referrals)
    .filter((referral) => TO_HUB.has(referral.state))
    .sort(byUrgency);
}

/** The referral that a call to this bed belongs to: the newest that the hub has taken and not yet reported on. */
export function acceptedReferral(referrals: Referral[], bedKey: string): string {
  const mine = referrals.filter(
    (each) => each.bed_key === bedKey && ["ACCEPTED", "SCHEDULED", "IN_CONSULT"].includes(each.state),
  );
  return mine.sort((a, b) => b.authored_at_ms - a.authored_at_ms)[0]?.referral_id ?? "";
}

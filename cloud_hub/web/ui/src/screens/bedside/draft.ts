/** The draft of a T0 referral: its defaults, its words to read aloud, its identity. */
import type { Bed, ReferralBody } from "../../contract";

export type Known = "known" | "woke-up" | "unknown";
export type Anticoagulant = "yes" | "no" | "unknown";

export interface Draft {
  id: string;
  bedKey: string;
  lastKnownWellMs: number | null;
  lastKnownWell: Known;
  signs: string[];
  anticoagulant: Anticoagulant;
  callback: string;
  question: string;
}

/** A UUIDv7: its time in front, so that ids sort by birth. */
export function uuid7(nowMs: number, random: Uint8Array): string {
  const bytes = Uint8Array.from(random.slice(0, 16));
  for (let index = 0; index < 6; index += 1) bytes[index] = Math.floor(nowMs / 2 ** (8 * (5 - index))) & 0xff;
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function newDraft(bedKey: string, callback: string, nowMs: number): Draft {
  return {
    id: uuid7(nowMs, crypto.getRandomValues(new Uint8Array(16))),
    bedKey,
    lastKnownWellMs: null,
    lastKnownWell: "unknown",
    signs: [],
    anticoagulant: "unknown",
    callback,
    question: "",
  };
}

/** What is sent; unknowns stay as they are, for no field may hold up a T0. */
export function bodyOf(draft: Draft): ReferralBody {
  return {
    referral_id: draft.id,
    bed_key: draft.bedKey,
    level_claim: "T0",
    last_known_well_ms: draft.lastKnownWell === "known" ? draft.lastKnownWellMs : null,
    last_known_well_code: draft.lastKnownWell,
    main_signs: draft.signs,
    anticoagulant: draft.anticoagulant,
    callback: draft.callback,
    question: draft.question,
  };
}

/** The bed that a T0 most likely is about: the one in worst state, else the first with a patient. */
export function likeliestBed(beds: Bed[], alarmedKeys: string[]): string {
  const alarmed = alarmedKeys.find((key) => beds.some((bed) => bed.key === key && bed.patient));
  return alarmed ?? beds.find((bed) => bed.patient)?.key ?? beds[0]?.key ?? "";
}

/** `13:20` or `1320` today as an instant; a time still to come is taken for yesterday's. */
export function instantOf(time: string, nowMs: number): number | null {
  const match = /^([01]?\d|2[0-3])[:：]?([0-5]\d)$/.exec(time.trim());
  if (!match) return null;
  const at = new Date(nowMs);
  at.setHours(Number(match[1]), Number(match[2]), 0, 0);
  return at.getTime() > nowMs ? at.getTime() - 86_400_000 : at.getTime();
}

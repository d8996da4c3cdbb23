import { describe, expect, it } from "vitest";
import { qrPath } from "./sites/qr";
import type { Alarm, Reading, Referral, Site, Trend } from "../contract";
import { bundle, isOpen, sounds, worstFirst } from "../alarms/order";
import { isStale, shownValue } from "../state/format";
import { bodyOf, instantOf, newDraft, uuid7 } from "./bedside/draft";
import { columnsOf, LANES, rangeOf } from "./patient/trend";
import { acceptedReferral, byUrgency, groupOf } from "./queue/order";
import { percent, tenths } from "./study/findings";
import { pagesOf } from "./wall/pages";

const alarm = (part: Partial<Alarm>): Alarm =>
  ({
    alarm_id: "a",
    bed_key: "s:1",
    site: "s",
    priority: "medium",
    active: true,
    latched: false,
    resolved: false,
    late: false,
    accepted_by: null,
    audio_paused_until_ms: null,
    onset_ms: 0,
    ...part,
  }) as Alarm;

describe("a call from the patient page", () => {
  const referral = (id: string, state: string, at: number, bed = "s:1") =>
    ({ referral_id: id, state, authored_at_ms: at, bed_key: bed }) as Referral;

  it("belongs to the newest referral of that bed that the hub has taken", () => {
    const rows = [
      referral("old", "ACCEPTED", 1),
      referral("new", "ACCEPTED", 2),
      referral("closed", "CLOSED", 3),
      referral("other", "ACCEPTED", 4, "s:2"),
    ];
    expect(acceptedReferral(rows, "s:1")).toBe("new");
    expect(acceptedReferral(rows, "s:3")).toBe("");
  });
});

describe("alarms", () => {
  it("stand worst first, untaken before taken, oldest first", () => {
    const rows = [
      alarm({ alarm_id: "taken", priority: "high", accepted_by: { zh: "甲", en: "A" } }),
      alarm({ alarm_id: "medium" }),
      alarm({ alarm_id: "late", priority: "high", onset_ms: 9 }),
      alarm({ alarm_id: "early", priority: "high", onset_ms: 1 }),
    ];
    expect(rows.sort(worstFirst).map((each) => each.alarm_id)).toEqual(["early", "late", "taken", "medium"]);
  });

  it("stay open while latched and close when resolved", () => {
    expect(isOpen(alarm({ active: false, latched: true }))).toBe(true);
    expect(isOpen(alarm({ resolved: true }))).toBe(false);
  });

  it("sound until somebody takes them, and again when a pause is over", () => {
    expect(sounds(alarm({}), undefined, 10)).toBe(true);
    expect(sounds(alarm({ accepted_by: { zh: "甲", en: "A" } }), undefined, 10)).toBe(false);
    expect(sounds(alarm({ audio_paused_until_ms: 20 }), undefined, 10)).toBe(false);
    expect(sounds(alarm({ audio_paused_until_ms: 20 }), undefined, 21)).toBe(true);
  });

  it("of one bed are one row with the number of the others", () => {
    const groups = bundle([alarm({ alarm_id: "1" }), alarm({ alarm_id: "2" }), alarm({ bed_key: "s:2" })]);
    expect(groups.map((group) => group.more)).toEqual([1, 0]);
  });
});

describe("values", () => {
  it("never show more digits than were sent, and a true minus", () => {
    expect(shownValue("temp", "37")).toBe("37");
    expect(shownValue("temp", "36.54")).toBe("36.5");
    expect(shownValue("hr", "81.6")).toBe("82");
    expect(shownValue("abp_sys", "-3")).toBe("−3");
  });

  it("are stale by their age, and at once when nobody is heard", () => {
    const reading = { measure: "hr", measured_at_ms: 0, arrived_at_ms: 0, stale_after_s: 300, origin: "live" } as Reading;
    expect(isStale(reading, { nowMs: 299_000, isHeard: true, isReplay: false })).toBe(false);
    expect(isStale(reading, { nowMs: 301_000, isHeard: true, isReplay: false })).toBe(true);
    expect(isStale(reading, { nowMs: 1_000, isHeard: false, isReplay: false })).toBe(true);
  });
});

describe("a T0 draft", () => {
  it("is whole as it opens: unknowns may be sent as they stand", () => {
    const body = bodyOf(newDraft("s:1", "028", 0));
    expect(body).toMatchObject({ bed_key: "s:1", level_claim: "T0", anticoagulant: "unknown", main_signs: [] });
    expect(body.last_known_well_ms).toBeNull();
  });

  it("has an id that is a version 7 UUID and sorts by birth", () => {
    const zeros = new Uint8Array(16);
    expect(uuid7(1_700_000_000_000, zeros)).toMatch(/^018bcfe5-6800-7000-8000-0{12}$/);
    expect(uuid7(1, zeros) < uuid7(2, zeros)).toBe(true);
  });

  it("takes a time still to come for yesterday's, and refuses what is no time", () => {
    const now = new Date(2026, 10, 21, 1, 0).getTime();
    expect(new Date(instantOf("23:50", now) ?? 0).getDate()).toBe(20);
    expect(instantOf("0030", now)).toBe(now - 30 * 60_000);
    expect(instantOf("25:00", now)).toBeNull();
    expect(instantOf("7", now)).toBeNull();
  });
});

describe("a trend", () => {
  const point = (at: number) => ({ at_ms: at * 1000, low: 1, high: 3, last: 2 });

  it("is broken where steps are missing", () => {
    const trend: Trend = { measure: "hr", unit: "/min", step_s: 60, points: [point(0), point(60), point(600)] };
    expect(columnsOf(trend)[1]).toEqual([2, 2, null, 2]);
  });

  it("keeps its fixed range unless a value lies outside", () => {
    const lane = LANES[0]!;
    expect(rangeOf(lane, [])).toEqual([40, 160]);
    const trend: Trend = { measure: "hr", unit: "", step_s: 60, points: [{ at_ms: 0, low: 33, high: 171, last: 50 }] };
    expect(rangeOf(lane, [trend])).toEqual([30, 180]);
  });
});

describe("the queue", () => {
  const referral = (part: Partial<Referral>): Referral =>
    ({ state: "SUBMITTED", level: "", level_claim: "T2", authored_at_ms: 0, received_at_ms: 0, deadline_ms: 9, ...part }) as Referral;

  it("goes by level, then by the nearest deadline", () => {
    const rows = [
      referral({ level_claim: "T2", deadline_ms: 1 }),
      referral({ level_claim: "T0", deadline_ms: 8 }),
      referral({ level_claim: "T0", deadline_ms: 2 }),
    ];
    expect(rows.sort(byUrgency).map((row) => row.deadline_ms)).toEqual([2, 8, 1]);
  });

  it("puts a case that waits for the other side under later, and an ended one under closed", () => {
    expect(groupOf(referral({ level_claim: "T0" }))).toBe("now");
    expect(groupOf(referral({ level_claim: "T0", state: "MORE_INFO" }))).toBe("later");
    expect(groupOf(referral({ state: "CANCELLED" }))).toBe("closed");
  });
});

describe("the wall", () => {
  it("makes pages of whole sites, at most twelve places each", () => {
    const site = (name: string, count: number) => ({ site: name, beds: Array<string>(count).fill("") }) as unknown as Site;
    const pages = pagesOf([site("a", 5), site("b", 4), site("c", 1)]);
    expect(pages.map((page) => page.map((each) => each.site))).toEqual([["a", "b"], ["c"]]);
  });
});

describe("the QR code of a token", () => {
  it("is drawn as one rectangle for each run of dark modules", () => {
    expect(qrPath(["110", "000", "101"])).toBe("M0 0h2v1h-2zM0 2h1v1h-1zM2 2h1v1h-1z");
  });
});

describe("a finding", () => {
  it("is measured in tenths of a millimetre", () => {
    expect([1.796875, 2.3125, 3].map(tenths)).toEqual(["1.8", "2.3", "3.0"]);
  });

  it("is never told as certain", () => {
    expect([0.5, 0.994, 0.9996, 1].map(percent)).toEqual(["50\u00a0%", "99\u00a0%", ">\u00a099\u00a0%", ">\u00a099\u00a0%"]);
  });
});

import { describe, expect, it } from "vitest";
import type { Bed, Reading, ServerMessage, WaveChannel } from "../contract";
import { en } from "../i18n/en";
import { zh } from "../i18n/zh";
import { age, digits } from "./clock";
import { scaleTo } from "./painter";
import { backOffMs } from "./socket";
import { EMPTY, fold, LiveStore, mergeReadings } from "./store";
import { PlayClock, WaveRing } from "./waves";

const reading = (measure: string, value: string, at: number): Reading => ({
  measure,
  value,
  unit: "/min",
  measured_at_ms: at,
  arrived_at_ms: at,
  quality: "valid",
  origin: "live",
  stale_after_s: 300,
  clock_suspect: false,
  limit_low: null,
  limit_high: null,
});

const channel = (startMs: number, digits: (number | null)[], rate = 10): WaveChannel => ({
  measure: "ecg_II",
  label: "II",
  rate_hz: rate,
  start_ms: startMs,
  gain: 2,
  baseline: 10,
  unit: "mV",
  digits,
});

describe("readings", () => {
  it("replace older ones of the same measure and keep the others", () => {
    const merged = mergeReadings([reading("hr", "80", 1), reading("rr", "16", 1)], [reading("hr", "90", 2)]);
    expect(merged.map((each) => [each.measure, each.value])).toEqual([
      ["hr", "90"],
      ["rr", "16"],
    ]);
  });

  it("that come late never replace a newer one", () => {
    expect(mergeReadings([reading("hr", "90", 5)], [reading("hr", "80", 2)])[0]?.value).toBe("90");
  });

  it("of an unknown bed change nothing", () => {
    const message: ServerMessage = { type: "readings", bed_key: "a:1", readings: [], news2: null, not_live: "" };
    expect(fold(EMPTY, message)).toBe(EMPTY);
  });
});

describe("a wave that begins after the snapshot", () => {
  const bed = { key: "a:1", waves: [] as string[], readings: [] } as unknown as Bed;
  const begun = { ...EMPTY, beds: { "a:1": bed } };
  const message: ServerMessage = { type: "wave", bed_key: "a:1", channels: [channel(0, [1])] };

  it("is listed at its bed, so that the tile draws it", () => {
    expect(fold(begun, message).beds["a:1"]?.waves).toEqual(["ecg_II"]);
  });

  it("changes nothing from its second stretch on", () => {
    const once = fold(begun, message);
    expect(fold(once, message)).toBe(once);
  });
});

describe("the feed", () => {
  it("is lost by silence and lives again with the next message", () => {
    const store = new LiveStore();
    store.take({ type: "tick", server_time_ms: 0 }, 1_000);
    store.lose(8_000);
    expect(store.get()).toMatchObject({ feed: "lost", lostSince: 1_000 });
    store.take({ type: "tick", server_time_ms: 0 }, 9_000);
    expect(store.get()).toMatchObject({ feed: "live", lostSince: null });
  });

  it("comes back with growing waits up to eight seconds", () => {
    expect([0, 1, 2, 10].map((attempt) => backOffMs(attempt, 1))).toEqual([500, 1000, 2000, 8000]);
  });
});

describe("a wave's memory", () => {
  it("gives physical values and a gap where nothing came", () => {
    const ring = new WaveRing(channel(0, []), 10);
    ring.put(channel(0, [12, null]));
    ring.put(channel(400, [14]));
    expect([0, 1, 2, 3, 4].map((index) => ring.at(index))).toEqual([1, NaN, NaN, NaN, 2]);
  });

  it("fills a gap when the stretch comes late, and says so", () => {
    const ring = new WaveRing(channel(0, []), 10);
    ring.put(channel(0, [12, 12]));
    ring.put(channel(400, [14]));
    ring.put(channel(200, [16, 18]));
    expect([2, 3, 4].map((index) => ring.at(index))).toEqual([3, 4, 2]);
    expect(ring.lateCount).toBe(1);
  });

  it("joins stretches whose stamps are off by less than their jitter", () => {
    const ring = new WaveRing(channel(0, [], 100), 10);
    ring.put(channel(0, Array<number>(100).fill(12), 100));
    ring.put(channel(1020, Array<number>(100).fill(14), 100));
    expect([99, 100, 101].map((index) => ring.at(index))).toEqual([1, 2, 2]);
  });

  it("forgets what is older than it keeps", () => {
    const ring = new WaveRing(channel(0, []), 1);
    for (let second = 0; second < 3; second += 1) ring.put(channel(second * 1000, Array<number>(10).fill(12)));
    expect(ring.at(19)).toBeNaN();
    expect(ring.at(20)).toBe(1);
  });
});

describe("the moment to draw", () => {
  it("runs evenly between stretches and never passes the newest sample", () => {
    const clock = new PlayClock();
    clock.arrived(1_000, 1_000, 10_000);
    expect(clock.moment(10_120)).toBe(0);
    expect(clock.moment(10_620)).toBe(500);
    expect(clock.moment(13_000)).toBe(1_000);
  });

  it("never runs backwards when a later stretch needs more delay", () => {
    const clock = new PlayClock();
    clock.arrived(1_000, 1_000, 10_000);
    const before = clock.moment(11_000) ?? 0;
    clock.arrived(2_000, 1_000, 11_900);
    expect(clock.moment(11_910)).toBeGreaterThanOrEqual(before);
  });

  it("starts anew when the device's clock jumps", () => {
    const clock = new PlayClock();
    clock.arrived(1_000_000, 1_000, 10_000);
    clock.moment(10_500);
    clock.arrived(500_000, 1_000, 11_000);
    expect(clock.moment(11_200)).toBeLessThan(500_001);
  });
});

describe("a wave's scale", () => {
  it("stays while the wave fits, grows at once, shrinks when under half is used", () => {
    const first = scaleTo(null, { low: 0, high: 10 }, 1);
    expect(scaleTo(first, { low: 1, high: 9 }, 1)).toBe(first);
    expect(scaleTo(first, { low: 0, high: 20 }, 1).high).toBeGreaterThan(20);
    expect(scaleTo(first, { low: 4, high: 6 }, 1).high).toBeLessThan(8);
  });
});

describe("words", () => {
  it("exist under the same keys in both languages, none of them empty", () => {
    expect(Object.keys(en).sort()).toEqual(Object.keys(zh).sort());
    for (const [key, text] of [...Object.entries(en), ...Object.entries(zh)]) {
      if (key !== "sex.other") expect(text, key).not.toBe("");
    }
  });

  it("carry the same places for values in both languages", () => {
    const places = (text: string) => [...text.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1]).sort();
    for (const key of Object.keys(zh) as (keyof typeof zh)[]) expect(places(en[key]), key).toEqual(places(zh[key]));
  });

  it("say ages in the largest unit and clocks in digits", () => {
    expect(age(59_999)).toEqual({ count: 59, unit: "s" });
    expect(age(60_000)).toEqual({ count: 1, unit: "min" });
    expect(age(26 * 3_600_000)).toEqual({ count: 1, unit: "d" });
    expect(digits(78_000)).toBe("01:18");
    expect(digits(-3_725_000)).toBe("1:02:05");
  });
});

/** Wave memory: samples on the device's own clock, and the moment of that clock which is to be drawn now. */
import type { WaveChannel } from "../contract";

/** A stamp is good to this much: it comes from a clock of milliseconds and a rate that is not quite as stated. */
const STAMP_JITTER_S = 0.03;

/** Samples of one wave, kept by their own time; a time without a sample is NaN and is drawn as a gap. */
export class WaveRing {
  readonly rateHz: number;
  label: string;
  unit: string;
  /** Time of the newest sample, ms on the device's clock. */
  endMs = Number.NEGATIVE_INFINITY;
  /** Counts stretches that arrived behind what was already drawn. */
  lateCount = 0;
  private readonly values: Float32Array;
  /** Index of the newest sample since the clock's zero. */
  private newest = Number.NEGATIVE_INFINITY;

  constructor(channel: WaveChannel, keepS: number) {
    this.rateHz = channel.rate_hz;
    this.label = channel.label;
    this.unit = channel.unit;
    this.values = new Float32Array(Math.ceil(keepS * channel.rate_hz)).fill(Number.NaN);
  }

  /** Put a stretch in its place; what is older than the memory is dropped. */
  put(channel: WaveChannel): void {
    const first = this.placeOf(channel);
    const last = first + channel.digits.length - 1;
    const size = this.values.length;
    if (last <= this.newest) this.lateCount += 1;
    if (last > this.newest) {
      const blankFrom = Math.max(Number.isFinite(this.newest) ? this.newest + 1 : first, last - size + 1);
      for (let index = blankFrom; index < first; index += 1) this.values[index % size] = Number.NaN;
    }
    for (let index = Math.max(first, last - size + 1, this.newest - size + 1); index <= last; index += 1) {
      const digit = channel.digits[index - first];
      this.values[index % size] = digit == null ? Number.NaN : (digit - channel.baseline) / channel.gain;
    }
    if (last > this.newest) {
      this.newest = last;
      this.endMs = ((last + 1) * 1000) / this.rateHz;
    }
  }

  /** Where a stretch begins; one that follows within the jitter of its own stamp follows without a gap. */
  private placeOf(channel: WaveChannel): number {
    const stamped = Math.round((channel.start_ms * this.rateHz) / 1000);
    const next = this.newest + 1;
    const jitter = Math.max(1, Math.round(STAMP_JITTER_S * this.rateHz));
    return Math.abs(stamped - next) <= jitter ? next : stamped;
  }

  indexAt(ms: number): number {
    return Math.floor((ms * this.rateHz) / 1000);
  }

  /** The sample with this index, NaN where there is none. */
  at(index: number): number {
    if (index > this.newest || index <= this.newest - this.values.length) return Number.NaN;
    return this.values[((index % this.values.length) + this.values.length) % this.values.length] ?? Number.NaN;
  }

  /** Lowest and highest sample of the memory, or null without any. */
  range(): { low: number; high: number } | null {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (const value of this.values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return low <= high ? { low, high } : null;
  }
}

const SLACK_MS = 120;
const JUMP_MS = 15_000;
const CATCH_UP = 0.02;

/**
 * Says which moment of the device's clock to draw now, so that stretches which arrive in bursts run evenly.
 *
 * The delay behind the newest sample is the longest recent wait between two stretches; the moment never
 * runs backwards, and a jump of the device's clock starts it anew.
 */
export class PlayClock {
  private delayMs = Number.NaN;
  private shownMs = Number.NEGATIVE_INFINITY;
  private newestMs = Number.NEGATIVE_INFINITY;

  /** A stretch that ends at `endMs` and lasts `lengthMs` arrived now. */
  arrived(endMs: number, lengthMs: number, nowMs: number): void {
    const needed = nowMs - endMs + lengthMs + SLACK_MS;
    if (!Number.isFinite(this.delayMs) || Math.abs(needed - this.delayMs) > JUMP_MS) {
      this.delayMs = needed;
      this.shownMs = Number.NEGATIVE_INFINITY;
      this.newestMs = Number.NEGATIVE_INFINITY;
    } else if (needed > this.delayMs) {
      this.delayMs = needed;
    } else {
      this.delayMs += (needed - this.delayMs) * CATCH_UP;
    }
    this.newestMs = Math.max(this.newestMs, endMs);
  }

  /** The moment to draw, or null before the first stretch. */
  moment(nowMs: number): number | null {
    if (!Number.isFinite(this.delayMs)) return null;
    // It stops at the newest sample: what has not come yet is neither drawn nor looped.
    this.shownMs = Math.max(this.shownMs, Math.min(nowMs - this.delayMs, this.newestMs));
    return this.shownMs;
  }
}

const KEEP_S = 30;

interface BedWaves {
  clock: PlayClock;
  rings: Map<string, WaveRing>;
  arrivedAt: number;
}

/** Waves of all watched beds. */
export class WaveStore {
  private readonly beds = new Map<string, BedWaves>();

  put(bedKey: string, channels: WaveChannel[], nowMs: number): void {
    let bed = this.beds.get(bedKey);
    if (!bed) {
      bed = { clock: new PlayClock(), rings: new Map(), arrivedAt: nowMs };
      this.beds.set(bedKey, bed);
    }
    for (const channel of channels) {
      if (channel.digits.length === 0 || channel.rate_hz <= 0) continue;
      const lengthMs = (channel.digits.length * 1000) / channel.rate_hz;
      let ring = bed.rings.get(channel.measure);
      const endMs = channel.start_ms + lengthMs;
      if (!ring || ring.rateHz !== channel.rate_hz || endMs < ring.endMs - KEEP_S * 1000) {
        ring = new WaveRing(channel, KEEP_S);
        bed.rings.set(channel.measure, ring);
      }
      ring.put(channel);
      bed.clock.arrived(endMs, lengthMs, nowMs);
    }
    bed.arrivedAt = nowMs;
  }

  ring(bedKey: string, measure: string): WaveRing | undefined {
    return this.beds.get(bedKey)?.rings.get(measure);
  }

  moment(bedKey: string, nowMs: number): number | null {
    return this.beds.get(bedKey)?.clock.moment(nowMs) ?? null;
  }

  /** When waves of this bed last arrived, ms on this page's clock; 0 for never. */
  arrivedAt(bedKey: string): number {
    return this.beds.get(bedKey)?.arrivedAt ?? 0;
  }

  clear(): void {
    this.beds.clear();
  }
}

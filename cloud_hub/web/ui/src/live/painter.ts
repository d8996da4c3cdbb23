/** Draws sweeping waves on canvases from the wave memory; one animation loop serves the page. */
import type { WaveStore } from "./waves";
import type { WaveRing } from "./waves";

const FRAME_MS = 1000 / 31;
/** Blank columns ahead of the sweep, in CSS pixels. */
const ERASE_PX = 8;
const FROZEN_AFTER_MS = 5_000;
const RESCALE_EVERY_MS = 2_000;
const LEAST_SPAN: Record<string, number> = { ecg: 1.5, ppg: 0.05, resp: 0.05, abp: 40, eeg: 50, co2: 20 };
const COLOURS: Record<string, string> = { ecg: "--ecg", ppg: "--ppg", resp: "--resp", co2: "--resp", abp: "--bp" };

export function family(measure: string): string {
  return measure.split("_")[0] ?? measure;
}

/** The vertical range to draw: it grows at once and shrinks only when less than half of it is used. */
export function scaleTo(
  old: { low: number; high: number } | null,
  seen: { low: number; high: number },
  leastSpan: number,
): { low: number; high: number } {
  const middle = (seen.low + seen.high) / 2;
  const span = Math.max(seen.high - seen.low, leastSpan) * 1.12;
  const wanted = { low: middle - span / 2, high: middle + span / 2 };
  if (!old) return wanted;
  const fits = seen.low >= old.low && seen.high <= old.high;
  return fits && span > (old.high - old.low) * 0.5 ? old : wanted;
}

export interface WaveView {
  canvas: HTMLCanvasElement;
  bedKey: string;
  measure: string;
  /** CSS pixels a second; 94 is 25 mm/s at 96 pixels an inch. */
  pxPerS: number;
}

class Painter {
  private width = 0;
  private height = 0;
  private ratio = 1;
  private drawnTo = Number.NaN;
  private scale: { low: number; high: number } | null = null;
  private scaledAt = 0;
  private late = 0;
  private ring: WaveRing | undefined;
  private frames = 0;
  private countedAt = 0;
  private readonly context: CanvasRenderingContext2D;
  private readonly observer: ResizeObserver;

  constructor(readonly view: WaveView) {
    const context = view.canvas.getContext("2d");
    if (!context) throw new Error("no 2d canvas");
    this.context = context;
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(view.canvas);
    this.fit();
  }

  close(): void {
    this.observer.disconnect();
  }

  private fit(): void {
    const { canvas } = this.view;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.width = canvas.clientWidth;
    this.height = canvas.clientHeight;
    canvas.width = Math.max(1, Math.round(this.width * this.ratio));
    canvas.height = Math.max(1, Math.round(this.height * this.ratio));
    this.drawnTo = Number.NaN;
  }

  paint(waves: WaveStore, nowMs: number): void {
    const { canvas, bedKey, measure } = this.view;
    const ring = waves.ring(bedKey, measure);
    const moment = waves.moment(bedKey, nowMs);
    if (!ring || moment === null || this.width === 0) return;
    const isLive = nowMs - waves.arrivedAt(bedKey) < FROZEN_AFTER_MS;
    const state = isLive ? "live" : "frozen";
    if (canvas.dataset.state !== state) canvas.dataset.state = state;
    this.rescale(ring, nowMs);
    const to = Math.min(moment, ring.endMs);
    if (ring !== this.ring || ring.lateCount !== this.late) this.drawnTo = Number.NaN;
    this.ring = ring;
    this.late = ring.lateCount;
    if (to > this.drawnTo || Number.isNaN(this.drawnTo)) this.draw(ring, to);
    this.count(nowMs);
  }

  private rescale(ring: WaveRing, nowMs: number): void {
    if (nowMs - this.scaledAt < RESCALE_EVERY_MS && this.scale && ring === this.ring) return;
    this.scaledAt = nowMs;
    const seen = ring.range();
    if (!seen) return;
    const scale = scaleTo(ring === this.ring ? this.scale : null, seen, LEAST_SPAN[family(this.view.measure)] ?? 0.05);
    if (scale !== this.scale) this.drawnTo = Number.NaN;
    this.scale = scale;
  }

  private draw(ring: WaveRing, toMs: number): void {
    const windowMs = (this.width / this.view.pxPerS) * 1000;
    const gapMs = (ERASE_PX / this.view.pxPerS) * 1000;
    const isWhole = Number.isNaN(this.drawnTo) || toMs - this.drawnTo > windowMs;
    const fromMs = isWhole ? toMs - windowMs + gapMs : this.drawnTo;
    if (isWhole) this.context.clearRect(0, 0, this.view.canvas.width, this.view.canvas.height);
    else this.erase(fromMs, toMs + gapMs, windowMs);
    this.trace(ring, fromMs, toMs, windowMs);
    this.drawnTo = toMs;
  }

  private x(ms: number, windowMs: number): number {
    return ((((ms % windowMs) + windowMs) % windowMs) / windowMs) * this.width * this.ratio;
  }

  private erase(fromMs: number, toMs: number, windowMs: number): void {
    const left = this.x(fromMs, windowMs) + this.ratio;
    const right = this.x(toMs, windowMs);
    const { width, height } = this.view.canvas;
    if (right >= left) {
      this.context.clearRect(left, 0, right - left, height);
    } else {
      this.context.clearRect(left, 0, width - left + this.ratio, height);
      this.context.clearRect(0, 0, right, height);
    }
  }

  private trace(ring: WaveRing, fromMs: number, toMs: number, windowMs: number): void {
    const { context, scale } = this;
    if (!scale) return;
    const style = getComputedStyle(this.view.canvas);
    context.strokeStyle = style.getPropertyValue(COLOURS[family(this.view.measure)] ?? "--resp") || style.color;
    context.lineWidth = 1.6 * this.ratio;
    context.lineJoin = "round";
    const height = this.height * this.ratio;
    const last = ring.indexAt(toMs);
    let before = Number.NaN;
    context.beginPath();
    for (let index = ring.indexAt(fromMs) - 1; index <= last; index += 1) {
      const value = ring.at(index);
      const x = this.x((index * 1000) / ring.rateHz, windowMs);
      const y = height - ((value - scale.low) / (scale.high - scale.low)) * height;
      if (Number.isNaN(value)) before = Number.NaN;
      else if (Number.isNaN(before) || x < before) context.moveTo(x, y);
      else context.lineTo(x, y);
      if (!Number.isNaN(value)) before = x;
    }
    context.stroke();
  }

  /** Leave the frame rate and the newest drawn moment on the canvas, for whoever measures. */
  private count(nowMs: number): void {
    this.frames += 1;
    const passed = nowMs - this.countedAt;
    if (passed < 1000) return;
    const { dataset } = this.view.canvas;
    if (this.countedAt > 0) dataset.fps = ((this.frames * 1000) / passed).toFixed(1);
    dataset.drawnTo = this.drawnTo.toFixed(0);
    this.frames = 0;
    this.countedAt = nowMs;
  }
}

/** All waves of a page and their one loop. */
export class WaveLoop {
  private readonly painters = new Set<Painter>();
  private frame = 0;
  private lastMs = 0;

  constructor(private readonly waves: WaveStore) {}

  add(view: WaveView): () => void {
    const painter = new Painter(view);
    this.painters.add(painter);
    if (this.painters.size === 1) this.frame = requestAnimationFrame(this.step);
    return () => {
      painter.close();
      this.painters.delete(painter);
      if (this.painters.size === 0) cancelAnimationFrame(this.frame);
    };
  }

  private readonly step = (stamp: number): void => {
    this.frame = requestAnimationFrame(this.step);
    // A little less than the frame length, or a display of 60 Hz would be drawn at 20.
    if (stamp - this.lastMs < FRAME_MS - 4) return;
    this.lastMs = stamp;
    const nowMs = Date.now();
    for (const painter of this.painters) painter.paint(this.waves, nowMs);
  };
}

/** One sweeping wave of one bed. */
import { useEffect, useRef } from "react";
import { useSession } from "../app/live";
import { WaveLoop } from "../live/painter";
import type { LiveStore } from "../live/store";

const loops = new WeakMap<LiveStore, WaveLoop>();

function loopOf(store: LiveStore): WaveLoop {
  let loop = loops.get(store);
  if (!loop) {
    loop = new WaveLoop(store.waves);
    loops.set(store, loop);
  }
  return loop;
}

interface Props {
  bedKey: string;
  measure: string;
  pxPerS?: number;
  /** Draws from another memory than the page's own, e.g. that of a consult's data channel. */
  loop?: WaveLoop;
}

export function Wave({ bedKey, measure, pxPerS = 48, loop }: Props) {
  const { store } = useSession();
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (!canvas.current) return undefined;
    return (loop ?? loopOf(store)).add({ canvas: canvas.current, bedKey, measure, pxPerS });
  }, [store, loop, bedKey, measure, pxPerS]);
  return (
    <span className="wave-box">
      <canvas
        ref={canvas}
        className="wave"
        data-testid="wave"
        data-bed={bedKey}
        data-measure={measure}
        aria-hidden="true"
      />
    </span>
  );
}

const ORDER = ["ecg_II", "ecg_V", "ecg_I", "ecg_III", "ppg", "resp", "abp", "co2", "eeg"];

/** The waves to show, best first: one ECG lead, then pleth, then breathing. */
export function pickWaves(seen: string[], count: number): string[] {
  const sorted = ORDER.filter((measure) => seen.includes(measure));
  const ecg = sorted.find((measure) => measure.startsWith("ecg"));
  const others = sorted.filter((measure) => !measure.startsWith("ecg"));
  return (ecg ? [ecg, ...others] : others).slice(0, count);
}

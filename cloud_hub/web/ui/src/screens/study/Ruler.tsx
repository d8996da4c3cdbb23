/** Where one is in a stack: what has come, what is missing, and a way to any slice. */
import { useWords } from "../../i18n";
import type { StageState } from "../../imaging/stage";

const HEIGHT = 400;
const WIDTH = 10;
/** Beside the bar, of what a model points to. */
const TICKS = 6;

/** Runs of neighbouring slices of one kind, as first and one past the last. */
export function runs(indices: Iterable<number>): [number, number][] {
  const found: [number, number][] = [];
  for (const index of [...indices].sort((one, other) => one - other)) {
    const last = found.at(-1);
    if (last && last[1] === index) last[1] = index + 1;
    else found.push([index, index + 1]);
  }
  return found;
}

interface Place extends Pick<StageState, "loaded" | "faults" | "shown" | "wanted"> {
  count: number;
  /** Slices in which a model points to something. */
  marked: number[];
  onGo: (index: number) => void;
}

export function Ruler({ count, marked, onGo, ...state }: Place) {
  const { t } = useWords();
  const y = (index: number) => (index / count) * HEIGHT;
  const bars = (indices: Iterable<number>, name: string) =>
    runs(indices).map(([from, to]) => (
      <rect key={`${name}${from}`} className={name} x="0" y={y(from)} width={WIDTH} height={Math.max(1, y(to) - y(from))} />
    ));
  return (
    <div className="ruler">
      <div className="ruler-bar">
        <svg viewBox={`0 0 ${WIDTH + TICKS} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          <defs>
            <pattern id="missing" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <rect width="3" height="6" className="hatch" />
            </pattern>
          </defs>
          <rect className="bar" x="0" y="0" width={WIDTH} height={HEIGHT} />
          {bars(state.loaded, "there")}
          {bars(state.faults.keys(), "missing")}
          {runs(marked).map(([from, to]) => (
            <rect key={`ai${from}`} className="ai" x={WIDTH + 1} y={y(from)} width={TICKS - 1} height={Math.max(3, y(to) - y(from))} />
          ))}
          {state.shown !== null && <rect className="at" x="0" y={y(state.shown)} width={WIDTH} height={Math.max(3, HEIGHT / count)} />}
        </svg>
        <input
          type="range"
          aria-label={t("viewer.sliceSlider")}
          min={1}
          max={count}
          value={state.wanted + 1}
          data-testid="slice-slider"
          onChange={(event) => onGo(Number(event.target.value) - 1)}
        />
      </div>
    </div>
  );
}

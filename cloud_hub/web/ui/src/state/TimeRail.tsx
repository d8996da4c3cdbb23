/** The time rail: elapsed bar, dashed mark = escalates, solid mark = limit, rings = stamps. */
import { useWords } from "../i18n";
import { digits, exact } from "../live/clock";

export interface Stamp {
  atMs: number;
  label: string;
}

interface Props {
  fromMs: number;
  limitMs: number;
  nowMs: number;
  escalatesMs?: number | null;
  stamps?: Stamp[];
  paused?: boolean;
}

function share(atMs: number, fromMs: number, limitMs: number): number {
  return Math.min(1, Math.max(0, (atMs - fromMs) / Math.max(1, limitMs - fromMs)));
}

const percent = (part: number): string => `${(part * 100).toFixed(2)}%`;

export function TimeRail({ fromMs, limitMs, nowMs, escalatesMs, stamps = [], paused = false }: Props) {
  const part = share(nowMs, fromMs, limitMs);
  const escalated = escalatesMs != null && nowMs >= escalatesMs;
  return (
    <div className={`rail ${escalated ? "escalated" : ""} ${paused ? "paused" : ""}`} aria-hidden="true">
      <span className="done" style={{ width: percent(part) }} />
      {escalatesMs != null && <span className="mark" style={{ left: percent(share(escalatesMs, fromMs, limitMs)) }} />}
      {stamps.map((stamp) => (
        <span
          key={`${stamp.atMs}${stamp.label}`}
          className="stamp"
          style={{ left: percent(share(stamp.atMs, fromMs, limitMs)) }}
          title={`${stamp.label} ${exact(stamp.atMs)}`}
        />
      ))}
      <span className="limit" />
    </div>
  );
}

/** `余 01:18`, or `超 00:42` in bold past the limit. */
export function Remaining({ limitMs, nowMs }: { limitMs: number; nowMs: number }) {
  const { t } = useWords();
  const left = limitMs - nowMs;
  return (
    <span className={left < 0 ? "over nowrap" : "strong nowrap"} title={exact(limitMs)}>
      {left < 0 ? t("clock.over", { d: long(-left, t) }) : t("clock.left", { d: long(left, t) })}
    </span>
  );
}

const DAY_MS = 86_400_000;

function long(ms: number, t: ReturnType<typeof useWords>["t"]): string {
  if (ms >= 2 * DAY_MS) return t("age.d", { n: Math.floor(ms / DAY_MS) });
  return digits(ms);
}

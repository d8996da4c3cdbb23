/** The stroke clock: from last known well to the end of the 4.5 h window. */
import { useNow } from "../../app/live";
import type { Referral } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { digits, timeOfDay } from "../../live/clock";
import { Remaining, TimeRail } from "../../state/TimeRail";

const WINDOW_MS = 4.5 * 3_600_000;

export function StrokeRail({ referral }: { referral: Referral }) {
  const { t } = useWords();
  const now = useNow();
  const wellMs = referral.last_known_well_ms;
  if (wellMs === null) return null;
  const endMs = wellMs + WINDOW_MS;
  const stamps = [
    { atMs: wellMs, label: t("ref.lkw") },
    ...referral.moves.map((move) => ({ atMs: move.at_ms, label: t(`state.${move.state}` as Key) })),
  ];
  return (
    <section className="stroke" data-testid="stroke-clock">
      <div className="row wrap">
        <span className="dense">
          {timeOfDay(wellMs, false)} {t("ref.lkw")}
        </span>
        <span className="strong">{t("ref.sinceLkw", { d: digits(now - wellMs) })}</span>
        <span className="sp" />
        <span className="dense t2">
          {t(now < endMs ? "ref.window" : "ref.windowOver", { time: timeOfDay(endMs, false) })}
        </span>
        <Remaining limitMs={endMs} nowMs={now} />
      </div>
      <TimeRail fromMs={wellMs} limitMs={endMs} nowMs={now} stamps={stamps} />
    </section>
  );
}

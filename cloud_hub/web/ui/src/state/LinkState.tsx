/** Link and sync state of a site, in the same place and words on every screen. */
import type { RadioView, Site, WaitingView } from "../contract";
import { useLive, useNow } from "../app/live";
import type { Key } from "../i18n";
import { useWords } from "../i18n";
import { digits, exact, timeOfDay } from "../live/clock";

/** Two dots: joined, dashed, broken. */
export function LinkGlyph({ link }: { link: Site["link"] }) {
  const line = link === "live" ? "M6 6h16" : link === "weak" ? "M9 6h2M13 6h2M17 6h2" : "M11 9 16 3";
  return (
    <svg className="link-glyph" viewBox="0 0 28 12" aria-hidden="true" strokeWidth="2">
      <circle cx="4.5" cy="6" r="3.4" />
      <path d={line} fill="none" />
      <circle cx="23.5" cy="6" r="3.4" fill={link === "lost" || link === "never" ? "none" : undefined} />
    </svg>
  );
}

const WORDS: Record<Site["link"], Key> = {
  live: "link.live",
  weak: "link.weak",
  lost: "link.lost",
  never: "link.never",
};

export function LinkState({ site }: { site: Site }) {
  const { t } = useWords();
  const now = useNow();
  const feed = useLive((state) => state.feed);
  // A page that lost its own feed knows nothing of any link, so it claims nothing.
  if (feed === "lost") {
    return (
      <span className="link-state" data-link="unknown">
        <LinkGlyph link="never" />
        {t("link.unknown")}
      </span>
    );
  }
  const since = site.link === "lost" ? ` ${digits(now - site.link_since_ms)}` : "";
  return (
    <span className="link-state" data-link={site.link}>
      <LinkGlyph link={site.link} />
      {t(WORDS[site.link])}
      {since}
    </span>
  );
}

export function waitingTotal(waiting: WaitingView): number {
  return waiting.alarm + waiting.care + waiting.vitals + waiting.waves;
}

/** "Caught up to 14:32:05, 0 waiting", and what is stuck. */
export function SyncState({ site }: { site: Site }) {
  const { t, both } = useWords();
  const waiting = waitingTotal(site.waiting);
  const upTo = site.caught_up_to_ms;
  return (
    <span className="sync" data-testid="sync-state" data-waiting={waiting} title={upTo ? exact(upTo) : ""}>
      {upTo == null
        ? t("sync.never")
        : t(waiting === 0 ? "sync.done" : "sync.waiting", { time: timeOfDay(upTo), n: waiting })}
      {site.stuck.map((item) => (
        <span key={item.code} className="stuck">
          {" "}
          {t("sync.stuck", { n: site.stuck.length })}: {both(item.text)}
        </span>
      ))}
    </span>
  );
}

const SIGHT_OLD_MS = 60_000;
const BAR_HEIGHTS = [3, 6, 9, 12];

/** Four bars; a dash where the modem tells no strength. */
function BarsGlyph({ bars }: { bars: number | null }) {
  return (
    <svg className="bars-glyph" viewBox="0 0 22 12" aria-hidden="true">
      {BAR_HEIGHTS.map((height, index) => (
        <rect
          key={height}
          x={index * 6 + 0.5}
          y={12 - height}
          width="4"
          height={height}
          className={bars !== null && index < bars ? "on" : ""}
        />
      ))}
    </svg>
  );
}

/** "4G ▂▄▆ China Mobile", and in words what is wrong or old about it. */
export function RadioState({ radio }: { radio: RadioView }) {
  const { t, both } = useWords();
  const isOld = useNow() - radio.seen_ms > SIGHT_OLD_MS;
  const parts = [
    radio.technology && both(radio.technology),
    radio.operator,
    radio.roaming && t("radio.roaming"),
    radio.sim_slot !== null && t("radio.sim", { n: radio.sim_slot }),
    radio.state !== "connected" && both(radio.state_text),
    isOld && t("radio.old"),
  ].filter(Boolean);
  const bars = radio.bars === null ? t("radio.unknown") : t("radio.bars", { n: radio.bars });
  const dbm = radio.rsrp_dbm === null ? "" : ` · ${radio.rsrp_dbm} dBm`;
  const why = radio.sim_text ? ` · ${both(radio.sim_text)}` : "";
  return (
    <span className={`radio-state ${isOld ? "t3" : ""}`} data-radio={radio.path} data-old={isOld} title={`${bars}${dbm}${why}`}>
      <BarsGlyph bars={radio.bars} />
      <span className="sr">{bars}</span>
      {parts.join(" · ")}
    </span>
  );
}

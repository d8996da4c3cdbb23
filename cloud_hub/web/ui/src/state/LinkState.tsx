/** Link and sync state of a site, in the same place and words on every screen. */
import type { Bed, BedSync, RadioView, Site, WaitingView } from "../contract";
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

/** The words of how far the hub has what was measured; of a silent site they say that they are as old as its last word. */
function useSyncWords(site: Site, sync: BedSync | undefined): string {
  const { t, ago } = useWords();
  const face = useLive((state) => state.face);
  const upTo = sync ? sync.caught_up_to_ms : site.caught_up_to_ms;
  const n = waitingTotal(sync?.waiting ?? site.waiting);
  // A bedside page knows what waits at its own site, however long the hub was not heard.
  const isSilent = face === "hub" && (site.link === "lost" || site.link === "never");
  if (upTo == null) return site.last_arrival_ms && isSilent ? t("sync.unheard") : t("sync.never");
  const time = timeOfDay(upTo);
  if (isSilent) return t("sync.silent", { time, n, heard: timeOfDay(sync?.as_of_ms ?? site.last_arrival_ms ?? upTo) });
  if (n === 0) return t("sync.done", { time });
  return sync ? t("sync.behind", { time, n, age: ago(sync.as_of_ms - upTo) }) : t("sync.waiting", { time, n });
}

/** "Caught up to 14:32:05, 0 waiting", and what is stuck: of a whole site, or of one bed. */
export function SyncState({ site, bed }: { site: Site; bed?: Bed }) {
  const { t, both } = useWords();
  const sync = site.bed_sync.find((one) => one.bed_key === bed?.key);
  const upTo = sync ? sync.caught_up_to_ms : site.caught_up_to_ms;
  const stuck = sync?.stuck ?? site.stuck;
  const words = useSyncWords(site, sync);
  return (
    <span
      className="sync"
      data-testid="sync-state"
      data-waiting={waitingTotal(sync?.waiting ?? site.waiting)}
      title={upTo ? exact(upTo) : ""}
    >
      {words}
      {stuck.map((item) => (
        <span key={item.code} className="stuck">
          {" "}
          {t("sync.stuck", { n: stuck.length })}: {both(item.text)}
        </span>
      ))}
    </span>
  );
}

/** On a tile only what is not well, "caught up to 14:32" or "stuck 1", in the place of other words. */
export function TileSync({ bed, otherwise = "" }: { bed: Bed; otherwise?: string }) {
  const { t, both } = useWords();
  const sync = useLive((state) => state.sites[bed.site]?.bed_sync.find((one) => one.bed_key === bed.key));
  const waits = sync !== undefined && waitingTotal(sync.waiting) > 0 && sync.caught_up_to_ms !== null;
  if (!sync || (!waits && sync.stuck.length === 0)) return otherwise ? <span>{otherwise}</span> : null;
  return (
    <span data-testid="tile-sync" title={sync.stuck.map((item) => both(item.text)).join("; ")}>
      {waits && t("sync.tile", { time: timeOfDay(sync.caught_up_to_ms ?? 0, false) })}
      {waits && sync.stuck.length > 0 && " · "}
      {sync.stuck.length > 0 && t("sync.stuck", { n: sync.stuck.length })}
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

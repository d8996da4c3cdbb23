/** The left column of a wall row: which site, is it heard, how far has it caught up. */
import { useNow } from "../../app/live";
import type { Site } from "../../contract";
import { useWords } from "../../i18n";
import { timeOfDay } from "../../live/clock";
import { LinkState, SyncState } from "../../state/LinkState";

export function SiteBlock({ site }: { site: Site }) {
  const { t, both } = useWords();
  const now = useNow();
  const lost = site.link === "lost" || site.link === "never";
  return (
    <div className={`sc ${lost ? "off" : ""}`} data-testid="site" data-site={site.site}>
      <h2>{both(site.name)}</h2>
      <div className="t3 dense" title={site.phone}>
        {t("wall.beds", { n: site.beds.length })}
      </div>
      <LinkState site={site} />
      {lost && site.last_arrival_ms !== null && (
        <span className="dense t2">{t("lastHeard", { time: timeOfDay(site.last_arrival_ms) })}</span>
      )}
      <SyncState site={site} />
      {!lost && site.delay_ms !== null && now > 0 && (
        <span className="dense t3">{t("delay", { s: (site.delay_ms / 1000).toFixed(1) })}</span>
      )}
      {site.link === "weak" && <span className="dense t2">{t("weak.what")}</span>}
      {lost && <span className="dense t2">{t("localAlarms")}</span>}
      {lost && site.buffer_hours !== null && (
        <span className="dense t2">{t("bufferHours", { n: Math.floor(site.buffer_hours) })}</span>
      )}
    </div>
  );
}

/** The band on top of the bedside page: is the hub there, how long can this site work without it. */
import { Clock, Demo, LanguageSwitch, SoundState, Who } from "../../app/Chrome";
import { useNow } from "../../app/live";
import type { Site } from "../../contract";
import { useWords } from "../../i18n";
import { digits } from "../../live/clock";
import { Icon } from "../../state/Icon";
import { LinkGlyph, RadioState, SyncState, waitingTotal } from "../../state/LinkState";

const LOW_HOURS = 12;
const FULL_HOURS = 72;
const BARS = 36;

function Room({ site }: { site: Site }) {
  const { t } = useWords();
  const hours = site.buffer_hours;
  const waiting = waitingTotal(site.waiting);
  const filled = hours === null ? 0 : Math.round((Math.min(hours, FULL_HOURS) / FULL_HOURS) * BARS);
  return (
    <div className="room">
      <span className="strong lead">
        {hours === null ? t("band.roomUnknown") : t("band.room", { n: Math.floor(hours) })}
      </span>
      <span className="t2 small">{t(hours !== null && hours < LOW_HOURS ? "band.low" : "band.thins")}</span>
      {hours !== null && (
        <span className="bars" aria-hidden="true">
          {Array.from({ length: BARS }, (_, index) => (
            <i key={index} className={index < filled ? "on" : ""} />
          ))}
        </span>
      )}
      <span className="small" data-testid="waiting" data-waiting={waiting}>
        {waiting === 0
          ? t("band.empty")
          : t("band.waiting", {
              n: waiting,
              alarm: site.waiting.alarm,
              care: site.waiting.care,
              vitals: site.waiting.vitals,
              waves: site.waiting.waves,
            })}
      </span>
    </div>
  );
}

export function isHubThere(site: Site | undefined): boolean {
  return site?.link === "live" || site?.link === "weak";
}

export function LinkBand({ site }: { site: Site | undefined }) {
  const { t, both } = useWords();
  const now = useNow();
  const online = isHubThere(site);
  return (
    <header className={`band ${online ? "" : "offline"}`} aria-label={t("band.label")} data-link={site?.link ?? "never"}>
      <div className="col band-link">
        <span className="band-word">
          <LinkGlyph link={site?.link ?? "never"} />
          {online || !site ? t(online ? "band.online" : "link.never") : t("band.offline", { d: digits(now - site.link_since_ms) })}
        </span>
        {site && !online && <span className="small t2">{t("band.works")}</span>}
        {site && <SyncState site={site} />}
        {site?.radios.map((radio) => (
          <span key={radio.path} className="small">
            <RadioState radio={radio} />
          </span>
        ))}
      </div>
      {site && <Room site={site} />}
      <div className="band-right">
        <span className="t2 dense">{both(site?.name)}</span>
        <Demo />
        <SoundState />
        <LanguageSwitch />
        <Who />
        <Clock />
      </div>
      {site?.stuck.map((item) => (
        <span key={item.code} className="row dense">
          <Icon name="warn" /> {both(item.text)}
        </span>
      ))}
    </header>
  );
}

/** The hub wall: one look from two metres tells who is in danger and which site is blind. */
import { useMemo, useState } from "react";
import { useAlarmAction } from "../../alarms/actions";
import { alarmsOfBed, countByPriority } from "../../alarms/order";
import { Clock, Demo, LanguageSwitch, Page, SoundState, Who } from "../../app/Chrome";
import { useOpenAlarms, useWatch } from "../../app/hooks";
import { useKeys } from "../../app/keys";
import { useLive, useNow } from "../../app/live";
import { address, go } from "../../app/router";
import { useWords } from "../../i18n";
import { Empty, Triage } from "../../state/Small";
import { Mark } from "../../state/Icon";
import { Remaining } from "../../state/TimeRail";
import { waitingForTriage } from "../queue/order";
import { AlarmCounts } from "../AlarmCounts";
import { Dock } from "./Dock";
import { BEDS_A_ROW, pagesOf, rowsOf } from "./pages";
import { SiteBlock } from "./SiteBlock";
import { Tile } from "./Tile";
import "./wall.css";

function NewReferrals() {
  const { t } = useWords();
  const now = useNow();
  const referrals = useLive((state) => state.referrals);
  const waiting = useMemo(() => waitingForTriage(referrals), [referrals]);
  const first = waiting[0];
  if (!first) return null;
  return (
    <a className="row new-referrals" href={address("queue", first.referral_id)}>
      <Triage level={first.level || first.level_claim} />
      {t("wall.t0", { n: waiting.length })}
      {first.deadline_ms !== null && <Remaining limitMs={first.deadline_ms} nowMs={now} />}
    </a>
  );
}

function Top({ pages, page, onPage }: { pages: number; page: number; onPage: (page: number) => void }) {
  const { t } = useWords();
  const alarms = useOpenAlarms();
  const isDisplay = useLive((state) => state.me?.role) === "display";
  return (
    <header className="top">
      <span className="brand">
        <Mark /> <span className="hide-phone">{t("brand")}</span>
      </span>
      <nav aria-label={t("nav.label")}>
        <a href={address("wall")} aria-current="page">
          {t("nav.wall")}
        </a>
        {!isDisplay && <a href={address("queue")}>{t("nav.queue")}</a>}
        {!isDisplay && <a href={address("images")}>{t("nav.images")}</a>}
        {!isDisplay && <a href={address("alarms")}>{t("nav.alarms")}</a>}
      </nav>
      <AlarmCounts counts={countByPriority(alarms)} withWords />
      <SoundState />
      <span className="t3 small secondary">{t("secondary")}</span>
      <span className="sp" />
      {pages > 1 &&
        Array.from({ length: pages }, (_, index) => (
          <button
            key={index}
            type="button"
            className="btn quiet"
            aria-pressed={index === page}
            aria-label={t("wall.page", { n: index + 1 })}
            onClick={() => onPage(index)}
          >
            {index + 1}
          </button>
        ))}
      <NewReferrals />
      <Demo />
      <LanguageSwitch />
      <Who />
      <Clock />
    </header>
  );
}

function useWallKeys(shownBeds: string[], onPage: (page: number) => void): string {
  const alarms = useOpenAlarms();
  const [focused, setFocused] = useState("");
  const worst = alarms.find((alarm) => alarm.accepted_by === null);
  const action = useAlarmAction(worst);
  const at = shownBeds.indexOf(focused);
  const move = (by: number) => {
    const next = shownBeds[Math.min(shownBeds.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
    if (next) setFocused(next);
  };
  const pages = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [String(index + 1), () => onPage(index)]));
  useKeys({
    ...pages,
    ArrowRight: () => move(1),
    ArrowLeft: () => move(-1),
    ArrowDown: () => move(BEDS_A_ROW),
    ArrowUp: () => move(-BEDS_A_ROW),
    Enter: () => focused && go("patient", focused),
    a: () => worst && action.mutate({ action: "accept" }),
    p: () => worst && action.mutate({ action: "pause", pause_s: 120 }),
  });
  return focused;
}

export function Wall() {
  const { t } = useWords();
  const sites = useLive((state) => state.sites);
  const beds = useLive((state) => state.beds);
  const feed = useLive((state) => state.feed);
  const alarms = useOpenAlarms();
  const [wanted, setWanted] = useState(0);
  const pages = useMemo(() => pagesOf(Object.values(sites)), [sites]);
  const page = Math.min(wanted, Math.max(0, pages.length - 1));
  const shown = pages[page] ?? [];
  const shownBeds = shown.flatMap((site) => site.beds.filter((key) => beds[key]));
  useWatch(shownBeds);
  const focused = useWallKeys(shownBeds, setWanted);
  return (
    <Page surface="night">
      <Top pages={pages.length} page={page} onPage={setWanted} />
      <main className="wall">
        {feed !== "starting" && shown.length === 0 && <Empty text={t("wall.noSites")} />}
        {shown.map((site) => (
          <div key={site.site} className="wall-site" style={{ flexGrow: rowsOf(site) }}>
            <SiteBlock site={site} />
            <div className="wall-beds">
              {site.beds.map((key) => {
                const bed = beds[key];
                if (!bed?.patient && !bed?.readings.length && !bed?.waves.length) {
                  return (
                    <div key={key} className="tile empty">
                      {t("wall.bedEmpty", { bed: bed?.label ?? key.split(":")[1] ?? key })}
                    </div>
                  );
                }
                return (
                  <Tile
                    key={key}
                    bed={bed}
                    alarms={alarmsOfBed(alarms, key)}
                    isFocused={focused === key}
                    onOpen={() => go("patient", key)}
                  />
                );
              })}
            </div>
          </div>
        ))}
      </main>
      <Dock alarms={alarms} />
    </Page>
  );
}

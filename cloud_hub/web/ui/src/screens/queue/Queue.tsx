/** The work queue: the next right case in one look, deadlines visible as length. */
import { useEffect, useMemo, useState } from "react";
import { Page } from "../../app/Chrome";
import { useKeys } from "../../app/keys";
import { useLive } from "../../app/live";
import { address, go } from "../../app/router";
import type { Referral } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { Empty } from "../../state/Small";
import { PaperTop } from "../PaperTop";
import { Detail } from "./Detail";
import type { Group } from "./order";
import { byUrgency, groupOf, isPaused } from "./order";
import { Row } from "./Row";
import { useHeldOrder } from "./useHeldOrder";
import "./queue.css";

type Tab = "all" | "mine" | "unassigned" | "waiting" | "closed";
const TABS: Tab[] = ["all", "mine", "unassigned", "waiting", "closed"];
const GROUPS: Group[] = ["now", "soon", "later"];

/** Whether a referral stands under a tab for this person. */
export function isUnder(tab: Tab, referral: Referral, names: string[]): boolean {
  const group = groupOf(referral);
  if (tab === "closed") return group === "closed";
  if (group === "closed") return false;
  if (tab === "mine") return referral.owner !== "" && names.includes(referral.owner);
  if (tab === "unassigned") return referral.owner === "";
  return tab === "all" || isPaused(referral);
}

export function Queue({ picked }: { picked: string }) {
  const { t } = useWords();
  const all = useLive((state) => state.referrals);
  const me = useLive((state) => state.me);
  const [tab, setTab] = useState<Tab>("all");
  const names = useMemo(() => (me ? [me.username, me.name.zh, me.name.en] : []), [me]);
  const sorted = useMemo(() => Object.values(all).sort(byUrgency), [all]);
  const under = useMemo(() => sorted.filter((row) => isUnder(tab, row, names)), [sorted, tab, names]);
  const held = useHeldOrder(under);
  const chosen = all[picked];
  const firstId = held.rows[0]?.referral_id;
  useEffect(() => {
    // A wide screen shows the first case beside the list; a phone shows the list alone until one is picked.
    if (!picked && firstId && window.matchMedia("(min-width: 1001px)").matches) go("queue", firstId);
  }, [picked, firstId]);
  const move = (by: number) => {
    const at = held.rows.findIndex((row) => row.referral_id === picked);
    const next = held.rows[Math.min(held.rows.length - 1, Math.max(0, at + by))];
    if (next) go("queue", next.referral_id);
  };
  useKeys({ j: () => move(1), k: () => move(-1) });
  const paused = sorted.filter((row) => isUnder("waiting", row, names)).length;
  return (
    <Page surface="paper">
      <PaperTop page="queue" />
      <main className={`queue ${chosen ? "has-detail" : ""}`}>
        <section className="queue-list" {...held.pointer}>
          <div className="tabs" role="tablist">
            {TABS.map((name) => (
              <button
                key={name}
                type="button"
                role="tab"
                aria-selected={tab === name}
                onClick={() => setTab(name)}
              >
                {t(`queue.${name}` as Key)} {sorted.filter((row) => isUnder(name, row, names)).length}
              </button>
            ))}
            <span className="sp" />
            <span className="dense t3 hide-phone">{t("queue.keys")}</span>
          </div>
          {held.waiting > 0 && (
            <button type="button" className="btn fresh" onClick={held.show}>
              {t("queue.fresh", { n: held.waiting })}
            </button>
          )}
          {held.rows.length === 0 && (
            <Empty text={paused > 0 ? t("queue.emptyWaiting", { n: paused }) : t("queue.empty")} />
          )}
          {(tab === "closed" ? (["closed"] as Group[]) : GROUPS).map((group) => {
            const rows = held.rows.filter((row) => groupOf(row) === group);
            if (rows.length === 0) return null;
            return (
              <section key={group}>
                <h2 className="queue-group">
                  {t(`queue.${group}` as Key)} {rows.length}
                </h2>
                {rows.map((row) => (
                  <Row
                    key={row.referral_id}
                    referral={row}
                    isPicked={row.referral_id === picked}
                    onPick={() => go("queue", row.referral_id)}
                  />
                ))}
              </section>
            );
          })}
        </section>
        <section className="queue-detail">
          {chosen && (
            <a className="btn phone-back" href={address("queue")}>
              {t("queue.back")}
            </a>
          )}
          {chosen ? <Detail referral={chosen} /> : <Empty text={t("queue.pick")} />}
        </section>
      </main>
    </Page>
  );
}

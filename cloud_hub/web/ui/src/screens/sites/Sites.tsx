/** Sites for the operator: link, sync, what waits and what is stuck; bed counts, never names. */
import { Page } from "../../app/Chrome";
import { useLive, useSession } from "../../app/live";
import type { ReconcileView } from "../../contract";
import { useWords } from "../../i18n";
import { exact, serverNow, shortMoment } from "../../live/clock";
import { Empty } from "../../state/Small";
import { LinkState, RadioState, SyncState, waitingTotal } from "../../state/LinkState";
import { Displays } from "./Displays";
import { PaperTop } from "../PaperTop";
import { Nodes } from "./Nodes";
import "./sites.css";

export function Sites() {
  const { t, both } = useWords();
  const { session } = useSession();
  const isOperator = session.state === "in" && session.me.role === "operator";
  const sites = Object.values(useLive((state) => state.sites));
  return (
    <Page surface="paper">
      <PaperTop page="sites" />
      <main className="sites">
        <h1>{t("sites.title")}</h1>
        {sites.length === 0 && <Empty text={t("sites.empty")} />}
        {sites.length > 0 && (
          <table>
            <thead>
              <tr>
                <th scope="col">{t("sites.site")}</th>
                <th scope="col">{t("sites.link")}</th>
                <th scope="col">{t("sites.sync")}</th>
                <th scope="col">{t("sites.waiting")}</th>
                <th scope="col">{t("sites.buffer")}</th>
                <th scope="col">{t("sites.stuck")}</th>
              </tr>
            </thead>
            <tbody>
              {sites.map((site) => (
                <tr key={site.site}>
                  <th scope="row">
                    {both(site.name)} <span className="t3 dense">{t("wall.beds", { n: site.beds.length })}</span>
                  </th>
                  <td>
                    <LinkState site={site} />
                    {site.radios.map((radio) => (
                      <div key={radio.path} className="dense t2">
                        <RadioState radio={radio} />
                      </div>
                    ))}
                  </td>
                  <td>
                    <SyncState site={{ ...site, stuck: [] }} />
                    <Compared view={site.reconciled} />
                  </td>
                  <td data-name={t("sites.waiting")}>{waitingTotal(site.waiting)}</td>
                  <td data-name={t("sites.buffer")}>{site.buffer_hours === null ? "–" : t("sites.hours", { n: Math.floor(site.buffer_hours) })}</td>
                  <td data-name={t("sites.stuck")}>{site.stuck.map((item) => both(item.text)).join("; ") || "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {isOperator && <Nodes />}
        {isOperator && <Displays />}
      </main>
    </Page>
  );
}

const NOT_WELL = ["healed", "open", "lost", "conflicts", "damaged"] as const;

/** "Compared 02:41: 81,220 records, nothing missing", and by name what was. */
function Compared({ view }: { view: ReconcileView | null }) {
  const { t } = useWords();
  if (view === null) return <div className="dense t3">{t("compared.never")}</div>;
  const found = NOT_WELL.filter((what) => view[what] > 0).map((what) => t(`compared.${what}`, { n: view[what] }));
  if (view.broken) found.unshift(t("compared.broken"));
  return (
    <div className="dense t2" data-testid="compared" title={exact(view.at_ms)}>
      {t("compared.at", { time: shortMoment(view.at_ms, serverNow()), n: view.compared.toLocaleString("en") })}
      {found.length > 0 ? found.join(t("compared.and")) : t("compared.well")}
    </div>
  );
}

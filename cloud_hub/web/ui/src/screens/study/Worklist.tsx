/** The studies of all sites that one may see, newest first: what is to be read. */
import { useEffect, useState } from "react";
import { Page } from "../../app/Chrome";
import { useKeys } from "../../app/keys";
import { useLive } from "../../app/live";
import { address, go } from "../../app/router";
import type { StudyRow } from "../../contract";
import { useWords } from "../../i18n";
import { Empty, Fault, Pending } from "../../state/Small";
import { PaperTop } from "../PaperTop";
import { ReadWords } from "./ReadState";
import { arrivalWords, mayRead, noteListedAt, takenAt, useMarkRead, useStudyPage } from "./studies";
import { useHeldPage } from "./useHeldPage";
import { FIRST, pickedOf, useFollowed } from "./usePicked";
import type { Picked } from "./usePicked";
import "./study.css";

const PAGE = 25;
const MODALITIES = ["CT", "MR", "US", "CR", "DX", "XA", "NM", "PT"];

interface Asked {
  site: string;
  modality: string;
  isUnread: boolean;
  offset: number;
}

/** What was asked for and chosen when the page was left: it is so again on the way back. */
let kept: { asked: Asked; picked: Picked } = {
  asked: { site: "", modality: "", isUnread: true, offset: 0 },
  picked: FIRST,
};

function query({ site, modality, isUnread, offset }: Asked): Record<string, string> {
  const named = Object.entries({ site, modality }).filter(([, value]) => value !== "");
  return { ...Object.fromEntries(named), unread: String(isUnread), offset: String(offset), limit: String(PAGE) };
}

function Filters({ asked, onAsk }: { asked: Asked; onAsk: (part: Partial<Asked>) => void }) {
  const { t, both } = useWords();
  const sites = Object.values(useLive((state) => state.sites));
  return (
    <div className="list-filters">
      <div role="group" aria-label={t("list.reading")} className="row">
        {[true, false].map((isUnread) => (
          <button
            key={String(isUnread)}
            type="button"
            className="choice"
            aria-pressed={asked.isUnread === isUnread}
            data-testid={isUnread ? "list-unread" : "list-all"}
            onClick={() => onAsk({ isUnread })}
          >
            {t(isUnread ? "list.unread" : "list.all")}
          </button>
        ))}
      </div>
      <label className="row">
        <span className="dense t2">{t("list.site")}</span>
        <select value={asked.site} data-testid="list-site" onChange={(event) => onAsk({ site: event.target.value })}>
          <option value="">{t("list.any")}</option>
          {sites.map((site) => (
            <option key={site.site} value={site.site}>
              {both(site.name) || site.site}
            </option>
          ))}
        </select>
      </label>
      <label className="row">
        <span className="dense t2">{t("list.modality")}</span>
        <select
          value={asked.modality}
          data-testid="list-modality"
          onChange={(event) => onAsk({ modality: event.target.value })}
        >
          <option value="">{t("list.any")}</option>
          {MODALITIES.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
    </div>
  );
}

function Row({ row, isPicked }: { row: StudyRow; isPicked: boolean }) {
  const { t, both } = useWords();
  const site = useLive((state) => state.sites[row.site]);
  return (
    <tr data-testid="list-row" aria-current={isPicked || undefined} className={row.is_unread ? "unread" : ""}>
      <th scope="row">
        <a href={address("study", row.study_key)}>{both(row.name) || t("study.unnamed")}</a>
        {!row.person_id && <div className="dense">{t("study.nobody")}</div>}
      </th>
      <td>
        {row.modalities.join(" ") || t("study.unknown")} {row.description}
        {row.images > 0 && <div className="dense t2">{t("study.images", { n: row.images })}</div>}
      </td>
      <td data-name={t("list.site")}>{both(site?.name) || row.site}</td>
      <td data-name={t("list.taken")}>{takenAt(row) || t("study.noDate")}</td>
      <td data-name={t("list.arrival")}>{arrivalWords(row, t)}</td>
      <td>
        <ReadWords row={row} />
      </td>
    </tr>
  );
}

function Table({ rows, picked }: { rows: StudyRow[]; picked: number }) {
  const { t } = useWords();
  const heads = ["list.person", "list.study", "list.site", "list.taken", "list.arrival", "list.reading"] as const;
  return (
    <table>
      <thead>
        <tr>
          {heads.map((key) => (
            <th key={key} scope="col">
              {t(key)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, index) => (
          <Row key={row.study_key} row={row} isPicked={index === picked} />
        ))}
      </tbody>
    </table>
  );
}

export function Worklist() {
  const { t } = useWords();
  const role = useLive((state) => state.me?.role);
  const [asked, setAsked] = useState(kept.asked);
  const [picked, setPicked] = useState(kept.picked);
  useEffect(() => {
    kept = { asked, picked };
    // Its own address: by the time this runs a key may have led to a study already.
    noteListedAt(address("images"));
  }, [asked, picked]);
  const found = useStudyPage(query(asked));
  const held = useHeldPage(found.data, JSON.stringify(asked), found.isPlaceholderData);
  const mark = useMarkRead();
  const rows = held.page?.studies ?? [];
  const total = held.page?.total ?? 0;
  const ask = (part: Partial<Asked>) => {
    setAsked({ ...asked, offset: 0, ...part });
    setPicked(FIRST);
  };
  const turn = (by: number) => {
    const offset = asked.offset + by * PAGE;
    if (offset >= 0 && offset < total) ask({ offset });
  };
  useFollowed(rows, picked, !found.isPlaceholderData, setPicked);
  // Of a page that has emptied while one looked, the last one that there is.
  const hasEnded = rows.length === 0 && total > 0 && asked.offset >= total;
  useEffect(() => {
    if (hasEnded) setAsked({ ...asked, offset: Math.floor((total - 1) / PAGE) * PAGE });
  }, [hasEnded, asked, total]);
  const { index, row, step } = pickedOf(rows, picked);
  const move = (by: number) => () => rows.length > 0 && setPicked(step(by));
  useKeys({
    j: move(1),
    k: move(-1),
    ArrowDown: move(1),
    ArrowUp: move(-1),
    Enter: () => row && go("study", row.study_key),
    r: () => row && mayRead(role) && !mark.isPending && mark.mutate(row, { onSuccess: held.show }),
    u: () => ask({ isUnread: !asked.isUnread }),
    PageDown: () => turn(1),
    PageUp: () => turn(-1),
  });
  return (
    <Page surface="paper">
      <PaperTop page="images" />
      <Pending active={found.isFetching} />
      <main className="worklist" {...held.pointer}>
        <div className="row wrap">
          <h1>{t("list.title")}</h1>
          <span data-testid="list-count" role="status">
            {t(held.page?.is_more ? "list.more" : "list.count", { n: total })}
          </span>
          <span className="sp" />
          <span className="dense t3 hide-phone">{t("list.keys")}</span>
        </div>
        <Filters asked={asked} onAsk={ask} />
        <Fault error={found.error ?? mark.error} onRetry={() => void found.refetch()} />
        {held.fresh > 0 && (
          <button type="button" className="btn fresh" onClick={held.show}>
            {t("list.fresh", { n: held.fresh })}
          </button>
        )}
        {held.page && rows.length === 0 && !hasEnded && <Empty text={t(asked.isUnread ? "list.emptyUnread" : "list.empty")} />}
        {rows.length > 0 && <Table rows={rows} picked={index} />}
        {total > PAGE && (
          <div className="row">
            <button type="button" className="btn" disabled={asked.offset === 0} onClick={() => turn(-1)}>
              {t("list.later")}
            </button>
            <span className="t2">{t("list.range", { from: asked.offset + 1, to: asked.offset + rows.length })}</span>
            <button
              type="button"
              className="btn"
              disabled={asked.offset + PAGE >= total}
              data-testid="list-older"
              onClick={() => turn(1)}
            >
              {t("list.earlier")}
            </button>
          </div>
        )}
      </main>
    </Page>
  );
}

/** The bedside page: beds and alarms always in sight, T0 always one key away, the same with the hub gone. */
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { useAlarmAction } from "../../alarms/actions";
import { AlarmButtons } from "../../alarms/AlarmButtons";
import { AlarmCell, Conversation } from "../../alarms/AlarmBanner";
import { alarmsOfBed } from "../../alarms/order";
import { useSeen } from "../../alarms/useSeen";
import { Page } from "../../app/Chrome";
import { useOpenAlarms, useWatch } from "../../app/hooks";
import { useKeys } from "../../app/keys";
import { useLive } from "../../app/live";
import type { Bed, Consult, Site } from "../../contract";
import { useWords } from "../../i18n";
import { serverNow } from "../../live/clock";
import { Icon } from "../../state/Icon";
import { Empty } from "../../state/Small";
import { useConsultSessions, useFollowConsults, useHeldSession } from "../consult/sessions";
import { BedConsents } from "../consents/BedConsents";
import { mayConsent } from "../consents/sight";
import { Tile } from "../wall/Tile";
import { CallBar, CallPanel } from "./Call";
import type { Draft } from "./draft";
import { likeliestBed, newDraft } from "./draft";
import { BedPhoto } from "./BedPhoto";
import { isHubThere, LinkBand } from "./LinkBand";
import { Observe } from "./Observe";
import { Progress, Replies } from "./Replies";
import { SiteImages } from "./SiteImages";
import { OfflineWords, T0Panel } from "./T0Panel";
import "./bedside.css";

function Beds({ beds }: { beds: Bed[] }) {
  const { t } = useWords();
  const alarms = useOpenAlarms();
  const role = useLive((state) => state.me?.role);
  if (beds.length === 0) return <Empty text={t("bed.noPatient")} />;
  return (
    <div className="beds">
      {beds.map((bed) => (
        <Tile
          key={bed.key}
          bed={bed}
          alarms={alarmsOfBed(alarms, bed.key)}
          calm={t("bed.localAlarms")}
          alarmAction={(alarm) =>
            alarm.accepted_by ? <Taken alarmId={alarm.alarm_id} /> : <AlarmButtons alarm={alarm} acceptWord="alarm.mine" />
          }
        >
          <div className="observe-slot slots">
            <Observe bed={bed} />
            {mayConsent(role) && <BedConsents bed={bed} />}
            <BedPhoto bed={bed} />
          </div>
        </Tile>
      ))}
    </div>
  );
}

function Taken({ alarmId }: { alarmId: string }) {
  const { t, both } = useWords();
  const alarm = useLive((state) => state.alarms[alarmId]);
  return <span data-testid="accepted-by">{t("convo.accepted", { who: both(alarm?.accepted_by) })}</span>;
}

/** Alarms without a bed on this page, and the conversation of every other one. */
function AlarmList() {
  const { t } = useWords();
  const alarms = useOpenAlarms();
  const beds = useLive((state) => state.beds);
  useSeen(alarms.map((alarm) => alarm.alarm_id));
  return (
    <section className="card">
      <h2>{t("nav.alarms")}</h2>
      {alarms.length === 0 && <p className="t2">{t("alarm.none")}</p>}
      {alarms.map((alarm) => (
        <div key={alarm.alarm_id} className="bed-alarm">
          <div className="banner">
            <AlarmCell alarm={alarm} prefix={beds[alarm.bed_key]?.label ?? ""} />
            <span className="sp" />
            {!beds[alarm.bed_key] && <AlarmButtons alarm={alarm} acceptWord="alarm.mine" />}
          </div>
          <Conversation alarm={alarm} />
        </div>
      ))}
      <p className="t3 small">{t("secondary")}</p>
    </section>
  );
}

function useT0(beds: Bed[], site: Site | undefined) {
  const alarms = useOpenAlarms();
  const [draft, setDraft] = useState<Draft | null>(null);
  const [isOpen, setOpen] = useState(false);
  const [sent, setSent] = useState<{ id: string; draft: Draft } | null>(null);
  const open = () => {
    const keys = alarms.map((alarm) => alarm.bed_key);
    setDraft((kept) => kept ?? newDraft(likeliestBed(beds, keys), site?.phone ?? "", serverNow()));
    setOpen(true);
  };
  const change = (part: Partial<Draft>) => setDraft((old) => (old ? { ...old, ...part } : old));
  const onSent = (id: string) => {
    if (draft) setSent({ id, draft });
    setDraft(null);
    setOpen(false);
  };
  const show = (id: string, bedKey: string) => {
    setSent({ id, draft: newDraft(bedKey, "", serverNow()) });
    setOpen(false);
  };
  return { draft, isOpen, open, change, onSent, close: () => setOpen(false), sent, show };
}

/** The call that rings, and the one this page takes part in. */
function useCalls(): { ringing: Consult | undefined; joined: Consult | undefined } {
  const consults = useLive((state) => state.consults);
  const sessions = useConsultSessions();
  const open = useMemo(
    () => Object.values(consults).filter((consult) => consult.state === "ringing" || consult.state === "active"),
    [consults],
  );
  const active = open.find((consult) => consult.state === "active");
  useSyncExternalStore(sessions.subscribe, sessions.count);
  useEffect(() => {
    // Where the edge answers by itself the open page joins with its voice (decision 26).
    if (active) sessions.join(active);
  }, [active, sessions]);
  const held = open.find((consult) => sessions.get(consult.consult_id));
  return { ringing: open.find((consult) => consult.state === "ringing" && consult !== held), joined: active ?? held };
}

type T0 = ReturnType<typeof useT0>;

function Side({ beds, site, online, t0 }: { beds: Bed[]; site: Site | undefined; online: boolean; t0: T0 }) {
  const { t } = useWords();
  const referrals = useLive((state) => state.referrals);
  const shown = t0.sent ? referrals[t0.sent.id] : undefined;
  useKeys({ F9: t0.open });
  if (t0.isOpen && t0.draft) {
    return (
      <T0Panel
        key={t0.draft.id}
        draft={t0.draft}
        beds={beds}
        site={site}
        online={online}
        change={t0.change}
        onSent={t0.onSent}
        onClose={t0.close}
      />
    );
  }
  const isWaiting = t0.sent !== null && shown?.sync !== "at-hub";
  return (
    <>
      <button type="button" className="t0-press" data-testid="new-referral" onClick={t0.open}>
        <Icon name="up" /> {t("t0.title")} <span className="key">F9</span>
      </button>
      {t0.sent && isWaiting && !online && (
        <OfflineWords draft={t0.sent.draft} bed={beds.find((bed) => bed.key === t0.sent?.draft.bedKey)} site={site} />
      )}
      {shown && <Progress referral={shown} />}
    </>
  );
}

function RepliesOf({ t0 }: { t0: T0 }) {
  const referrals = useLive((state) => state.referrals);
  const newestFirst = Object.values(referrals).sort((left, right) => right.authored_at_ms - left.authored_at_ms);
  return <Replies referrals={newestFirst} onPick={(id) => t0.show(id, referrals[id]?.bed_key ?? "")} />;
}

export function Bedside() {
  const order = useLive((state) => state.bedOrder);
  const all = useLive((state) => state.beds);
  const site = useLive((state) => Object.values(state.sites)[0]);
  const beds = useMemo(() => order.map((key) => all[key]).filter((bed) => bed !== undefined), [order, all]);
  const online = isHubThere(site);
  const t0 = useT0(beds, site);
  const alarms = useOpenAlarms();
  const first = alarms.find((alarm) => alarm.accepted_by === null);
  const action = useAlarmAction(first);
  const { ringing, joined } = useCalls();
  const session = useHeldSession(joined?.consult_id);
  useFollowConsults();
  useWatch(order);
  useKeys({ a: () => first && action.mutate({ action: "accept" }) });
  return (
    <Page surface="paper">
      <LinkBand site={site} />
      {ringing && <CallBar consult={ringing} />}
      <main className="bedside">
        <div className="bedside-left">
          <Beds beds={beds} />
          <AlarmList />
          <SiteImages beds={beds} />
        </div>
        <aside className="bedside-right">
          {joined && session && <CallPanel consult={joined} session={session} />}
          <Side beds={beds} site={site} online={online} t0={t0} />
          <RepliesOf t0={t0} />
        </aside>
      </main>
    </Page>
  );
}

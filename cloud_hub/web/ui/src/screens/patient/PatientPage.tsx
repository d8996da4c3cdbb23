/** One person now and over time. */
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { AlarmAge, AlarmCell, Conversation } from "../../alarms/AlarmBanner";
import { AlarmButtons, ResolvePanel } from "../../alarms/AlarmButtons";
import { mayAct, useAlarmAction } from "../../alarms/actions";
import { alarmsOfBed } from "../../alarms/order";
import { useSeen } from "../../alarms/useSeen";
import { api } from "../../app/api";
import { Page } from "../../app/Chrome";
import { patientName, useOpenAlarms, useWatch } from "../../app/hooks";
import { useKeys } from "../../app/keys";
import { useLive, useSession } from "../../app/live";
import { address, go } from "../../app/router";
import type { Alarm, Bed, Consult } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { Icon } from "../../state/Icon";
import { Empty, Fault, Triage } from "../../state/Small";
import { PaperTop } from "../PaperTop";
import { Consents, TakeCopy } from "../consents/Consents";
import { mayConsent } from "../consents/sight";
import { GlassBanner } from "../glass/GlassBanner";
import { Banner } from "./Banner";
import { LivePanel } from "./Live";
import { News2Lines } from "./News2Lines";
import { TrendsPanel } from "./TrendsPanel";
import { Studies } from "../study/Studies";
import { acceptedReferral } from "../queue/order";
import "./patient.css";

/** The consult of a bed that is not over. */
export function useOpenConsult(bedKey: string): Consult | undefined {
  return useLive((state) =>
    Object.values(state.consults).find(
      (consult) => consult.bed_key === bedKey && (consult.state === "ringing" || consult.state === "active"),
    ),
  );
}

export function useStartConsult(bedKey: string, referralId = "") {
  const { store } = useSession();
  return useMutation({
    mutationFn: () => {
      const referral = referralId || acceptedReferral(Object.values(store.get().referrals), bedKey);
      return api.post<Consult>("/consults", { bed_key: bedKey, referral_id: referral });
    },
    onSuccess: (consult) => {
      // The socket may have told already that the bedside answered: the answer to our request is older news.
      if (!store.get().consults[consult.consult_id]) store.take({ type: "consult", consult }, Date.now());
      go("consult", consult.consult_id);
    },
  });
}

export function CallButton({ bed, referralId }: { bed: Bed; referralId?: string }) {
  const { t } = useWords();
  const open = useOpenConsult(bed.key);
  const start = useStartConsult(bed.key, referralId);
  const act = () => (open ? go("consult", open.consult_id) : start.mutate());
  return (
    <>
      <button
        type="button"
        className="btn pri big grow"
        data-testid="start-consult"
        disabled={start.isPending}
        onClick={act}
      >
        <Icon name="video" /> {t(open ? "patient.inCall" : start.isPending ? "patient.calling" : "patient.call")}{" "}
        <span className="key">C</span>
      </button>
      {!bed.has_camera && <span className="dense t2">{t("patient.noCamera")}</span>}
      <Fault error={start.error} />
    </>
  );
}

function AlarmBlock({ alarms }: { alarms: Alarm[] }) {
  const { t } = useWords();
  const role = useLive((state) => state.me?.role);
  const [closing, setClosing] = useState("");
  useSeen(alarms.map((alarm) => alarm.alarm_id));
  if (alarms.length === 0) return <section className="side-block t2">{t("patient.noAlarm")}</section>;
  return (
    <section className="side-block">
      {alarms.map((alarm, index) => (
        <div key={alarm.alarm_id} className="col alarm-block">
          <div className="banner">
            <AlarmCell alarm={alarm} />
            <AlarmAge alarm={alarm} />
          </div>
          <Conversation alarm={alarm} />
          <div className="row wrap">
            <AlarmButtons alarm={alarm} withKeys={index === 0} withPause />
            {alarm.accepted_by && mayAct(role) && (
              <button
                type="button"
                className="btn"
                aria-expanded={closing === alarm.alarm_id}
                onClick={() => setClosing(closing === alarm.alarm_id ? "" : alarm.alarm_id)}
              >
                {t("alarm.resolve")}
              </button>
            )}
          </div>
          {closing === alarm.alarm_id && <ResolvePanel alarm={alarm} />}
        </div>
      ))}
    </section>
  );
}

function Referrals({ bed }: { bed: Bed }) {
  const { t } = useWords();
  const referrals = useLive((state) => state.referrals);
  const own = Object.values(referrals).filter((referral) => referral.bed_key === bed.key);
  if (own.length === 0) return null;
  return (
    <section className="side-block">
      {own.map((referral) => (
        <a key={referral.referral_id} className="row" href={address("queue", referral.referral_id)}>
          <Triage level={referral.level || referral.level_claim} /> {t(`state.${referral.state}` as Key)}
        </a>
      ))}
    </section>
  );
}

function Opened({ bed }: { bed: Bed }) {
  const { t } = useWords();
  const all = useOpenAlarms();
  const alarms = alarmsOfBed(all, bed.key);
  const role = useLive((state) => state.me?.role);
  const first = alarms.find((alarm) => alarm.accepted_by === null);
  const action = useAlarmAction(first ?? alarms[0]);
  const open = useOpenConsult(bed.key);
  const start = useStartConsult(bed.key);
  useWatch([bed.key]);
  useKeys({
    a: () => first && action.mutate({ action: "accept" }),
    p: () => alarms[0] && action.mutate({ action: "pause", pause_s: 120 }),
    c: () => (open ? go("consult", open.consult_id) : role === "physician" && !start.isPending && start.mutate()),
    Escape: () => go("wall"),
  });
  return (
    <>
      {bed.patient && <GlassBanner personId={bed.patient.person_id} />}
      <Banner bed={bed} />
      <main className="patient">
        <div className="patient-left">
          <LivePanel bed={bed} alarms={alarms} />
          <TrendsPanel bed={bed} />
        </div>
        <aside className="patient-right">
          <AlarmBlock alarms={alarms} />
          <News2Lines news2={bed.news2} />
          <Referrals bed={bed} />
          {bed.patient && <Studies personId={bed.patient.person_id} />}
          {bed.patient && mayConsent(role) && (
            <section className="side-block">
              <h2>{t("consent.title")}</h2>
              <Consents personId={bed.patient.person_id} />
              {role !== "nurse" && <TakeCopy personId={bed.patient.person_id} />}
            </section>
          )}
          <span className="sp" />
          <div className="side-foot">{mayAct(role) && role === "physician" && <CallButton bed={bed} />}</div>
        </aside>
      </main>
    </>
  );
}

function Choose({ beds }: { beds: Bed[] }) {
  const { t, language } = useWords();
  return (
    <main className="choose">
      <h1>{t("patient.pick")}</h1>
      <ul>
        {beds.map((bed) => (
          <li key={bed.key}>
            <a className="btn big" href={address("patient", bed.key)}>
              {bed.label || bed.bed} {patientName(bed, language)}
            </a>
          </li>
        ))}
      </ul>
    </main>
  );
}

export function PatientPage({ bedKey }: { bedKey: string }) {
  const { t } = useWords();
  const beds = useLive((state) => state.beds);
  const bed = beds[bedKey];
  return (
    <Page surface="paper">
      <PaperTop page="patient" />
      {bed ? (
        <Opened key={bed.key} bed={bed} />
      ) : bedKey ? (
        <Empty text={t("patient.gone")}>
          <a className="btn" href={address("wall")}>
            {t("nav.wall")}
          </a>
        </Empty>
      ) : (
        <Choose beds={Object.values(beds).filter((each) => each.patient)} />
      )}
    </Page>
  );
}

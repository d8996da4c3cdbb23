/** The consult room: examine through a bad link without losing the clock. */
import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { countByPriority } from "../../alarms/order";
import { api } from "../../app/api";
import { Clock, Demo, LanguageSwitch, Page, SoundState } from "../../app/Chrome";
import { patientName, useOpenAlarms, useWatch } from "../../app/hooks";
import { useKeys } from "../../app/keys";
import { useLive } from "../../app/live";
import { address, go } from "../../app/router";
import type { ConsultSession, SessionState } from "../../consult/session";
import { RUNGS } from "../../consult/signalling";
import type { Bed, Consult, Referral } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { Icon } from "../../state/Icon";
import { Empty, Fault, NotLive, Triage } from "../../state/Small";
import { LinkState } from "../../state/LinkState";
import { News2Lines } from "../patient/News2Lines";
import { StrokeRail } from "../queue/StrokeRail";
import { sexWord } from "../wall/Tile";
import { AlarmCounts } from "../AlarmCounts";
import { useConsultSessions, useHeldSession, useSessionState } from "./sessions";
import { useStepVitals } from "./useStepVitals";
import { VitalsStrip } from "./VitalsStrip";
import "./consult.css";

const LEAST_FPS = 25;

function Head({ consult, bed, referral }: { consult: Consult; bed: Bed | undefined; referral: Referral | undefined }) {
  const { t, both, language } = useWords();
  const site = useLive((state) => state.sites[bed?.site ?? ""]);
  const others = useOpenAlarms().filter((alarm) => alarm.priority === "high" && alarm.bed_key !== consult.bed_key);
  return (
    <header className="top">
      {referral && <Triage level={referral.level || referral.level_claim} />}
      <h1 className="consult-name">{bed ? patientName(bed, language) : consult.bed_key}</h1>
      {bed?.patient && (
        <span>{t("person.age", { sex: sexWord(bed.patient.gender, t), age: bed.patient.age_years ?? "" })}</span>
      )}
      <span className="t2">
        {both(site?.name)} {bed?.label}
      </span>
      {site && <LinkState site={site} />}
      {referral && (
        <span className="t2 dense">
          {t("ref.anticoagulant")}: {t(`ref.${referral.anticoagulant || "unknown"}` as Key)}
        </span>
      )}
      <NotLive kind={bed?.not_live ?? ""} />
      <span className="sp" />
      {others.length > 0 && <AlarmCounts counts={countByPriority(others)} withWords />}
      <span className="row dense t2">
        <Icon name="lock" /> {t("consult.notRecording")}
      </span>
      <SoundState />
      <Demo />
      <LanguageSwitch />
      <Clock />
    </header>
  );
}

/** One line that says where the call stands. */
function useStatus(consult: Consult, state: SessionState | null): string {
  const { t, both } = useWords();
  if (consult.state === "ringing") return t("consult.ringing");
  if (consult.state === "declined") return t("consult.declined");
  if (consult.state === "ended" || state?.ended) return t("consult.ended");
  if (state?.refusal) return both(state.refusal);
  const camera = state?.report?.camera;
  if (camera === "failed") return both(state?.report?.reason) || t("consult.camera.failed");
  if (camera === "restarting" || camera === "opening") return t(`consult.camera.${camera}`);
  if (state?.camera === "connected") return t("consult.active");
  return t(state?.camera === "failed" ? "consult.reconnecting" : "consult.connecting");
}

function Ladder({ state, phone }: { state: SessionState; phone: string }) {
  const { t, both } = useWords();
  const { report, stats } = state;
  const at = report?.rung ? RUNGS.indexOf(report.rung) : -1;
  const top = report?.top ? RUNGS.indexOf(report.top) : 0;
  const kindOf = (index: number) => (index === at ? "at" : index < top ? "never" : index < at ? "lost" : "");
  return (
    <div className="ladder" data-testid="ladder" data-rung={report?.rung ?? ""}>
      <ol>
        {RUNGS.map((rung, index) => (
          <li key={rung} className={kindOf(index)}>
            {t(`rung.${rung}`)} {index === at && stats.framesPerSecond > 0 && t("consult.fps", { n: Math.round(stats.framesPerSecond) })}
          </li>
        ))}
        {phone && <li className="phone">{t("consult.phone", { n: phone })}</li>}
      </ol>
      <span className="dense t2">
        {both(report?.why)} {t("consult.lost", { n: stats.packetsLost })}
        {stats.roundTripMs !== null && ` · ${t("consult.rtt", { n: Math.round(stats.roundTripMs) })}`} ·{" "}
        {t(`consult.voice.${state.voice}`)}
      </span>
    </div>
  );
}

interface PictureProps {
  session: ConsultSession | undefined;
  state: SessionState | null;
  bed: Bed | undefined;
  status: string;
}

function Picture({ session, state, bed, status }: PictureProps) {
  const { t, both } = useWords();
  const remote = useRef<HTMLVideoElement>(null);
  const local = useRef<HTMLVideoElement>(null);
  const vitals = useStepVitals(session);
  useEffect(() => {
    session?.attachRemote(remote.current);
    session?.attachLocal(local.current);
    return () => {
      session?.attachRemote(null);
      session?.attachLocal(null);
    };
  }, [session]);
  const fps = state?.stats.framesPerSecond ?? 0;
  const hasPicture = (state?.stats.framesDecoded ?? 0) > 0;
  return (
    <section className="picture" data-camera={state?.camera ?? "off"}>
      <video ref={remote} className="remote" data-testid="remote-video" aria-label={t("consult.far")} playsInline muted autoPlay />
      {!hasPicture && (
        <p className="picture-status" role="status">
          {status} · {t("consult.waitPicture")}
        </p>
      )}
      <div className="self">
        <video ref={local} data-testid="local-video" aria-label={t("consult.self")} playsInline muted autoPlay />
        <small>{state?.localVideo ? t("consult.self") : both(state?.localReason) || t("consult.noLocal")}</small>
      </div>
      {hasPicture && fps > 0 && fps < LEAST_FPS && (
        <p className="low-fps">
          <Icon name="warn" /> {t("consult.lowFps")}
        </p>
      )}
      {bed && <VitalsStrip bed={bed} vitals={vitals} />}
    </section>
  );
}

function Foot({ consult, session, state, phone, onEnd }: {
  consult: Consult;
  session: ConsultSession | undefined;
  state: SessionState | null;
  phone: string;
  onEnd: () => void;
}) {
  const { t } = useWords();
  return (
    <footer className="consult-foot">
      {session && state && (
        <button
          type="button"
          className="btn big"
          aria-pressed={state.muted}
          data-testid="mute"
          onClick={() => session.setMuted(!state.muted)}
        >
          <Icon name="mic" /> {t(state.muted ? "consult.unmute" : "consult.mute")} <span className="key">M</span>
        </button>
      )}
      {session && state?.soundBlocked && (
        <button type="button" className="btn big" onClick={() => session.resumeSound()}>
          <Icon name="soundOff" /> {t("consult.sound")}
        </button>
      )}
      {state && <Ladder state={state} phone={phone} />}
      <span className="sp" />
      <a className="btn big" href={address("patient", consult.bed_key)}>
        {t("consult.back")}
      </a>
      <button type="button" className="btn big end" data-testid="hang-up" onClick={onEnd}>
        {t("consult.hangUp")} <span className="key">E</span>
      </button>
    </footer>
  );
}

function Room({ consult }: { consult: Consult }) {
  const { t } = useWords();
  const sessions = useConsultSessions();
  const bed = useLive((state) => state.beds[consult.bed_key]);
  const site = useLive((state) => state.sites[bed?.site ?? ""]);
  const referral = useLive((state) => state.referrals[consult.referral_id]);
  const session = useHeldSession(consult.consult_id);
  const state = useSessionState(session);
  const isOver = consult.state === "ended" || consult.state === "declined";
  const status = useStatus(consult, state);
  const end = useMutation({
    mutationFn: () => api.post(`/consults/${encodeURIComponent(consult.consult_id)}/end`),
    // The hub tells both sides; where it cannot be reached the peers are told directly.
    onError: () => session?.hangUp(),
    onSettled: () => sessions.leave(consult.consult_id),
  });
  useWatch([consult.bed_key]);
  useEffect(() => {
    if (!isOver) sessions.join(consult);
  }, [sessions, consult, isOver]);
  const onEnd = () => {
    end.mutate();
    go("patient", consult.bed_key);
  };
  useKeys({ m: () => session?.setMuted(!state?.muted), e: onEnd });
  return (
    <Page surface="night">
      <Head consult={consult} bed={bed} referral={referral} />
      {referral && (
        <div className="consult-rail">
          <StrokeRail referral={referral} />
        </div>
      )}
      <main className="consult" data-testid="consult-room" data-state={consult.state}>
        <Picture session={session} state={state} bed={bed} status={status} />
        <aside className="consult-side">
          <p className="consult-status" role="status">
            {status}
          </p>
          <News2Lines news2={bed?.news2 ?? null} />
          {referral?.question && (
            <section className="side-block">
              <h2>{t("ref.question")}</h2>
              <p>{referral.question}</p>
            </section>
          )}
          <span className="sp" />
          <p className="side-block dense t3">{t("consult.advice")}</p>
          <Fault error={end.error} />
        </aside>
      </main>
      <Foot consult={consult} session={session} state={state} phone={site?.phone ?? ""} onEnd={onEnd} />
    </Page>
  );
}

export function ConsultRoom({ consultId }: { consultId: string }) {
  const { t } = useWords();
  const consult = useLive((state) => state.consults[consultId]);
  if (consult) return <Room consult={consult} />;
  return (
    <Page surface="night">
      <Empty text={t("consult.none")}>
        <a className="btn" href={address("wall")}>
          {t("nav.wall")}
        </a>
      </Empty>
    </Page>
  );
}

/** A call from the hub: the bar that rings above the beds, and the panel with the physician. */
import { useEffect, useRef } from "react";
import { patientName } from "../../app/hooks";
import { useKeys } from "../../app/keys";
import { useLive } from "../../app/live";
import { useStation } from "../../app/station";
import type { ConsultSession } from "../../consult/session";
import type { Consult } from "../../contract";
import { useWords } from "../../i18n";
import { ring } from "../../sound/useAlarmSound";
import { Icon } from "../../state/Icon";
import { useConsultSessions, useSessionState } from "../consult/sessions";

const RING_EVERY_MS = 3_000;

export function CallBar({ consult }: { consult: Consult }) {
  const { t, both, language } = useWords();
  const sessions = useConsultSessions();
  const bed = useLive((state) => state.beds[consult.bed_key]);
  const accept = () => void sessions.join(consult);
  useKeys({ Enter: accept });
  useEffect(() => {
    ring();
    const timer = window.setInterval(ring, RING_EVERY_MS);
    return () => window.clearInterval(timer);
  }, []);
  return (
    <section className="call-bar night" role="alert" data-testid="call-bar">
      <div className="col">
        <strong className="call-who">
          {t("call.incoming", {
            who: both(consult.caller),
            bed: bed?.label || bed?.bed || "",
            name: bed ? patientName(bed, language) : "",
          })}
        </strong>
        <span className="t2">{t("call.how")}</span>
        <span className="t3 small">{t("call.before")}</span>
      </div>
      <span className="sp" />
      <button type="button" className="btn call-phone" onClick={() => sessions.decline(consult)}>
        {t("call.phone")}
      </button>
      <button type="button" className="call-accept" data-testid="accept-call" onClick={accept}>
        <Icon name="video" /> {t("call.accept")}
      </button>
    </section>
  );
}

export function CallPanel({ consult, session }: { consult: Consult; session: ConsultSession }) {
  const { t, both } = useWords();
  const sessions = useConsultSessions();
  const state = useSessionState(session);
  const hubPhone = useStation()?.hub_phone;
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    session.attachRemote(video.current);
    return () => session.attachRemote(null);
  }, [session]);
  const end = () => {
    session.hangUp();
    sessions.leave(consult.consult_id);
  };
  if (!state) return null;
  return (
    <section className="call-panel night" data-testid="call-panel" data-link={state.bedside}>
      <div className="row wrap">
        <h2>{t("consult.withPhysician", { who: both(consult.caller) })}</h2>
        <span className="sp" />
        <span className="dense t2">{t(state.bedside === "connected" ? "consult.active" : "consult.connecting")}</span>
      </div>
      <video ref={video} className="call-video" data-testid="remote-video" playsInline muted autoPlay />
      {state.localReason && <p className="dense">{both(state.localReason)}</p>}
      {state.refusal && <p className="dense strong">{both(state.refusal)}</p>}
      <p className="dense t2">{t("consult.advice")}</p>
      <div className="row wrap">
        <button type="button" className="btn big" onClick={() => session.setMuted(!state.muted)} aria-pressed={state.muted}>
          <Icon name="mic" /> {t(state.muted ? "consult.unmute" : "consult.mute")}
        </button>
        {state.soundBlocked && (
          <button type="button" className="btn big" onClick={() => session.resumeSound()}>
            <Icon name="soundOff" /> {t("consult.sound")}
          </button>
        )}
        {hubPhone && <span className="dense">{t("consult.phone", { n: hubPhone })}</span>}
        <span className="sp" />
        <button type="button" className="btn big" data-testid="hang-up" onClick={end}>
          {t("consult.hangUp")}
        </button>
      </div>
    </section>
  );
}

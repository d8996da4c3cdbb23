/** Accept, pause, resolve: an action that did not arrive comes back to its row. */
import { useState } from "react";
import { useKeys } from "../app/keys";
import { useSession } from "../app/live";
import type { Alarm } from "../contract";
import type { Key } from "../i18n";
import { useWords } from "../i18n";
import { Fault } from "../state/Small";
import { mayAct, useAlarmAction } from "./actions";

interface Props {
  alarm: Alarm;
  acceptWord?: Key;
  withKeys?: boolean;
  withPause?: boolean;
}

export function AlarmButtons({ alarm, acceptWord = "alarm.accept", withKeys = false, withPause = false }: Props) {
  const { t } = useWords();
  const { session } = useSession();
  const action = useAlarmAction(alarm);
  if (session.state !== "in" || !mayAct(session.me.role)) return null;
  const accepted = alarm.accepted_by !== null;
  return (
    <>
      {!accepted && (
        <button
          type="button"
          className="btn pri"
          data-testid="alarm-accept"
          disabled={action.isPending}
          onClick={(event) => {
            event.stopPropagation();
            action.mutate({ action: "accept" });
          }}
        >
          {t(action.isPending ? "alarm.sending" : acceptWord)} {withKeys && <span className="key">A</span>}
        </button>
      )}
      {withPause && !alarm.technical && (
        <button type="button" className="btn" onClick={() => action.mutate({ action: "pause", pause_s: 120 })}>
          {t("alarm.pause")} {withKeys && <span className="key">P</span>}
        </button>
      )}
      {alarm.latched && !alarm.active && (
        <button type="button" className="btn" onClick={() => action.mutate({ action: "reset" })}>
          {t("alarm.reset")}
        </button>
      )}
      <Fault error={action.error} onRetry={action.variables && (() => action.mutate(action.variables))} />
    </>
  );
}

const DONE: Key[] = ["done.patient", "done.sensor", "done.oxygen", "done.artefact"];

/** Close an alarm with what was done and whether it was useful: two presses. */
export function ResolvePanel({ alarm }: { alarm: Alarm }) {
  const { t } = useWords();
  const action = useAlarmAction(alarm);
  const [text, setText] = useState("");
  const close = (useful: "yes" | "no") => action.mutate({ action: "resolve", text, useful });
  useKeys({ u: () => text && close("yes"), n: () => text && close("no") });
  return (
    <section className="resolve col" aria-label={t("resolve.title")}>
      <h3>{t("resolve.title")}</h3>
      <div className="row wrap">
        {DONE.map((key) => (
          <button
            key={key}
            type="button"
            className="choice"
            aria-pressed={text === t(key)}
            onClick={() => setText(t(key))}
          >
            {t(key)}
          </button>
        ))}
      </div>
      <label className="field">
        <span>{t("resolve.own")}</span>
        <input className="input" value={text} maxLength={500} onChange={(event) => setText(event.target.value)} />
      </label>
      <div className="row wrap">
        <button type="button" className="btn" disabled={!text || action.isPending} onClick={() => close("yes")}>
          {t("resolve.useful")} <span className="key">U</span>
        </button>
        <button type="button" className="btn" disabled={!text || action.isPending} onClick={() => close("no")}>
          {t("resolve.useless")} <span className="key">N</span>
        </button>
      </div>
      <Fault error={action.error} />
    </section>
  );
}

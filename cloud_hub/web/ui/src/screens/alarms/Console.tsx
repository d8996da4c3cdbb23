/** The alarm console: answer, hand over and close alarms as conversations. */
import { useMemo, useState } from "react";
import { AlarmAge, AlarmCell, Conversation } from "../../alarms/AlarmBanner";
import { AlarmButtons, ResolvePanel } from "../../alarms/AlarmButtons";
import { mayAct, useAlarmAction } from "../../alarms/actions";
import { isOpen, worstFirst } from "../../alarms/order";
import { useSeen } from "../../alarms/useSeen";
import { Page } from "../../app/Chrome";
import { useOpenAlarms, useWatch } from "../../app/hooks";
import { useKeys } from "../../app/keys";
import { useLive } from "../../app/live";
import { address, go } from "../../app/router";
import type { Alarm } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { exact, timeOfDay } from "../../live/clock";
import { Empty } from "../../state/Small";
import { pickWaves, Wave } from "../../state/Wave";
import { PaperTop } from "../PaperTop";
import { useAlarmPlace } from "../wall/Dock";
import "./console.css";

const STEP_WORDS: Record<string, Key> = {
  start: "step.start",
  delivered: "step.delivered",
  seen: "step.seen",
  accepted: "step.accepted",
  "audio-paused": "step.paused",
  "audio-resumed": "step.resumed",
  escalate: "step.escalate",
  deescalate: "step.deescalate",
  end: "step.end",
  reset: "step.reset",
  resolved: "step.resolved",
};

function Steps({ alarm }: { alarm: Alarm }) {
  const { t, both } = useWords();
  return (
    <section className="side-block">
      <h2>{t("alarms.steps")}</h2>
      <ol className="log">
        {alarm.steps.map((step, index) => (
          <li key={`${step.at_ms}${index}`}>
            <time title={exact(step.at_ms)}>{timeOfDay(step.at_ms)}</time>
            <strong>{t(STEP_WORDS[step.phase] ?? "step.other")}</strong>
            <span>{both(step.who)}</span>
            {step.note && <span className="log-text">{step.note}</span>}
          </li>
        ))}
      </ol>
      <p className="small t3">{t("alarms.rule", { rule: alarm.ruleset })}</p>
    </section>
  );
}

function Picked({ alarm }: { alarm: Alarm }) {
  const { t } = useWords();
  const place = useAlarmPlace();
  const bed = useLive((state) => state.beds[alarm.bed_key]);
  const role = useLive((state) => state.me?.role);
  useWatch(bed ? [bed.key] : []);
  const wave = bed ? pickWaves(bed.waves, 1)[0] : undefined;
  return (
    <>
      <section className="side-block">
        <div className="banner">
          <AlarmCell alarm={alarm} prefix={place(alarm)} />
          <AlarmAge alarm={alarm} />
        </div>
        <Conversation alarm={alarm} />
        <div className="row wrap">
          <AlarmButtons alarm={alarm} withKeys withPause />
          {bed && (
            <a className="btn" href={address("patient", bed.key)}>
              {t("alarms.toPatient")}
            </a>
          )}
        </div>
      </section>
      {bed && wave && (
        <div className="console-wave night">
          <Wave bedKey={bed.key} measure={wave} pxPerS={94} />
        </div>
      )}
      {isOpen(alarm) && mayAct(role) && (
        <div className="side-block">
          <ResolvePanel key={alarm.alarm_id} alarm={alarm} />
        </div>
      )}
      <Steps alarm={alarm} />
    </>
  );
}

function ConsoleRow({ alarm, isPicked }: { alarm: Alarm; isPicked: boolean }) {
  const place = useAlarmPlace();
  return (
    <li className={`console-row ${isPicked ? "picked" : ""}`} data-testid="alarm-row">
      <a href={address("alarms", alarm.alarm_id)} className="console-open" aria-current={isPicked}>
        <span className="banner">
          <AlarmCell alarm={alarm} prefix={place(alarm)} />
          <AlarmAge alarm={alarm} />
        </span>
        <Conversation alarm={alarm} />
      </a>
      {isOpen(alarm) && <AlarmButtons alarm={alarm} />}
    </li>
  );
}

export function Console({ picked }: { picked: string }) {
  const { t } = useWords();
  const all = useLive((state) => state.alarms);
  const open = useOpenAlarms();
  const place = useAlarmPlace();
  const [tab, setTab] = useState<"open" | "closed">("open");
  const closed = useMemo(
    () =>
      Object.values(all)
        .filter((alarm) => !isOpen(alarm))
        .sort((left, right) => right.onset_ms - left.onset_ms),
    [all],
  );
  const rows = tab === "open" ? [...open].sort(worstFirst) : closed;
  useSeen(tab === "open" ? open.map((alarm) => alarm.alarm_id) : []);
  const chosen = all[picked] ?? rows[0];
  const action = useAlarmAction(chosen);
  const move = (by: number) => {
    const at = rows.findIndex((alarm) => alarm.alarm_id === chosen?.alarm_id);
    const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
    if (next) go("alarms", next.alarm_id);
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    a: () => chosen && !chosen.accepted_by && action.mutate({ action: "accept" }),
    p: () => chosen && action.mutate({ action: "pause", pause_s: 120 }),
    Enter: () => chosen?.bed_key && go("patient", chosen.bed_key),
  });
  const last = closed[0];
  const emptyText = last
    ? t("alarms.emptyLast", { time: timeOfDay(last.steps.at(-1)?.at_ms ?? last.onset_ms, false), name: place(last) })
    : t("alarms.empty");
  return (
    <Page surface="paper">
      <PaperTop page="alarms" />
      <main className="console">
        <section className="console-list">
          <div className="tabs" role="tablist">
            {(["open", "closed"] as const).map((name) => (
              <button key={name} type="button" role="tab" aria-selected={tab === name} onClick={() => setTab(name)}>
                {t(`alarms.${name}`)} {name === "open" ? open.length : closed.length}
              </button>
            ))}
            <span className="sp" />
            <span className="dense t3">{t("secondary")}</span>
          </div>
          {rows.length === 0 && <Empty text={emptyText} />}
          <ul>
            {rows.map((alarm) => (
              <ConsoleRow key={alarm.alarm_id} alarm={alarm} isPicked={alarm.alarm_id === chosen?.alarm_id} />
            ))}
          </ul>
        </section>
        <aside className="console-side">{chosen ? <Picked alarm={chosen} /> : <Empty text={t("alarms.pick")} />}</aside>
      </main>
    </Page>
  );
}

/** An alarm as a filled cell, with the line that says who knows and who has it. */
import { useNow } from "../app/live";
import type { Alarm } from "../contract";
import { useWords } from "../i18n";
import { digits, exact, timeOfDay } from "../live/clock";
import { Icon } from "../state/Icon";

export function Shape({ priority }: { priority: Alarm["priority"] }) {
  return (
    <svg className="shape" viewBox="0 0 20 20" aria-hidden="true">
      {priority === "high" && <path d="M10 1 20 19H0z" />}
      {priority === "medium" && <path d="M1 1h18v18H1z" />}
      {priority === "low" && <circle cx="10" cy="10" r="9" />}
    </svg>
  );
}

export function AlarmAge({ alarm }: { alarm: Alarm }) {
  const now = useNow();
  return (
    <span className="alarm-age nowrap" title={exact(alarm.onset_ms)}>
      {digits(now - alarm.onset_ms)}
    </span>
  );
}

/** Shape and words in the priority's fill; the word for the priority is for those who listen. */
export function AlarmCell({ alarm, prefix = "" }: { alarm: Alarm; prefix?: string }) {
  const { t, both } = useWords();
  return (
    <span
      className={`alarm ${alarm.priority}`}
      data-testid="alarm-banner"
      data-alarm={alarm.alarm_id}
      data-accepted={alarm.accepted_by !== null}
    >
      <Shape priority={alarm.priority} />
      <span className="sr">{t(`alarm.${alarm.priority}`)}</span>
      <span>
        {prefix && `${prefix}\u2002`}
        {both(alarm.text)}
      </span>
    </span>
  );
}

/** 送达 › 已看 › 接手, then the next rung with its countdown. */
export function Conversation({ alarm }: { alarm: Alarm }) {
  const { t, both } = useWords();
  const now = useNow();
  const seenAt = alarm.steps.findLast((step) => step.phase === "seen")?.at_ms;
  const paused = alarm.audio_paused_until_ms !== null && alarm.audio_paused_until_ms > now;
  return (
    <span className="convo">
      <Icon name="check" /> {t("convo.delivered")}
      {alarm.seen_by && (
        <>
          <span className="arrow">›</span> <Icon name="eye" />
          {t("convo.seen", { who: both(alarm.seen_by) })} {seenAt && timeOfDay(seenAt)}
        </>
      )}
      <span className="arrow">›</span>
      {alarm.accepted_by ? (
        <strong data-testid="accepted-by">
          {t("convo.accepted", { who: both(alarm.accepted_by) })}{" "}
          {alarm.accepted_at_ms && timeOfDay(alarm.accepted_at_ms)}
        </strong>
      ) : (
        <strong>{t("convo.nobody")}</strong>
      )}
      {alarm.accepted_by && !alarm.bedside_knows && <span className="strong">· {t("convo.bedsideUnaware")}</span>}
      {!alarm.accepted_by && alarm.escalates_at_ms !== null && (
        <span>
          <span className="arrow">›</span> {escalation(alarm.escalates_at_ms - now, t)}
        </span>
      )}
      {alarm.latched && !alarm.active && <span>· {t("convo.latched")}</span>}
      {alarm.late && <span>· {t("convo.late")}</span>}
      {paused && (
        <span className="row">
          <Icon name="bellPaused" /> {t("convo.paused", { d: digits((alarm.audio_paused_until_ms ?? 0) - now) })}
        </span>
      )}
    </span>
  );
}

function escalation(leftMs: number, t: ReturnType<typeof useWords>["t"]): string {
  return leftMs > 0 ? t("convo.escalatesIn", { d: digits(leftMs) }) : t("convo.escalated");
}

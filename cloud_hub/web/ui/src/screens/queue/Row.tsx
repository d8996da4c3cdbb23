/** One referral of the queue: level, who, what is asked, and its clock as length. */
import { useLive, useNow } from "../../app/live";
import type { Referral } from "../../contract";
import { ACKNOWLEDGE_WITHIN_S } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { digits, timeOfDay } from "../../live/clock";
import { Remaining, TimeRail } from "../../state/TimeRail";
import { personOf } from "../bedside/Replies";
import { sexWord } from "../wall/Tile";
import { groupOf, isPaused, levelOf, ownerOf } from "./order";

/** The question in one line: what was asked, else the main signs. */
export function useAsked(): (referral: Referral) => string {
  const { t, language } = useWords();
  return (referral) => {
    const signs = referral.main_signs.map((sign) => t(`sign.${sign}` as Key)).join(language === "zh" ? "、" : ", ");
    const well =
      referral.last_known_well_ms === null ? "" : `${t("ref.lkw")} ${timeOfDay(referral.last_known_well_ms, false)}`;
    return [signs, well, referral.question].filter(Boolean).join(" · ") || t("ref.unknown");
  };
}

export function Clocks({ referral }: { referral: Referral }) {
  const { t, both } = useWords();
  const now = useNow();
  const from = referral.received_at_ms ?? referral.authored_at_ms;
  const within = ACKNOWLEDGE_WITHIN_S[levelOf(referral)];
  const stamps = referral.moves.map((move) => ({ atMs: move.at_ms, label: t(`state.${move.state}` as Key) }));
  if (groupOf(referral) === "closed" || referral.deadline_ms === null) {
    return (
      <div className="clocks">
        <span className="small t2">{t(`state.${referral.state}` as Key)}</span>
        <span className="strong">{digits(now - referral.authored_at_ms)}</span>
      </div>
    );
  }
  return (
    <div className="clocks">
      <span className="small t2">
        {referral.state === "SUBMITTED" && within ? t("queue.within", { d: digits(within * 1000) }) : t(`state.${referral.state}` as Key)}
        {" · "}
        {both(ownerOf(referral)) || (referral.state === "SUBMITTED" ? t("queue.new") : both(referral.moves.at(-1)?.who))}
      </span>
      {isPaused(referral) ? (
        <span className="strong nowrap">{t("clock.waiting", { d: digits(now - (referral.moves.at(-1)?.at_ms ?? now)) })}</span>
      ) : (
        <Remaining limitMs={referral.deadline_ms} nowMs={now} />
      )}
      <div className="clock-rail">
        <TimeRail
          fromMs={from}
          limitMs={referral.deadline_ms}
          nowMs={now}
          escalatesMs={referral.escalates_at_ms}
          stamps={stamps}
          paused={isPaused(referral)}
        />
      </div>
    </div>
  );
}

export function Row({ referral, isPicked, onPick }: { referral: Referral; isPicked: boolean; onPick: () => void }) {
  const { t, both, language } = useWords();
  const site = useLive((state) => state.sites[referral.site]);
  const bed = useLive((state) => state.beds[referral.bed_key]);
  const asked = useAsked();
  const level = levelOf(referral);
  const isNew = referral.state === "SUBMITTED";
  return (
    <button
      type="button"
      className={`queue-row ${isNew ? "new" : ""}`}
      data-testid="referral-row"
      data-referral={referral.referral_id}
      data-state={referral.state}
      aria-current={isPicked}
      onClick={onPick}
    >
      <span className={`queue-level triage ${level}`}>
        <b>{level}</b>
        <small>{t(`triage.${level}` as Key)}</small>
      </span>
      <span className="queue-who">
        <span>
          <strong className="queue-name">{personOf(referral, language)}</strong>{" "}
          {referral.patient && (
            <span className="dense t2">
              {t("person.age", { sex: sexWord(referral.patient.gender, t), age: referral.patient.age_years ?? "" })} ·{" "}
            </span>
          )}
          <span className="dense t2">
            {both(site?.name) || referral.site} {bed?.label ?? ""}
          </span>
        </span>
        <span className="queue-asked">{asked(referral)}</span>
        {referral.offline && referral.received_at_ms !== null && (
          <span className="small t2">
            {t("queue.written", {
              a: timeOfDay(referral.authored_at_ms, false),
              b: timeOfDay(referral.received_at_ms, false),
            })}
          </span>
        )}
      </span>
      <Clocks referral={referral} />
    </button>
  );
}

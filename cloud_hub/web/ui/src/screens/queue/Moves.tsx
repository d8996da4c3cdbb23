/** What can be done with a referral now: take it, or move it where the life cycle allows. */
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api, Refused } from "../../app/api";
import { useKeys } from "../../app/keys";
import { useLive } from "../../app/live";
import type { Referral, ReferralActionBody } from "../../contract";
import { ENTERED_BY, LEVELS } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { Icon } from "../../state/Icon";
import { Fault } from "../../state/Small";
import { CallButton } from "../patient/PatientPage";
import { levelOf } from "./order";

export function useMove(referral: Referral) {
  return useMutation({
    mutationFn: (body: ReferralActionBody) =>
      api.post(`/referrals/${encodeURIComponent(referral.referral_id)}/moves`, body),
  });
}

/** Whether one press may still triage and accept this referral. */
export function canAccept(referral: Referral): boolean {
  return referral.state === "SUBMITTED" || referral.state === "TRIAGED";
}

/** The level is a person's press; the claim of the sender is where it starts. */
function Levels({ level, onLevel }: { level: string; onLevel: (level: string) => void }) {
  const { t } = useWords();
  useKeys(Object.fromEntries(LEVELS.map((each, index) => [String(index), () => onLevel(each)])));
  return (
    <div className="row wrap" role="group" aria-label={t("t0.other")}>
      {LEVELS.map((each) => (
        <button
          key={each}
          type="button"
          className="choice"
          data-testid={`level-${each}`}
          aria-pressed={level === each}
          onClick={() => onLevel(each)}
        >
          {each} {t(`triage.${each}` as Key)}
        </button>
      ))}
    </div>
  );
}

export function Moves({ referral }: { referral: Referral }) {
  const { t } = useWords();
  const role = useLive((state) => state.me?.role ?? "");
  const bed = useLive((state) => state.beds[referral.bed_key]);
  const move = useMove(referral);
  const [target, setTarget] = useState("");
  const [text, setText] = useState("");
  const [level, setLevel] = useState(levelOf(referral));
  const accept = () => move.mutate({ action: "triage-accept", level: referral.level_claim, version: referral.version });
  const mayAccept = role === "physician" && canAccept(referral);
  useKeys({ Enter: () => mayAccept && !move.isPending && accept() });
  const targets = referral.allowed.filter((state) => ENTERED_BY[state]?.includes(role));
  const send = () =>
    move.mutate(
      { action: "move", to_state: target, level: target === "TRIAGED" ? level : "", text, version: referral.version },
      {
        onSuccess: () => {
          setTarget("");
          setText("");
        },
      },
    );
  const isConflict = move.error instanceof Refused && move.error.status === 409;
  return (
    <div className="moves">
      {target === "TRIAGED" && <Levels level={level} onLevel={setLevel} />}
      {target && (
        <div className="move-form">
          <label className="field">
            <span>
              {t("ref.moveTo")} {t(`state.${target}` as Key)} · {t("ref.reason")}
            </span>
            <textarea className="input" rows={2} maxLength={4000} value={text} onChange={(event) => setText(event.target.value)} />
          </label>
          <button type="button" className="btn pri" data-testid="move-send" disabled={move.isPending} onClick={send}>
            {t("ref.send")}
          </button>
        </div>
      )}
      {isConflict && <p className="strong">{t("ref.conflict")}</p>}
      <Fault error={move.error} />
      <div className="row wrap">
        {mayAccept && (
          <button
            type="button"
            className="btn pri big grow"
            data-testid="triage-accept"
            disabled={move.isPending}
            onClick={accept}
          >
            <Icon name="check" /> {t("ref.accept", { level: levelOf(referral) })} <span className="key">Enter</span>
          </button>
        )}
        {role === "physician" && bed && !canAccept(referral) && <CallButton bed={bed} referralId={referral.referral_id} />}
        {targets.map((state) => (
          <button
            key={state}
            type="button"
            className="btn"
            data-testid={`move-${state}`}
            aria-pressed={target === state}
            onClick={() => setTarget(target === state ? "" : state)}
          >
            {t(`state.${state}` as Key)}
          </button>
        ))}
      </div>
    </div>
  );
}

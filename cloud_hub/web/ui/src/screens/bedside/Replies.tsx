/** The referrals of this site and what has come back. */
import type { Referral } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { timeOfDay } from "../../live/clock";
import { Icon } from "../../state/Icon";
import { Receipt } from "../../state/Small";

export function personOf(referral: Referral, language: "zh" | "en"): string {
  const { patient } = referral;
  if (!patient) return referral.bed_key.split(":")[1] ?? "";
  return language === "en" ? patient.name_en || patient.name : patient.name;
}

/** Steps of one referral, newest last. */
export function Progress({ referral }: { referral: Referral }) {
  const { t, both, language } = useWords();
  return (
    <section className="progress" data-testid="referral-progress" data-state={referral.state}>
      <h3>
        {personOf(referral, language)} {t("t0.progress")}
      </h3>
      <Receipt sync={referral.sync} />
      {referral.sync === "saved-here" && <p className="strong">{t("t0.queued")}</p>}
      <ul>
        {referral.moves.map((move, index) => (
          <li key={`${move.at_ms}${index}`}>
            <Icon name={move.refused ? "warn" : move.pending ? "clock" : "check"} />
            <strong>
              {t(`state.${move.state}` as Key)} {move.level}
            </strong>
            <span>{timeOfDay(move.at_ms)}</span>
            {move.pending && <span className="t3">{t("ref.pending")}</span>}
            <span className="sp" />
            <span className="t2">{both(move.who)}</span>
            {move.text && <p className="move-text">{move.text}</p>}
            {move.refused && <p className="move-text">{t("ref.refused", { why: move.refused })}</p>}
          </li>
        ))}
      </ul>
    </section>
  );
}

export function Replies({ referrals, onPick }: { referrals: Referral[]; onPick: (id: string) => void }) {
  const { t, language } = useWords();
  return (
    <section className="card replies">
      <h2>{t("replies.title")}</h2>
      {referrals.length === 0 && <p className="t2">{t("replies.empty")}</p>}
      {referrals.map((referral) => (
        <button
          key={referral.referral_id}
          type="button"
          className="reply"
          data-testid="referral-row"
          data-state={referral.state}
          data-referral={referral.referral_id}
          onClick={() => onPick(referral.referral_id)}
        >
          <span className={`triage ${referral.level || referral.level_claim}`}>{referral.level || referral.level_claim}</span>
          <span className="strong">{personOf(referral, language)}</span>
          <span>{t(`state.${referral.state}` as Key)}</span>
          <span className="sp" />
          <span className="small">
            <Receipt sync={referral.sync} />
          </span>
        </button>
      ))}
    </section>
  );
}

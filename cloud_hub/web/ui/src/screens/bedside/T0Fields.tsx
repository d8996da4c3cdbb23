/** The six fields of a T0, each answered by one press or left as unknown. */
import { useState } from "react";
import type { Bed } from "../../contract";
import { MAIN_SIGNS } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { digits, timeOfDay } from "../../live/clock";
import { Icon } from "../../state/Icon";
import { patientName } from "../../app/hooks";
import { sexWord } from "../wall/Tile";
import type { Anticoagulant, Draft } from "./draft";
import { instantOf } from "./draft";

const HALF_HOUR_MS = 1_800_000;

interface Props {
  draft: Draft;
  beds: Bed[];
  nowMs: number;
  change: (part: Partial<Draft>) => void;
}

function WhoField({ draft, beds, change, confirmed, onConfirm }: Props & { confirmed: boolean; onConfirm: () => void }) {
  const { t, language } = useWords();
  return (
    <fieldset className="t0-field">
      <legend>
        {t("t0.who")} <span className="t3 small">{t("t0.whoHint")}</span>
      </legend>
      <div className="t0-beds">
        {beds.map((bed) => (
          <button
            key={bed.key}
            type="button"
            className="choice"
            data-testid="t0-bed"
            data-bed={bed.key}
            aria-pressed={draft.bedKey === bed.key && confirmed}
            data-suggested={draft.bedKey === bed.key}
            onClick={() => {
              change({ bedKey: bed.key });
              onConfirm();
            }}
          >
            {bed.label || bed.bed} {patientName(bed, language)}
            {bed.patient && (
              <span className="small">
                {" "}
                {t("person.age", { sex: sexWord(bed.patient.gender, t), age: bed.patient.age_years ?? "" })}
              </span>
            )}
          </button>
        ))}
      </div>
    </fieldset>
  );
}

/** A time of day in 24 hours, typed as `13:20` or `1320`. */
function TimeEntry({ at, nowMs, onTime }: { at: number | null; nowMs: number; onTime: (ms: number) => void }) {
  const { t } = useWords();
  const [typed, setTyped] = useState<string | null>(null);
  const shown = at === null ? "" : timeOfDay(at, false);
  return (
    <input
      className="choice time"
      inputMode="numeric"
      maxLength={5}
      placeholder="13:20"
      aria-label={t("t0.at")}
      data-testid="t0-time"
      data-filled={at !== null}
      value={typed ?? shown}
      onBlur={() => setTyped(null)}
      onChange={(event) => {
        setTyped(event.target.value);
        const ms = instantOf(event.target.value, nowMs);
        if (ms !== null) onTime(ms);
      }}
    />
  );
}

function WellField({ draft, nowMs, change }: Props) {
  const { t } = useWords();
  const at = draft.lastKnownWell === "known" ? draft.lastKnownWellMs : null;
  const set = (ms: number) => change({ lastKnownWell: "known", lastKnownWellMs: ms });
  return (
    <fieldset className="t0-field">
      <legend>
        {t("ref.lkw")} <span className="t3 small">{at !== null && t("t0.elapsed", { d: digits(nowMs - at) })}</span>
      </legend>
      <div className="t0-five">
        <button type="button" className="choice" onClick={() => set(nowMs)}>
          {t("t0.now")}
        </button>
        <button type="button" className="choice" onClick={() => set(nowMs - HALF_HOUR_MS)}>
          {t("t0.half")}
        </button>
        <TimeEntry at={at} nowMs={nowMs} onTime={set} />
        <button
          type="button"
          className="choice"
          aria-pressed={draft.lastKnownWell === "woke-up"}
          onClick={() => change({ lastKnownWell: "woke-up", lastKnownWellMs: null })}
        >
          {t("ref.woke")}
        </button>
        <button
          type="button"
          className="choice"
          aria-pressed={draft.lastKnownWell === "unknown"}
          onClick={() => change({ lastKnownWell: "unknown", lastKnownWellMs: null })}
        >
          {t("ref.unknown")}
        </button>
      </div>
    </fieldset>
  );
}

function SignsField({ draft, change }: Props) {
  const { t } = useWords();
  const toggle = (sign: string) =>
    change({ signs: draft.signs.includes(sign) ? draft.signs.filter((each) => each !== sign) : [...draft.signs, sign] });
  return (
    <fieldset className="t0-field">
      <legend>
        {t("ref.signs")} <span className="t3 small">{t("t0.many")}</span>
      </legend>
      <div className="t0-four">
        {MAIN_SIGNS.map((sign) => (
          <button
            key={sign}
            type="button"
            className="choice"
            aria-pressed={draft.signs.includes(sign)}
            onClick={() => toggle(sign)}
          >
            {t(`sign.${sign}` as Key)}
          </button>
        ))}
      </div>
    </fieldset>
  );
}

const ANSWERS: [Anticoagulant, Key][] = [
  ["yes", "ref.yes"],
  ["no", "ref.no"],
  ["unknown", "ref.unknown"],
];

export function T0Fields(props: Props & { confirmed: boolean; onConfirm: () => void }) {
  const { draft, change } = props;
  const { t } = useWords();
  return (
    <>
      <WhoField {...props} />
      <WellField {...props} />
      <SignsField {...props} />
      <fieldset className="t0-field">
        <legend>{t("t0.anticoagulant")}</legend>
        <div className="t0-three">
          {ANSWERS.map(([answer, key]) => (
            <button
              key={answer}
              type="button"
              className="choice"
              aria-pressed={draft.anticoagulant === answer}
              onClick={() => change({ anticoagulant: answer })}
            >
              {t(key)}
            </button>
          ))}
        </div>
      </fieldset>
      <label className="t0-field">
        <span className="legend">{t("t0.callbackLabel")}</span>
        <span className="row">
          <Icon name="phone" />
          <input
            className="input"
            type="tel"
            maxLength={40}
            value={draft.callback}
            onChange={(event) => change({ callback: event.target.value })}
          />
        </span>
      </label>
      <label className="t0-field">
        <span className="legend">{t("t0.question")}</span>
        <textarea
          className="input"
          rows={1}
          maxLength={2000}
          value={draft.question}
          onChange={(event) => change({ question: event.target.value })}
        />
      </label>
    </>
  );
}

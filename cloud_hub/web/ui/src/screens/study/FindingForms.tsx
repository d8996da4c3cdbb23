/** Why a finding is none, and what it is instead: each is one step more than the press that asked for it. */
import { useState } from "react";
import type { FindingSaid } from "../../contract";
import { useWords } from "../../i18n";
import { REASONS, REGIONS } from "./findings";
import type { Reason, Word } from "./findings";

interface Form {
  isBusy: boolean;
  onSay: (word: Word) => void;
  onLeave: () => void;
}

export function ReasonForm({ isBusy, onSay, onLeave }: Form) {
  const { t } = useWords();
  const reject = (reason: Reason) => onSay({ verdict: "rejected", reason });
  return (
    <div className="finding-form" role="group" aria-label={t("finding.why")}>
      <span className="dense t2">{t("finding.why")}</span>
      <div className="finding-buttons">
        {REASONS.map((reason, index) => (
          <button
            key={reason}
            type="button"
            className="choice"
            // The next press decides, by keys too.
            autoFocus={index === 0}
            disabled={isBusy}
            data-testid={`reason-${reason}`}
            onClick={() => reject(reason)}
          >
            {t(`reason.${reason}`)}
          </button>
        ))}
        <button type="button" className="btn quiet" onClick={onLeave}>
          {t("finding.leave")}
        </button>
      </div>
    </div>
  );
}

const AXES = ["L", "P", "S"];

/** A number as it is typed; NaN where it is none, which the server refuses. */
function typed(text: string): number {
  return text.trim() === "" ? Number.NaN : Number(text);
}

interface Edit extends Form {
  told: FindingSaid;
  /** What it is now: where it was changed before, that. */
  before: FindingSaid;
}

export function EditForm({ told, before, isBusy, onSay, onLeave }: Edit) {
  const { t } = useWords();
  const [region, setRegion] = useState<FindingSaid["region"]>(before.region);
  const [diameter, setDiameter] = useState(String(before.diameter_mm));
  const [centre, setCentre] = useState(before.centre_mm.map(String));
  const [x = Number.NaN, y = Number.NaN, z = Number.NaN] = centre.map(typed);
  const said: FindingSaid = { ...before, region, diameter_mm: typed(diameter), centre_mm: [x, y, z] };
  const isWhole = [said.diameter_mm, x, y, z].every(Number.isFinite) && said.diameter_mm > 0;
  const isOther = (Object.keys(said) as (keyof FindingSaid)[]).some((name) => String(said[name]) !== String(told[name]));
  return (
    <form
      className="finding-form"
      aria-label={t("finding.change")}
      onSubmit={(event) => {
        event.preventDefault();
        onSay({ verdict: "edited", said });
      }}
    >
      <label className="field">
        <span>{t("finding.region")}</span>
        <select
          className="input"
          autoFocus
          value={region}
          data-testid="edit-region"
          onChange={(event) => setRegion(event.target.value as FindingSaid["region"])}
        >
          <option value="">{t("region.none")}</option>
          {REGIONS.map((one) => (
            <option key={one} value={one}>
              {t(`region.${one}`)}
            </option>
          ))}
        </select>
      </label>
      <label className="field">
        <span>{t("finding.diameter")}</span>
        <input
          className="input"
          inputMode="decimal"
          value={diameter}
          data-testid="edit-diameter"
          onChange={(event) => setDiameter(event.target.value)}
        />
      </label>
      <fieldset className="finding-place">
        <legend className="dense t2">{t("finding.place")}</legend>
        {AXES.map((axis, index) => (
          <label key={axis} className="field">
            <span>{axis}</span>
            <input
              className="input"
              inputMode="decimal"
              value={centre[index]}
              data-testid={`edit-${axis}`}
              onChange={(event) => setCentre(centre.map((one, at) => (at === index ? event.target.value : one)))}
            />
          </label>
        ))}
      </fieldset>
      <div className="finding-buttons">
        <button type="submit" className="btn pri" disabled={isBusy || !isWhole || !isOther} data-testid="edit-save">
          {t("finding.save")}
        </button>
        <button type="button" className="btn quiet" onClick={onLeave}>
          {t("finding.leave")}
        </button>
      </div>
    </form>
  );
}

/** Consciousness and oxygen, which a monitor never sends: one tap opens, one tap saves. */
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../app/api";
import type { Bed, ObservationBody } from "../../contract";
import { useWords } from "../../i18n";
import { Fault } from "../../state/Small";
import { readingOf } from "../../state/format";

const LEVELS = ["A", "C", "V", "P", "U"] as const;
const FLOWS = [1, 2, 3, 5, 10];

export function Observe({ bed }: { bed: Bed }) {
  const { t } = useWords();
  const [open, setOpen] = useState(false);
  const save = useMutation({
    mutationFn: (body: ObservationBody) => api.post(`/beds/${encodeURIComponent(bed.key)}/observations`, body),
  });
  const acvpu = readingOf(bed, "acvpu")?.value;
  const oxygen = readingOf(bed, "oxygen")?.value;
  if (!open) {
    return (
      <button type="button" className="btn observe-open" data-testid="observe" onClick={() => setOpen(true)}>
        {t("bed.acvpu")} {acvpu ?? "–"} · {t("bed.oxygen")}{" "}
        {oxygen === "air" || oxygen === "oxygen" ? t(`oxygen.${oxygen}`) : "–"}
      </button>
    );
  }
  return (
    <div className="observe" data-testid="observe-panel">
      <div className="observe-row" role="group" aria-label={t("bed.acvpu")}>
        {LEVELS.map((level) => (
          <button
            key={level}
            type="button"
            className="choice"
            data-testid={`acvpu-${level}`}
            aria-pressed={acvpu === level}
            onClick={() => save.mutate({ acvpu: level })}
          >
            {t(`acvpu.${level}`)}
          </button>
        ))}
      </div>
      <div className="observe-row" role="group" aria-label={t("bed.oxygen")}>
        {(["air", "oxygen"] as const).map((kind) => (
          <button
            key={kind}
            type="button"
            className="choice"
            data-testid={`oxygen-${kind}`}
            aria-pressed={oxygen === kind}
            onClick={() => save.mutate({ oxygen: kind })}
          >
            {t(`oxygen.${kind}`)}
          </button>
        ))}
        <span className="small t3">{t("bed.flow")}</span>
        {FLOWS.map((flow) => (
          <button
            key={flow}
            type="button"
            className="choice narrow"
            onClick={() => save.mutate({ oxygen: "oxygen", o2_flow_l_min: flow })}
          >
            {flow}
          </button>
        ))}
        <span className="sp" />
        {save.isSuccess && <span className="small">{t("bed.saved")}</span>}
        <button type="button" className="btn quiet" onClick={() => setOpen(false)}>
          {t("bed.close")}
        </button>
      </div>
      <Fault error={save.error} />
    </div>
  );
}

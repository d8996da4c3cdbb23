/** T0 in three presses, with the hub or without it: emergency, patient, send. */
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../app/api";
import { patientName, useContextOf } from "../../app/hooks";
import { useKeys } from "../../app/keys";
import { useNow } from "../../app/live";
import { useStation } from "../../app/station";
import type { Bed, ReferralBody, Site } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { timeOfDay } from "../../live/clock";
import { Icon } from "../../state/Icon";
import { Fault } from "../../state/Small";
import { hasValue, readingOf } from "../../state/format";
import { pressureOf } from "../../state/Reading";
import { sexWord } from "../wall/Tile";
import type { Draft } from "./draft";
import { bodyOf } from "./draft";
import { T0Fields } from "./T0Fields";

/** What to say on the telephone, from what is on the form. */
function Script({ draft, bed, site }: { draft: Draft; bed: Bed; site: Site | undefined }) {
  const { t, both, language } = useWords();
  const context = useContextOf(bed);
  const systolic = readingOf(bed, "nibp_sys");
  const pressure = pressureOf(systolic, readingOf(bed, "nibp_dia"), context);
  const well =
    draft.lastKnownWell === "known" && draft.lastKnownWellMs !== null
      ? t("t0.scriptLkw", { time: timeOfDay(draft.lastKnownWellMs, false) })
      : t(draft.lastKnownWell === "woke-up" ? "t0.scriptWoke" : "t0.scriptLkwUnknown");
  const signs = draft.signs.map((sign) => t(`sign.${sign}` as Key)).join(language === "zh" ? "、" : ", ");
  const who = bed.patient
    ? `${patientName(bed, language)} ${t("person.age", { sex: sexWord(bed.patient.gender, t), age: bed.patient.age_years ?? "" })}`
    : bed.label || bed.bed;
  return (
    <p className="t0-script">
      {t("t0.script", {
        site: both(site?.name),
        who,
        lkw: well,
        signs: signs || t("t0.signsUnknown"),
        anti: t(`ref.${draft.anticoagulant}` as Key),
        bp: hasValue(systolic) ? t("t0.scriptBp", { bp: pressure.text }) : "",
      })}
    </p>
  );
}

export function OfflineWords({ draft, bed, site }: { draft: Draft; bed: Bed | undefined; site: Site | undefined }) {
  const { t } = useWords();
  const hubPhone = useStation()?.hub_phone;
  return (
    <div className="t0-offline" data-testid="t0-offline">
      <p className="strong">{t("t0.offline1")}</p>
      <p>{t("t0.offline2", { phone: hubPhone ? t("t0.hubPhone", { n: hubPhone }) : "" })}</p>
      {bed && <Script draft={draft} bed={bed} site={site} />}
    </div>
  );
}

interface Props {
  draft: Draft;
  beds: Bed[];
  site: Site | undefined;
  online: boolean;
  change: (part: Partial<Draft>) => void;
  onSent: (referralId: string) => void;
  onClose: () => void;
}

export function T0Panel({ draft, beds, site, online, change, onSent, onClose }: Props) {
  const { t } = useWords();
  const nowMs = useNow();
  const [confirmed, setConfirmed] = useState(false);
  const send = useMutation({
    mutationFn: (body: ReferralBody) => api.post("/referrals", body),
    onSuccess: () => onSent(draft.id),
  });
  const submit = () => !send.isPending && send.mutate(bodyOf(draft));
  useKeys({ "Ctrl+Enter": submit, Escape: onClose });
  const bed = beds.find((each) => each.key === draft.bedKey);
  return (
    <section className="t0" aria-label={t("t0.title")} data-testid="t0-panel">
      <div className="row wrap">
        <h2 className="triage T0 t0-title">{t("t0.title")}</h2>
        <span className="dense">{t("t0.steps")}</span>
        <span className="sp" />
        <button type="button" className="btn quiet dense" onClick={onClose}>
          {t("t0.draft")}
        </button>
      </div>
      <T0Fields
        draft={draft}
        beds={beds}
        nowMs={nowMs}
        change={change}
        confirmed={confirmed}
        onConfirm={() => setConfirmed(true)}
      />
      {!online && <OfflineWords draft={draft} bed={bed} site={site} />}
      <Fault error={send.error} onRetry={submit} />
      <button type="button" className="t0-send" data-testid="referral-submit" disabled={!draft.bedKey} onClick={submit}>
        <Icon name="up" /> {t("t0.send")} <span className="key">Ctrl Enter</span>
      </button>
    </section>
  );
}

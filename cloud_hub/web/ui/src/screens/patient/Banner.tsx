/** The patient banner: name, sex, age, place, allergy, and how current all of it is. */
import { patientName } from "../../app/hooks";
import { useLive } from "../../app/live";
import type { Bed } from "../../contract";
import { useWords } from "../../i18n";
import { LinkState, SyncState } from "../../state/LinkState";
import { sexWord } from "../wall/Tile";

function Fact({ label, text }: { label: string; text: string }) {
  return (
    <div className="fact">
      <dt>{label}</dt>
      <dd>{text}</dd>
    </div>
  );
}

export function Banner({ bed }: { bed: Bed }) {
  const { t, both, language } = useWords();
  const site = useLive((state) => state.sites[bed.site]);
  const { patient } = bed;
  return (
    <div className="patient-banner">
      <h1>{patientName(bed, language) || bed.label}</h1>
      {patient && (
        <span className="nowrap">
          {t("person.ageLong", { sex: sexWord(patient.gender, t), age: patient.age_years ?? "–" })}
        </span>
      )}
      <dl>
        <Fact label={t("patient.place")} text={`${both(site?.name)} ${bed.label || bed.bed}`} />
        <Fact label={t("patient.allergy")} text={patient?.allergies || t("patient.none")} />
        {patient?.note && <Fact label={t("patient.note")} text={patient.note} />}
        {patient && patient.identifiers.length > 0 && (
          <Fact label={t("patient.id")} text={patient.identifiers.join(" · ")} />
        )}
      </dl>
      <span className="sp" />
      {site && (
        <div className="banner-link">
          <LinkState site={site} />
          <SyncState site={site} bed={bed} />
        </div>
      )}
    </div>
  );
}

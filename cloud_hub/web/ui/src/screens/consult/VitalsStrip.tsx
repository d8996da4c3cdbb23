/** The vitals over the picture: the data channel's, in step with it; the page's own feed until it opens. */
import { useContextOf } from "../../app/hooks";
import type { Bed, Reading as ReadingShape } from "../../contract";
import { WAVES } from "../../contract";
import { useWords } from "../../i18n";
import { ageMs, hasValue, readingOf } from "../../state/format";
import { pressureOf, Reading } from "../../state/Reading";
import { pickWaves, Wave } from "../../state/Wave";
import type { StepVitalsView } from "./useStepVitals";

interface CellProps {
  label: string;
  reading: ReadingShape | undefined;
  text?: string;
  bed: Bed;
}

function StripCell({ label, reading, text, bed }: CellProps) {
  const { ago } = useWords();
  const context = useContextOf(bed);
  return (
    <div className="strip-cell">
      <small>
        {label} {reading && hasValue(reading) ? `· ${ago(ageMs(reading, context))}` : ""}
      </small>
      <Reading reading={reading} context={context} text={text} />
    </div>
  );
}

export function VitalsStrip({ bed, vitals }: { bed: Bed; vitals: StepVitalsView }) {
  const { t, language } = useWords();
  const context = useContextOf(bed);
  const shown: Bed = vitals.readings ? { ...bed, readings: vitals.readings } : bed;
  const fromChannel = vitals.waves.length > 0;
  const wave = pickWaves(fromChannel ? vitals.waves : bed.waves, 1)[0];
  const systolic = readingOf(shown, "nibp_sys");
  const pressure = pressureOf(systolic, readingOf(shown, "nibp_dia"), context);
  return (
    <div className="strip" data-testid="vitals-strip" data-source={vitals.readings ? "channel" : "feed"}>
      <StripCell label={t("m.bp")} reading={systolic} text={pressure.text} bed={bed} />
      <StripCell label={t("m.hr")} reading={readingOf(shown, "hr", "pr_oxim")} bed={bed} />
      <StripCell label={`${t("m.spo2")} %`} reading={readingOf(shown, "spo2")} bed={bed} />
      <StripCell label={t("m.rr")} reading={readingOf(shown, "rr")} bed={bed} />
      {wave && (
        <div className="strip-wave">
          <small>{WAVES[wave]?.[language]}</small>
          <Wave bedKey={bed.key} measure={wave} pxPerS={60} loop={fromChannel ? vitals.loop : undefined} />
        </div>
      )}
    </div>
  );
}

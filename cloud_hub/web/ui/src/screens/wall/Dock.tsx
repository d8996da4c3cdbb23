/** The worst three alarms of the whole region, who saw, who has it, what escalates when. */
import { AlarmAge, AlarmCell, Conversation } from "../../alarms/AlarmBanner";
import { AlarmButtons } from "../../alarms/AlarmButtons";
import { bundle } from "../../alarms/order";
import { useSeen } from "../../alarms/useSeen";
import { patientName } from "../../app/hooks";
import { useLive } from "../../app/live";
import { go } from "../../app/router";
import type { Alarm } from "../../contract";
import { useWords } from "../../i18n";
import { timeOfDay } from "../../live/clock";

/** Bed and name before an alarm's words; the site's name where it is about a site. */
export function useAlarmPlace(): (alarm: Alarm) => string {
  const { both, language } = useWords();
  const beds = useLive((state) => state.beds);
  const sites = useLive((state) => state.sites);
  return (alarm) => {
    const bed = beds[alarm.bed_key];
    if (bed) return `${bed.label || bed.bed} ${patientName(bed, language)}`.trim();
    return both(sites[alarm.site]?.name) || alarm.site;
  };
}

const SHOWN = 3;

export function Dock({ alarms }: { alarms: Alarm[] }) {
  const { t, both } = useWords();
  const place = useAlarmPlace();
  const all = useLive((state) => state.alarms);
  const groups = bundle(alarms).slice(0, SHOWN);
  useSeen(groups.map((group) => group.alarm.alarm_id));
  if (groups.length === 0) {
    const last = Object.values(all)
      .flatMap((alarm) => alarm.steps.map((step) => ({ alarm, step })))
      .sort((left, right) => right.step.at_ms - left.step.at_ms)[0];
    return (
      <footer className="dock none">
        <span>{t("alarm.none")}</span>
        {last && (
          <span className="t3">
            {timeOfDay(last.step.at_ms, false)} {place(last.alarm)} {both(last.alarm.text)}
          </span>
        )}
        <span className="sp" />
        <span className="t3 dense">{t("secondary")}</span>
      </footer>
    );
  }
  return (
    <footer className="dock" aria-label={t("alarms.open")}>
      {groups.map(({ alarm, more }, index) => (
        <div key={alarm.alarm_id} className="dk">
          <div className="words">
            <div className="banner">
              <AlarmCell alarm={alarm} prefix={place(alarm)} />
              <AlarmAge alarm={alarm} />
              {more > 0 && <span className="t3 dense">{t("alarm.more", { n: more })}</span>}
            </div>
            <Conversation alarm={alarm} />
          </div>
          <div className="row">
            <AlarmButtons alarm={alarm} withKeys={index === 0} />
            {alarm.bed_key && (
              <button type="button" className="btn" onClick={() => go("patient", alarm.bed_key)}>
                {t("alarm.open")}
              </button>
            )}
          </div>
        </div>
      ))}
    </footer>
  );
}

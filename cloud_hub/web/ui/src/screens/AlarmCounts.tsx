/** ▲n ■n ●n for what this person answers for; opens the console. */
import { Shape } from "../alarms/AlarmBanner";
import { address } from "../app/router";
import type { Alarm } from "../contract";
import { useWords } from "../i18n";

const PRIORITIES: Alarm["priority"][] = ["high", "medium", "low"];

export function AlarmCounts({ counts, withWords = false }: { counts: Record<Alarm["priority"], number>; withWords?: boolean }) {
  const { t } = useWords();
  return (
    <a className="counts" href={address("alarms")} data-testid="alarm-counts">
      <span className="sr">{t("nav.alarms")}</span>
      {PRIORITIES.filter((priority) => counts[priority] > 0).map((priority) => (
        <span key={priority} className={`alarm ${priority}`}>
          <Shape priority={priority} />
          <span className={withWords ? "word" : "sr"}>{t(`alarm.${priority}`)}</span> {counts[priority]}
        </span>
      ))}
    </a>
  );
}

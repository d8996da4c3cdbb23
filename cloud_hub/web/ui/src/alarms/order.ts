/** Which alarms stand, in which order, and what a bed shows of them. */
import type { Alarm, Bed } from "../contract";

const RANK = { high: 0, medium: 1, low: 2 } as const;

/** The condition stands or is latched, and nobody closed it. */
export function isOpen(alarm: Alarm): boolean {
  return !alarm.resolved && (alarm.active || alarm.latched);
}

/** Worst first, then what nobody has taken, then oldest. */
export function worstFirst(left: Alarm, right: Alarm): number {
  return (
    RANK[left.priority] - RANK[right.priority] ||
    Number(left.accepted_by !== null) - Number(right.accepted_by !== null) ||
    left.onset_ms - right.onset_ms
  );
}

export function openAlarms(alarms: Record<string, Alarm>): Alarm[] {
  return Object.values(alarms).filter(isOpen).sort(worstFirst);
}

export function alarmsOfBed(alarms: Alarm[], bedKey: string): Alarm[] {
  return alarms.filter((alarm) => alarm.bed_key === bedKey);
}

/** The alarm whose value stands in this cell of a bed. */
export function alarmOfMeasure(alarms: Alarm[], ...measures: string[]): Alarm | undefined {
  return alarms.find((alarm) => measures.includes(alarm.measure));
}

export function countByPriority(alarms: Alarm[]): Record<Alarm["priority"], number> {
  const counts = { high: 0, medium: 0, low: 0 };
  for (const alarm of alarms) counts[alarm.priority] += 1;
  return counts;
}

/** Whether this alarm sounds here: it stands, nobody took it, it is not paused and not of a replayed patient. */
export function sounds(alarm: Alarm, bed: Bed | undefined, nowMs: number): boolean {
  if (!isOpen(alarm) || alarm.accepted_by !== null || alarm.late) return false;
  if (bed && bed.not_live !== "") return false;
  return alarm.audio_paused_until_ms === null || alarm.audio_paused_until_ms <= nowMs;
}

/** Groups of one bed: the worst alarm and how many more there are. */
export function bundle(alarms: Alarm[]): { alarm: Alarm; more: number }[] {
  const groups = new Map<string, { alarm: Alarm; more: number }>();
  for (const alarm of alarms) {
    const key = alarm.bed_key || `site ${alarm.site} ${alarm.condition}`;
    const group = groups.get(key);
    if (group) group.more += 1;
    else groups.set(key, { alarm, more: 0 });
  }
  return [...groups.values()];
}

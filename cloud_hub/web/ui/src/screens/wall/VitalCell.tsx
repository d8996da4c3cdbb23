/** One big numeral of a tile; an alarm inverts the cell. */
import type { Alarm, Reading as ReadingShape } from "../../contract";
import type { Context } from "../../state/format";
import { Reading } from "../../state/Reading";

interface Props {
  label: string;
  reading: ReadingShape | undefined;
  alarm: Alarm | undefined;
  context: Context;
  text?: string;
}

/** Fill and flash of a value's cell: it flashes while nobody has the alarm. */
export function cellFill(alarm: Alarm | undefined): string {
  if (!alarm) return "";
  return `inverted ${alarm.priority} ${alarm.accepted_by ? "" : "flash"}`;
}

export function VitalCell({ label, reading, alarm, context, text }: Props) {
  return (
    <div className={`num ${cellFill(alarm)}`}>
      <small>{label}</small>
      <Reading reading={reading} context={context} text={text} />
    </div>
  );
}

/** What a person does with an alarm, and whether it has been delivered. */
import { useMutation } from "@tanstack/react-query";
import { api } from "../app/api";
import type { Alarm, AlarmActionBody } from "../contract";

/** Rights are the server's business; this only keeps buttons away from roles that may only read. */
export function mayAct(role: string | undefined): boolean {
  return role === "physician" || role === "clinic";
}

export function useAlarmAction(alarm: Alarm | undefined) {
  return useMutation({
    mutationFn: (body: AlarmActionBody) =>
      api.post<unknown>(`/alarms/${encodeURIComponent(alarm?.alarm_id ?? "")}/actions`, body),
  });
}

/** Tells the server which alarms a person had on an active screen for two seconds. */
import { useEffect, useRef } from "react";
import { useSession } from "../app/live";

const SEEN_AFTER_MS = 2_000;
const LOOK_EVERY_MS = 500;

export function useSeen(alarmIds: string[]): void {
  const { socket } = useSession();
  const shown = useRef(new Map<string, number>());
  const told = useRef(new Set<string>());
  const newest = useRef(alarmIds);
  newest.current = alarmIds;
  useEffect(() => {
    const timer = window.setInterval(() => {
      const isActive = document.visibilityState === "visible" && document.hasFocus();
      const due: string[] = [];
      for (const id of newest.current) {
        const forMs = isActive ? (shown.current.get(id) ?? 0) + LOOK_EVERY_MS : 0;
        shown.current.set(id, forMs);
        if (forMs >= SEEN_AFTER_MS && !told.current.has(id)) due.push(id);
      }
      if (due.length > 0 && socket.send({ type: "seen", alarm_ids: due.slice(0, 64) })) {
        for (const id of due) told.current.add(id);
      }
    }, LOOK_EVERY_MS);
    return () => window.clearInterval(timer);
  }, [socket]);
}

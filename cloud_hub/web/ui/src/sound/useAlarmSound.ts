/** Sounds the worst alarm of the page while nobody has taken it. */
import { useCallback, useEffect, useRef, useState } from "react";
import { openAlarms, sounds } from "../alarms/order";
import { useLive, useSession } from "../app/live";
import { serverNow } from "../live/clock";
import { BURSTS, Sounder } from "./bursts";

const LOOK_EVERY_MS = 500;
const sounder = new Sounder();

export function useAlarmSound(): { isBlocked: boolean; unblock: () => void } {
  const { store } = useSession();
  const feed = useLive((state) => state.feed);
  const [isBlocked, setBlocked] = useState(false);
  const lastAt = useRef(0);
  const lastPriority = useRef("");

  useEffect(() => {
    const timer = window.setInterval(() => {
      setBlocked(sounder.isBlocked);
      const { alarms, beds } = store.get();
      const now = serverNow();
      const worst = openAlarms(alarms).find((alarm) => sounds(alarm, beds[alarm.bed_key], now));
      const priority = worst?.priority ?? "";
      const isDue = priority !== "" && Date.now() - lastAt.current >= BURSTS[priority].everyS * 1000;
      const isWorse = priority === "high" && lastPriority.current !== "high";
      lastPriority.current = priority;
      if (priority === "" || !(isDue || isWorse)) return;
      lastAt.current = Date.now();
      sounder.play(BURSTS[priority]);
    }, LOOK_EVERY_MS);
    return () => window.clearInterval(timer);
  }, [store]);

  useEffect(() => {
    if (feed === "lost") sounder.play(BURSTS.low);
  }, [feed]);

  const unblock = useCallback(() => void sounder.unblock().then((open) => setBlocked(!open)), []);
  useEffect(() => {
    // Any first touch of the page opens the sound; the hint stands until then.
    window.addEventListener("pointerdown", unblock, { once: true });
    window.addEventListener("keydown", unblock, { once: true });
    return () => {
      window.removeEventListener("pointerdown", unblock);
      window.removeEventListener("keydown", unblock);
    };
  }, [unblock]);
  return { isBlocked, unblock };
}

/** One ring of a call, repeated by whoever shows the call. */
export function ring(): void {
  sounder.play({ onsetsS: [0, 0.35], pulseS: 0.28, frequencyHz: 587, everyS: 3 });
}

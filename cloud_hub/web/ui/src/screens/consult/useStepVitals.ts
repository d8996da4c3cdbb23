/** Vitals of the consult's data channel: readings and waves in step with the picture. */
import { useEffect, useMemo, useState } from "react";
import type { ConsultSession } from "../../consult/session";
import type { Reading, ReadingsMessage, WaveMessage } from "../../contract";
import { WaveLoop } from "../../live/painter";
import { mergeReadings } from "../../live/store";
import { WaveStore } from "../../live/waves";

export interface StepVitalsView {
  /** Null until the channel has brought any. */
  readings: Reading[] | null;
  waves: string[];
  loop: WaveLoop;
}

export function useStepVitals(session: ConsultSession | undefined): StepVitalsView {
  const [readings, setReadings] = useState<Reading[] | null>(null);
  const [waves, setWaves] = useState<string[]>([]);
  const memory = useMemo(() => {
    const store = new WaveStore();
    return { store, loop: new WaveLoop(store), session };
  }, [session]);
  useEffect(() => {
    setReadings(null);
    setWaves([]);
    return session?.onVitals((vitals) => {
      if (vitals.message.type === "readings") {
        const message = vitals.message as unknown as ReadingsMessage;
        setReadings((old) => mergeReadings(old ?? [], message.readings));
        return;
      }
      const message = vitals.message as unknown as WaveMessage;
      memory.store.put(message.bed_key, message.channels, Date.now());
      const seen = message.channels.map((channel) => channel.measure);
      setWaves((old) => (seen.every((measure) => old.includes(measure)) ? old : [...new Set([...old, ...seen])]));
    });
  }, [session, memory]);
  return { readings, waves, loop: memory.loop };
}

/** Questions that several screens ask of the live state. */
import { useEffect, useMemo } from "react";
import { openAlarms } from "../alarms/order";
import type { Alarm, Bed } from "../contract";
import type { Context } from "../state/format";
import { useLive, useNow, useSession } from "./live";

export function useOpenAlarms(): Alarm[] {
  const alarms = useLive((state) => state.alarms);
  return useMemo(() => openAlarms(alarms), [alarms]);
}

/** Whether what a bed shows can be current at all: this page is fed, and the site is heard. */
export function useContextOf(bed: Bed): Context {
  const nowMs = useNow();
  const feed = useLive((state) => state.feed);
  const face = useLive((state) => state.face);
  const link = useLive((state) => state.sites[bed.site]?.link);
  const siteHeard = face === "bedside" || link === "live" || link === "weak";
  return { nowMs, isHeard: feed !== "lost" && siteHeard, isReplay: bed.not_live === "replay" };
}

const watchers = new Map<symbol, string[]>();

/** Ask for the waves of these beds while the caller is on the screen. */
export function useWatch(bedKeys: string[]): void {
  const { socket } = useSession();
  const joined = bedKeys.join("\n");
  useEffect(() => {
    const mine = Symbol("watch");
    const tell = () => socket.watchBeds([...new Set([...watchers.values()].flat())]);
    watchers.set(mine, joined ? joined.split("\n") : []);
    tell();
    return () => {
      watchers.delete(mine);
      tell();
    };
  }, [socket, joined]);
}

/** A person's or bed's words in the page's language. */
export function patientName(bed: Bed, language: "zh" | "en"): string {
  if (!bed.patient) return "";
  return language === "en" ? bed.patient.name_en || bed.patient.name : bed.patient.name;
}

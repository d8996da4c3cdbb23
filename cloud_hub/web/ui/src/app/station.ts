/** What the bedside tells anybody in front of it: which site this is, its link, and whom to ring. */
import { useQuery } from "@tanstack/react-query";
import type { Site, Text2 } from "../contract";
import { api } from "./api";

/** Answer of the bedside's open `GET /api/v1/station`; it names no person. */
export interface Station {
  site: string;
  name: Text2;
  demo: boolean;
  link: Site["link"];
  /** The site's own number, proposed as callback. */
  phone: string;
  /** Duty number of the hub. */
  hub_phone: string;
  /** Beds with a high alarm. */
  high_alarms: string[];
}

const ASK_EVERY_MS = 5_000;

export function useStation(isAsked = true): Partial<Station> | undefined {
  const station = useQuery({
    queryKey: ["station"],
    queryFn: () => api.get<Partial<Station>>("/station"),
    enabled: isAsked,
    refetchInterval: ASK_EVERY_MS,
  });
  return station.data;
}

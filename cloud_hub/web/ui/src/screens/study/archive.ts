/** The hospital's archive of images: asking what it has of a person, fetching a study, and how far that is. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { api } from "../../app/api";
import type { ArchivedStudies, ArchivedStudy, ArchiveFetch } from "../../contract";
import type { Key } from "../../i18n";
import { mayRead } from "./studies";

const ASK_EVERY_MS = 2_000;
const ASK_WAITING_MOST_MS = 6_000;
const REASONS: ReadonlySet<string> = new Set([
  "archive-away",
  "archive-shut",
  "archive-unclear",
  "archive-of-another",
  "not-found",
  "store-failure",
]);

/** Whether somebody of this role fetches studies: whoever plans care, as with what is read. */
export const mayFetch = mayRead;

function pathOf(personId: string): string {
  return `/persons/${encodeURIComponent(personId)}/archive`;
}

/** What the archive has of a person; asked by `refetch` alone, and still there when one comes back from a study. */
export function useArchive(personId: string) {
  return useQuery({
    queryKey: ["archive", personId],
    queryFn: () => api.get<ArchivedStudies>(pathOf(personId)),
    enabled: false,
    retry: false,
  });
}

export function isUnderWay(fetch: ArchiveFetch): boolean {
  return fetch.state === "waiting" || fetch.state === "fetching";
}

/** How far the fetch of a study is, and what begins it. */
export function useFetch(personId: string, study: ArchivedStudy) {
  const queries = useQueryClient();
  const path = `${pathOf(personId)}/${study.study_uid}/fetch`;
  const key = ["archive-fetch", personId, study.study_uid];
  const asked = useQuery({
    queryKey: key,
    queryFn: () => api.get<ArchiveFetch>(path),
    initialData: study.fetch,
    staleTime: Infinity,
    refetchInterval: ({ state: { data, dataUpdateCount } }) => {
      if (data?.state === "fetching") return ASK_EVERY_MS;
      // Of many that wait each is asked about ever less often: a session has so many requests a minute.
      return data?.state === "waiting" && Math.min(ASK_WAITING_MOST_MS, 1_000 * (1 + dataUpdateCount));
    },
  });
  const begin = useMutation({
    mutationFn: () => api.post<ArchiveFetch>(path),
    onSuccess: (found) => queries.setQueryData(key, found),
  });
  const { state } = asked.data;
  const isHere = asked.data.images > 0;
  useEffect(() => {
    // The list of studies has it with its first image, and whole with its last.
    if (isHere) void queries.invalidateQueries({ queryKey: ["studies"] });
  }, [queries, isHere, state]);
  return { fetch: asked.data, begin, error: begin.error ?? asked.error };
}

/** Why a fetch ended, as words. */
export function reasonKey(reason: string): Key {
  return (REASONS.has(reason) ? `archive.reason.${reason}` : "archive.reason.other") as Key;
}

/** The red banner of a record that was opened in an emergency: since why, until when, and how to close it. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api } from "../../app/api";
import { useLive, useNow, useSession } from "../../app/live";
import type { BrokenList } from "../../contract";
import { useWords } from "../../i18n";
import { shortMoment, timeOfDay } from "../../live/clock";
import { Icon } from "../../state/Icon";
import "./glass.css";

const BREAKERS = new Set(["physician", "nurse", "clinic"]);
/** Who is told of an opening: the doctors of the person's site, and the auditors as privacy officers. */
const TOLD = new Set(["clinic", "auditor"]);
const ASK_EVERY_MS = 15_000;

/** What this person has open now; empty for roles that open nothing. */
export function useBroken() {
  const { session } = useSession();
  const face = useLive((state) => state.face);
  const isBreaker = session.state === "in" && BREAKERS.has(session.me.role);
  const { data } = useQuery({
    queryKey: ["broken"],
    queryFn: () => api.get<BrokenList>("/break-glass"),
    enabled: isBreaker && face === "hub",
    refetchInterval: ASK_EVERY_MS,
  });
  const now = useNow();
  return (data?.broken ?? []).filter((one) => one.until_ms > now);
}

/** Openings of which this person is told and which they have not seen yet. */
export function useNotices() {
  const { session } = useSession();
  const face = useLive((state) => state.face);
  const { data } = useQuery({
    queryKey: ["glass-notices"],
    queryFn: () => api.get<BrokenList>("/break-glass/notices"),
    enabled: session.state === "in" && face === "hub" && TOLD.has(session.me.role),
    refetchInterval: ASK_EVERY_MS,
  });
  return data?.broken ?? [];
}

/** What those who answer for a person and the auditors are told: who opened the record, when and why. */
export function Notices() {
  const { t } = useWords();
  const queries = useQueryClient();
  const now = useNow();
  const seen = (id: string) =>
    void api.post(`/break-glass/${id}/seen`).finally(() => void queries.invalidateQueries({ queryKey: ["glass-notices"] }));
  return (
    <ul className="reviews">
      {useNotices().map((one) => (
        <li key={one.break_id} data-testid="glass-notice">
          <p>
            <b>{one.username}</b> ({one.role}) · {one.person_id} · {shortMoment(one.opened_ms, now)}
          </p>
          <p>
            {t(`glass.${one.reason_code as "other"}`)}: {one.text}
          </p>
          <button type="button" className="btn quiet" onClick={() => seen(one.break_id)}>
            {t("glass.seen")}
          </button>
        </li>
      ))}
    </ul>
  );
}

export function GlassBanner({ personId }: { personId: string }) {
  const { t } = useWords();
  const queries = useQueryClient();
  const broken = useBroken().find((one) => one.person_id === personId);
  if (!broken) return null;
  const close = () =>
    void api
      .post(`/break-glass/${broken.break_id}/close`)
      .finally(() => void queries.invalidateQueries({ queryKey: ["broken"] }));
  return (
    <div className="glass-banner" role="alert" data-testid="glass-banner">
      <Icon name="warn" /> {t("glass.open", { time: timeOfDay(broken.until_ms) })}
      <span className="sp" />
      <button type="button" className="btn" onClick={close}>
        {t("glass.close")}
      </button>
    </div>
  );
}

/** Where one is signed in, and the end of it. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api } from "../../app/api";
import type { OwnSession, OwnSessions as Listed } from "../../contract";
import { useWords } from "../../i18n";
import { exact } from "../../live/clock";
import { Fault } from "../../state/Small";
import { useStep } from "./PasskeyButtons";

function Row({ one, onEnd, busy }: { one: OwnSession; onEnd: () => void; busy: boolean }) {
  const { t } = useWords();
  return (
    <li data-testid="session-row">
      <strong>{t(one.is_this ? "own.this" : one.is_program ? "own.program" : "own.page")}</strong>
      <span className="t2 small">
        {one.machine && <span data-testid="session-machine">{one.machine}; </span>}
        {one.scopes.length > 0 && <code>{one.scopes.join(" ")}</code>}{" "}
        {t("own.since", { when: exact(one.made_ms) })}, {t("own.used", { when: exact(one.used_ms) })}
      </span>
      {!one.is_this && (
        <button type="button" className="btn quiet" disabled={busy} data-testid="session-end" onClick={onEnd}>
          {t("own.end")}
        </button>
      )}
    </li>
  );
}

export function OwnSessions() {
  const { t } = useWords();
  const queries = useQueryClient();
  const { busy, error, run } = useStep();
  const { data } = useQuery({ queryKey: ["own-sessions"], queryFn: () => api.get<Listed>("/account/sessions") });
  const end = (path: string) =>
    run(async () => {
      await api.delete(path);
      await queries.invalidateQueries({ queryKey: ["own-sessions"] });
    });
  if (!data) return null;
  return (
    <section aria-labelledby="own-sessions">
      <h2 id="own-sessions">{t("own.sessions")}</h2>
      <ul>
        {data.sessions.map((one) => (
          <Row key={one.session_id} one={one} busy={busy} onEnd={() => end(`/account/sessions/${one.session_id}`)} />
        ))}
      </ul>
      {data.sessions.length > 1 && (
        <button type="button" className="btn" disabled={busy} data-testid="sessions-end" onClick={() => end("/account/sessions")}>
          {t("own.endAll")}
        </button>
      )}
      <Fault error={error} />
    </section>
  );
}

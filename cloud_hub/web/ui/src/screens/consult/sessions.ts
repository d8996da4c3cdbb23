/** The consults this page takes part in; they live on while the person looks at another screen. */
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { useLive, useSession } from "../../app/live";
import { ConsultSession } from "../../consult/session";
import type { SessionState } from "../../consult/session";
import type { Signal } from "../../consult/signalling";
import type { Consult } from "../../contract";
import type { LiveSocket } from "../../live/socket";
import type { LiveStore } from "../../live/store";

type Side = "hub" | "bedside";

interface Held {
  session: ConsultSession;
  release: () => void;
}

/** Opens one session a consult and gives every signal of the socket to its session. */
export class ConsultSessions {
  private readonly held = new Map<string, Held>();
  private readonly listeners = new Set<() => void>();
  private changes = 0;

  constructor(
    private readonly store: LiveStore,
    private readonly socket: LiveSocket,
    readonly side: Side,
  ) {}

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Counts joins and leaves, so that a page can tell that one happened. */
  count = (): number => this.changes;

  get(consultId: string): ConsultSession | undefined {
    return this.held.get(consultId)?.session;
  }

  /** Join a consult; joining twice gives the same session. */
  join(consult: Consult): ConsultSession {
    const known = this.held.get(consult.consult_id);
    if (known) return known.session;
    const session = new ConsultSession({
      side: this.side,
      consultId: consult.consult_id,
      bedKey: consult.bed_key,
      wantVideo: this.side === "hub",
      send: (signal: Signal) => void this.socket.send({ type: "signal", signal }),
    });
    const release = this.store.onSignal((signal) => session.receive(signal as Signal));
    this.held.set(consult.consult_id, { session, release });
    void session.start(consult.state === "active");
    this.tell();
    return session;
  }

  /** Say no to a call: the person takes the telephone. */
  decline(consult: Consult): void {
    this.socket.send({
      type: "signal",
      signal: {
        consult_id: consult.consult_id,
        from_peer: this.side,
        to_peer: this.side === "hub" ? "camera" : "hub",
        kind: "decline",
        body: "{}",
        bed_key: consult.bed_key,
        caller: null,
      },
    });
  }

  /** Follow what the server says of a consult. */
  follow(consult: Consult): void {
    const session = this.get(consult.consult_id);
    if (consult.state === "active") session?.activate();
    if (consult.state === "ended" || consult.state === "declined") this.leave(consult.consult_id);
  }

  leave(consultId: string): void {
    const held = this.held.get(consultId);
    if (!held) return;
    held.release();
    if (!held.session.state.ended) held.session.close();
    this.held.delete(consultId);
    this.tell();
  }

  private tell(): void {
    this.changes += 1;
    for (const listener of this.listeners) listener();
  }
}

const bySocket = new WeakMap<LiveSocket, ConsultSessions>();

export function useConsultSessions(): ConsultSessions {
  const { store, socket } = useSession();
  const side = useLive((state) => state.face);
  return useMemo(() => {
    let sessions = bySocket.get(socket);
    // Which face this is, only the first snapshot tells.
    if (!sessions || sessions.side !== side) {
      sessions = new ConsultSessions(store, socket, side);
      bySocket.set(socket, sessions);
    }
    return sessions;
  }, [store, socket, side]);
}

/** Keep the sessions in step with the server's consults; used once in each bundle. */
export function useFollowConsults(): void {
  const sessions = useConsultSessions();
  const consults = useLive((state) => state.consults);
  useEffect(() => {
    for (const consult of Object.values(consults)) sessions.follow(consult);
  }, [sessions, consults]);
}

const NOTHING = () => () => undefined;

/** A session's state, renewed with each change; null without a session. */
export function useSessionState(session: ConsultSession | undefined): SessionState | null {
  const subscribe = useMemo(
    () => (session ? (listener: () => void) => session.subscribe(() => listener()) : NOTHING),
    [session],
  );
  return useSyncExternalStore(subscribe, () => session?.state ?? null);
}

/** The session of one consult while it is held. */
export function useHeldSession(consultId: string | undefined): ConsultSession | undefined {
  const sessions = useConsultSessions();
  return useSyncExternalStore(sessions.subscribe, () => (consultId ? sessions.get(consultId) : undefined));
}

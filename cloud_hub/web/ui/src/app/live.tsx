/** The page's session and live state, given to every component. */
import { useQueryClient } from "@tanstack/react-query";
import { createContext, useCallback, useContext, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { ReactNode } from "react";
import type { Me } from "../contract";
import { serverNow } from "../live/clock";
import { LiveSocket } from "../live/socket";
import { LiveStore } from "../live/store";
import type { LiveState } from "../live/store";
import { api, Refused, setCsrfToken, whenSignedOut } from "./api";

export type Session = { state: "asking" } | { state: "out"; hubGone: boolean } | { state: "in"; me: Me };

interface Live {
  face: "hub" | "bedside";
  store: LiveStore;
  socket: LiveSocket;
  session: Session;
  signIn: (username: string, password: string, code: string) => Promise<void>;
  /** Take over a session that replaced this page's. */
  enter: (me: Me) => void;
  signOut: () => Promise<void>;
  /** Why the last try to sign out ended nothing; null where none failed. */
  signOutError: unknown;
}

const LiveContext = createContext<Live | null>(null);

export function LiveProvider({ face, children }: { face: "hub" | "bedside"; children: ReactNode }) {
  const [session, setSession] = useState<Session>({ state: "asking" });
  const [signOutError, setSignOutError] = useState<unknown>(null);
  const enter = useCallback((me: Me) => {
    setCsrfToken(me.csrf_token);
    setSession({ state: "in", me });
  }, []);
  const queries = useQueryClient();
  const leave = useCallback(
    (hubGone: boolean) => {
      // What the next person on this page may see is asked for anew.
      queries.clear();
      setSignOutError(null);
      setSession({ state: "out", hubGone });
    },
    [queries],
  );
  const parts = useMemo(() => {
    const store = new LiveStore();
    // A 401 here signs out through `whenSignedOut`; any other failure is left to the reconnection.
    const socket = new LiveSocket(store, () => void api.session().then(enter, () => undefined));
    return { store, socket };
  }, [enter]);

  useEffect(() => {
    whenSignedOut(() => leave(false));
    api.session().then(enter, (error: unknown) => leave(error instanceof Refused && error.status === 0));
  }, [enter, leave]);

  const isIn = session.state === "in" && !session.me.must_enrol && !session.me.must_change;
  useEffect(() => {
    if (!isIn) return undefined;
    parts.socket.start();
    return () => {
      parts.socket.stop();
      parts.store.reset();
    };
  }, [isIn, parts]);

  const value = useMemo<Live>(
    () => ({
      ...parts,
      face,
      session,
      signIn: async (username, password, code) => enter(await api.signIn(username, password, code)),
      enter,
      signOut: async () => {
        if (session.state !== "in") return;
        setSignOutError(null);
        try {
          const elsewhere = await endSession(face, session.me.username);
          leave(false);
          if (elsewhere) location.assign(elsewhere);
        } catch (error) {
          // The session goes on at the server, and must not look ended; a 401 says that it had ended before.
          if (!(error instanceof Refused) || error.status !== 401) setSignOutError(error);
        }
      },
      signOutError,
    }),
    [parts, session, signOutError, enter, leave, face],
  );
  return <LiveContext.Provider value={value}>{children}</LiveContext.Provider>;
}

/** End the session at the server; returns where to sign out too, if anywhere. */
async function endSession(face: Live["face"], username: string): Promise<string | void> {
  const end = (): Promise<string | void> => (face === "hub" ? api.leaveHub() : api.signOut());
  try {
    return await end();
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 403) throw error;
    // Another tab has replaced the session, and with it the token that this page names.
    const me = await api.session();
    if (me.username !== username) throw error;
    setCsrfToken(me.csrf_token);
    return end();
  }
}

export function useSession(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("LiveProvider is missing");
  return live;
}

/** A part of the live state; the selector must return the same object while nothing changed. */
export function useLive<T>(select: (state: LiveState) => T): T {
  const { store } = useSession();
  return useSyncExternalStore(store.subscribe, () => select(store.get()));
}

const SECOND_MS = 1000;
let shownNow = serverNow();
const nowListeners = new Set<() => void>();
let nowTimer = 0;

function subscribeNow(listener: () => void): () => void {
  nowListeners.add(listener);
  if (nowListeners.size === 1) {
    shownNow = serverNow();
    nowTimer = window.setInterval(() => {
      shownNow = serverNow();
      for (const each of nowListeners) each();
    }, SECOND_MS);
  }
  return () => {
    nowListeners.delete(listener);
    if (nowListeners.size === 0) window.clearInterval(nowTimer);
  };
}

/** The server's time, renewed each second; one timer serves all. */
export function useNow(): number {
  return useSyncExternalStore(subscribeNow, () => shownNow);
}

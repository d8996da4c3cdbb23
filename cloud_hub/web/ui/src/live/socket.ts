/** Keeps one WebSocket to the server: reconnects with back-off, notices silence, repeats what it watches. */
import type { PageMessage, ServerMessage } from "../contract";
import type { LiveStore } from "./store";

/** The server ticks every 2 s; a feed is lost after three missed ones. */
export const SILENT_MS = 6_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8_000;

/** Wait before attempt n (from 0), doubled each time, with up to a fifth of jitter. */
export function backOffMs(attempt: number, random: number): number {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt) * (0.8 + 0.2 * random);
}

export class LiveSocket {
  private socket: WebSocket | null = null;
  private attempt = 0;
  private timer = 0;
  private watchdog = 0;
  private watched: string[] = [];
  private stopped = true;

  constructor(
    private readonly store: LiveStore,
    /** Called when the socket closed unasked: a browser cannot see why, so the page asks for its session. */
    private readonly onClosed: () => void,
  ) {}

  start(): void {
    this.stopped = false;
    this.connect();
    this.watchdog = window.setInterval(() => this.watch(), 1_000);
  }

  stop(): void {
    this.stopped = true;
    window.clearTimeout(this.timer);
    window.clearInterval(this.watchdog);
    this.socket?.close();
    this.socket = null;
  }

  send(message: PageMessage): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Ask for the waves of these beds from now on, also after a reconnection. */
  watchBeds(bedKeys: string[]): void {
    this.watched = bedKeys.slice(0, 64);
    this.send({ type: "watch", bed_keys: this.watched });
  }

  private watch(): void {
    const silentMs = Date.now() - this.store.get().heardAt;
    if (this.store.get().feed !== "live" || silentMs <= SILENT_MS) return;
    this.store.lose(Date.now());
    this.socket?.close();
  }

  private connect(): void {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/v1/live`);
    this.socket = socket;
    socket.onopen = () => {
      this.attempt = 0;
      if (this.watched.length > 0) this.watchBeds(this.watched);
    };
    socket.onmessage = (event) => this.store.take(JSON.parse(String(event.data)) as ServerMessage, Date.now());
    socket.onclose = () => this.closed(socket);
  }

  private closed(socket: WebSocket): void {
    if (this.socket !== socket || this.stopped) return;
    this.onClosed();
    this.timer = window.setTimeout(() => this.connect(), backOffMs(this.attempt, Math.random()));
    this.attempt += 1;
  }
}

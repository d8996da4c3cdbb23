/** What this page knows: the newest snapshot with every message since folded into it. */
import type { Alarm, Bed, Consult, Me, Reading, Referral, ServerMessage, SignalView, Site, Snapshot } from "../contract";
import { takeServerTime } from "./clock";
import { WaveStore } from "./waves";

export type Feed = "starting" | "live" | "lost";

export interface LiveState {
  feed: Feed;
  /** When the last message of any kind came, ms on this page's clock. */
  heardAt: number;
  lostSince: number | null;
  face: "hub" | "bedside";
  demo: boolean;
  takesImages: boolean;
  me: Me | null;
  sites: Record<string, Site>;
  beds: Record<string, Bed>;
  bedOrder: string[];
  alarms: Record<string, Alarm>;
  referrals: Record<string, Referral>;
  consults: Record<string, Consult>;
}

export const EMPTY: LiveState = {
  feed: "starting",
  heardAt: 0,
  lostSince: null,
  face: "hub",
  demo: false,
  takesImages: false,
  me: null,
  sites: {},
  beds: {},
  bedOrder: [],
  alarms: {},
  referrals: {},
  consults: {},
};

function byKey<T>(rows: T[], key: (row: T) => string): Record<string, T> {
  return Object.fromEntries(rows.map((row) => [key(row), row]));
}

function fromSnapshot(state: LiveState, snapshot: Snapshot): LiveState {
  return {
    ...state,
    face: snapshot.face,
    demo: snapshot.demo,
    takesImages: snapshot.takes_images,
    me: snapshot.me,
    sites: byKey(snapshot.sites, (site) => site.site),
    beds: byKey(snapshot.beds, (bed) => bed.key),
    bedOrder: snapshot.beds.map((bed) => bed.key),
    alarms: byKey(snapshot.alarms, (alarm) => alarm.alarm_id),
    referrals: byKey(snapshot.referrals, (referral) => referral.referral_id),
    consults: byKey(snapshot.consults, (consult) => consult.consult_id),
  };
}

/** New readings replace the older ones of the same measure; a late one never replaces a newer one. */
export function mergeReadings(old: Reading[], fresh: Reading[]): Reading[] {
  const merged = new Map(old.map((reading) => [reading.measure, reading]));
  for (const reading of fresh) {
    const known = merged.get(reading.measure);
    if (!known || reading.measured_at_ms >= known.measured_at_ms) merged.set(reading.measure, reading);
  }
  return [...merged.values()];
}

/** Fold one message of the server into the state; of waves only which there are, of signals nothing. */
export function fold(state: LiveState, message: ServerMessage): LiveState {
  switch (message.type) {
    case "snapshot":
      return fromSnapshot(state, message);
    case "bed": {
      const { bed } = message;
      const bedOrder = state.beds[bed.key] ? state.bedOrder : [...state.bedOrder, bed.key];
      return { ...state, beds: { ...state.beds, [bed.key]: bed }, bedOrder };
    }
    case "readings": {
      const bed = state.beds[message.bed_key];
      if (!bed) return state;
      const readings = mergeReadings(bed.readings, message.readings);
      const changed = { ...bed, readings, news2: message.news2 ?? bed.news2, not_live: message.not_live };
      return { ...state, beds: { ...state.beds, [bed.key]: changed } };
    }
    case "wave": {
      const bed = state.beds[message.bed_key];
      const fresh = message.channels.map((channel) => channel.measure).filter((measure) => !bed?.waves.includes(measure));
      // A monitor may begin to send waves long after the snapshot; the second and later stretches change nothing.
      if (!bed || fresh.length === 0) return state;
      return { ...state, beds: { ...state.beds, [bed.key]: { ...bed, waves: [...bed.waves, ...fresh] } } };
    }
    case "alarm":
      return { ...state, alarms: { ...state.alarms, [message.alarm.alarm_id]: message.alarm } };
    case "site":
      return { ...state, sites: { ...state.sites, [message.site.site]: message.site } };
    case "referral":
      return { ...state, referrals: { ...state.referrals, [message.referral.referral_id]: message.referral } };
    case "consult":
      return { ...state, consults: { ...state.consults, [message.consult.consult_id]: message.consult } };
    default:
      return state;
  }
}

type Listener = () => void;
export type SignalListener = (signal: SignalView) => void;

/** The page's one store: folded state, wave memory, and signals passed on as they come. */
export class LiveStore {
  readonly waves = new WaveStore();
  private state: LiveState = EMPTY;
  private readonly listeners = new Set<Listener>();
  private readonly signalListeners = new Set<SignalListener>();

  get = (): LiveState => this.state;

  subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  onSignal(listener: SignalListener): () => void {
    this.signalListeners.add(listener);
    return () => this.signalListeners.delete(listener);
  }

  set(change: Partial<LiveState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  /** Take one message; a feed that was lost lives again with the first one. */
  take(message: ServerMessage, nowMs: number): void {
    if (message.type === "snapshot" || message.type === "tick") {
      takeServerTime(message.server_time_ms, message.type === "snapshot", nowMs);
    }
    if (message.type === "wave") this.waves.put(message.bed_key, message.channels, nowMs);
    if (message.type === "signal") for (const listener of this.signalListeners) listener(message.signal);
    const folded = fold(this.state, message);
    if (folded === this.state && this.state.feed === "live") {
      this.state.heardAt = nowMs;
      return;
    }
    this.set({ ...folded, heardAt: nowMs, feed: "live", lostSince: null });
  }

  lose(nowMs: number): void {
    if (this.state.feed === "live") this.set({ feed: "lost", lostSince: this.state.heardAt || nowMs });
  }

  reset(): void {
    this.waves.clear();
    this.set({ ...EMPTY });
  }
}

/**
 * What two peers of a consult say to each other, as `telemed.screen.SignalView` sends it over the live socket.
 *
 * Framework-free: both bundles use it, and the browser tests bundle it alone.
 */

export type Peer = "hub" | "camera" | "bedside";
export type SignalKind =
  | "invite"
  | "ring"
  | "accept"
  | "decline"
  | "offer"
  | "answer"
  | "candidate"
  | "bye"
  | "state";

/** A text in both languages, as the server's `Text2`. */
export interface Text2 {
  zh: string;
  en: string;
}

/** One step of signalling; `body` is JSON text, at most 64 KiB. */
export interface Signal {
  consult_id: string;
  from_peer: Peer;
  to_peer: Peer;
  kind: SignalKind;
  body: string;
  bed_key: string;
  caller: Text2 | null;
}

/** Body of `offer` and `answer`. */
export interface DescriptionBody {
  sdp: string;
}

/** Rungs of the ladder (decision 35), best first; the telephone number is always on the screen beside it. */
export const RUNGS = ["1080p", "720p", "480p", "240p", "240p5", "stills", "recorded"] as const;
export type Rung = (typeof RUNGS)[number];

/** Body of `state` from the camera: what the edge can send at present, and why not more. */
export interface CameraReport {
  camera: "off" | "opening" | "open" | "failed" | "restarting";
  reason: Text2 | null;
  rung: Rung | null;
  /** Best rung that this node may climb to; what is above it was never there to lose. */
  top: Rung | null;
  why: Text2 | null;
  fps: number;
  microphone: boolean;
}

/** Return the body of a signal, or null where it is no JSON object. */
export function readBody<T>(signal: Signal): T | null {
  try {
    const value: unknown = JSON.parse(signal.body);
    return typeof value === "object" && value !== null ? (value as T) : null;
  } catch {
    return null;
  }
}

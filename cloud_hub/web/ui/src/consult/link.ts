/** One connection of a consult to one peer: offer, answer, candidates, its own timer and a new try after a drop. */

import type { Peer, Signal, SignalKind } from "./signalling";
import { readBody } from "./signalling";

export type LinkState = "off" | "connecting" | "connected" | "lost" | "failed";

interface Description {
  sdp: string;
  attempt: number;
}

interface CandidateBody {
  candidate: RTCIceCandidateInit;
  attempt: number;
}

export interface LinkOptions {
  peer: Peer;
  iceServers: RTCIceServer[];
  say(kind: SignalKind, body: object): void;
  /** Add what this side sends or wants to a fresh connection; called before an offer is made. */
  prepare(connection: RTCPeerConnection): void;
  /** Fill in this side's tracks after the other's offer has been taken. */
  complete(connection: RTCPeerConnection): void | Promise<void>;
  onTrack(event: RTCTrackEvent): void;
  onState(state: LinkState): void;
}

const GATHER_LIMIT_MS = 1500;
const CONNECT_LIMIT_MS = 12_000;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15_000;

export class PeerLink {
  state: LinkState = "off";
  connection: RTCPeerConnection | null = null;
  private attempt = 0;
  private retryMs = FIRST_RETRY_MS;
  private connectTimer: ReturnType<typeof setTimeout> | undefined;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private early: RTCIceCandidateInit[] = [];
  private isOfferer = false;
  private readonly options: LinkOptions;

  constructor(options: LinkOptions) {
    this.options = options;
  }

  /** Offer a fresh connection, giving up any earlier one. */
  async offer(): Promise<void> {
    this.isOfferer = true;
    const connection = this.fresh(this.attempt + 1);
    this.options.prepare(connection);
    await connection.setLocalDescription(await connection.createOffer());
    await this.tell("offer", connection);
  }

  /** Take one step from the peer; steps of an earlier attempt are dropped. */
  async receive(signal: Signal): Promise<void> {
    if (signal.kind === "offer") {
      await this.answer(readBody<Description>(signal));
    } else if (signal.kind === "answer") {
      await this.takeAnswer(readBody<Description>(signal));
    } else if (signal.kind === "candidate") {
      await this.takeCandidate(readBody<CandidateBody>(signal));
    }
  }

  close(): void {
    this.drop();
    clearTimeout(this.retryTimer);
    this.isOfferer = false;
    this.enter("off");
  }

  private async answer(body: Description | null): Promise<void> {
    if (body === null) return;
    const connection = this.fresh(body.attempt);
    await connection.setRemoteDescription({ type: "offer", sdp: body.sdp });
    await this.options.complete(connection);
    await this.flushEarly(connection);
    await connection.setLocalDescription(await connection.createAnswer());
    await this.tell("answer", connection);
  }

  private async takeAnswer(body: Description | null): Promise<void> {
    const connection = this.connection;
    if (body === null || connection === null || body.attempt !== this.attempt) return;
    if (connection.signalingState !== "have-local-offer") return;
    await connection.setRemoteDescription({ type: "answer", sdp: body.sdp });
    await this.flushEarly(connection);
  }

  private async takeCandidate(body: CandidateBody | null): Promise<void> {
    const connection = this.connection;
    if (body === null || connection === null || body.attempt !== this.attempt) return;
    if (connection.remoteDescription === null) {
      this.early.push(body.candidate);
    } else {
      await connection.addIceCandidate(body.candidate);
    }
  }

  private async flushEarly(connection: RTCPeerConnection): Promise<void> {
    for (const candidate of this.early.splice(0)) await connection.addIceCandidate(candidate);
  }

  private fresh(attempt: number): RTCPeerConnection {
    this.drop();
    clearTimeout(this.retryTimer);
    this.attempt = attempt;
    const connection = new RTCPeerConnection({ iceServers: this.options.iceServers });
    this.connection = connection;
    connection.ontrack = (event) => this.options.onTrack(event);
    connection.onconnectionstatechange = () => this.follow(connection);
    this.connectTimer = setTimeout(() => this.fail(connection), CONNECT_LIMIT_MS);
    this.enter("connecting");
    return connection;
  }

  /** Send the description once candidates are gathered; late ones follow one by one. */
  private async tell(kind: "offer" | "answer", connection: RTCPeerConnection): Promise<void> {
    const attempt = this.attempt;
    await gathered(connection, GATHER_LIMIT_MS);
    if (this.connection !== connection) return;
    connection.onicecandidate = (event) => {
      if (event.candidate !== null) {
        this.options.say("candidate", { candidate: event.candidate.toJSON(), attempt });
      }
    };
    this.options.say(kind, { sdp: connection.localDescription?.sdp ?? "", attempt });
  }

  private follow(connection: RTCPeerConnection): void {
    if (this.connection !== connection) return;
    if (connection.connectionState === "connected") {
      clearTimeout(this.connectTimer);
      this.retryMs = FIRST_RETRY_MS;
      this.enter("connected");
    } else if (connection.connectionState === "disconnected") {
      this.enter("lost");
    } else if (connection.connectionState === "failed") {
      this.fail(connection);
    }
  }

  private fail(connection: RTCPeerConnection): void {
    if (this.connection !== connection) return;
    this.drop();
    this.enter("failed");
    if (!this.isOfferer) return;
    this.retryTimer = setTimeout(() => void this.offer().catch(() => this.enter("failed")), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
  }

  private drop(): void {
    clearTimeout(this.connectTimer);
    const connection = this.connection;
    this.connection = null;
    this.early = [];
    if (connection === null) return;
    connection.ontrack = connection.onicecandidate = connection.onconnectionstatechange = null;
    connection.close();
  }

  private enter(state: LinkState): void {
    if (this.state === state) return;
    this.state = state;
    this.options.onState(state);
  }
}

function gathered(connection: RTCPeerConnection, limitMs: number): Promise<void> {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limitMs);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}

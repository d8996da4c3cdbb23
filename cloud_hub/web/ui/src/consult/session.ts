/**
 * A consult as one page lives it, on the hub and at the bedside (decisions 7 and 26).
 *
 * hub:      two connections: to the edge's camera (picture, vitals, its microphone where no bedside page is open)
 *           and to the bedside page (voice both ways, the physician's picture).  The hub always offers.
 * bedside:  one connection, answered.
 *
 * Use:  const session = new ConsultSession({ side, consultId, bedKey, send, wantVideo });
 *       session.subscribe(render); session.attachRemote(video); await session.start(consult.state === "active");
 *       session.receive(signal) for every `signal` of the socket that has this consult_id;
 *       session.activate() when the consult becomes active; session.close() when it is over.
 */

import type { LinkState } from "./link";
import { PeerLink } from "./link";
import type { LocalMedia } from "./media";
import { openLocalMedia } from "./media";
import type { CameraReport, Peer, Signal, SignalKind, Text2 } from "./signalling";
import { readBody } from "./signalling";
import type { SessionStats } from "./stats";
import { NO_STATS, readStats } from "./stats";
import { VitalsInStep } from "./vitals";
import type { StepVitals } from "./vitals";

export interface SessionOptions {
  side: "hub" | "bedside";
  consultId: string;
  bedKey: string;
  /** Puts a signal on the live socket as `{type: "signal", signal}`. */
  send(signal: Signal): void;
  /** Ask for this person's camera too; without it, or where it fails, only the microphone is used. */
  wantVideo?: boolean;
  iceServers?: RTCIceServer[];
}

export interface SessionState {
  camera: LinkState;
  bedside: LinkState;
  /** What the edge says of its camera and of the ladder; null until it has spoken. */
  report: CameraReport | null;
  /** Where the voice that is heard comes from. */
  voice: "none" | "bedside" | "node";
  localAudio: boolean;
  localVideo: boolean;
  /** Why this page has no microphone or camera; null where it has what it asked for. */
  localReason: Text2 | null;
  muted: boolean;
  /** The browser wants a tap before it plays sound: offer a button that calls `resumeSound`. */
  soundBlocked: boolean;
  /** Why the other side refused a step, e.g. not a member; null otherwise. */
  refusal: Text2 | null;
  ended: boolean;
  stats: SessionStats;
}

const STATS_EVERY_MS = 1000;

export class ConsultSession {
  state: SessionState = {
    camera: "off",
    bedside: "off",
    report: null,
    voice: "none",
    localAudio: false,
    localVideo: false,
    localReason: null,
    muted: false,
    soundBlocked: false,
    refusal: null,
    ended: false,
    stats: NO_STATS,
  };
  /** The far side's picture: the camera's on the hub, the physician's at the bedside. */
  readonly remotePicture = new MediaStream();
  private readonly listeners = new Set<(state: SessionState) => void>();
  private readonly vitals = new VitalsInStep();
  private readonly camera: PeerLink;
  private readonly talk: PeerLink;
  private readonly voices = new Map<Peer, MediaStreamTrack>();
  private readonly sound: HTMLAudioElement;
  private media: Promise<LocalMedia> = Promise.resolve({ stream: new MediaStream(), reason: null });
  private local = new MediaStream();
  private remoteElement: HTMLVideoElement | null = null;
  private localElement: HTMLVideoElement | null = null;
  private poll: ReturnType<typeof setInterval> | undefined;
  private active = false;

  private readonly options: SessionOptions;

  constructor(options: SessionOptions) {
    this.options = options;
    this.sound = document.createElement("audio");
    this.sound.autoplay = true;
    this.camera = this.makeLink("camera");
    this.talk = this.makeLink(options.side === "hub" ? "bedside" : "hub");
  }

  /** Call `listener` now and after every change; returns how to stop. */
  subscribe(listener: (state: SessionState) => void): () => void {
    this.listeners.add(listener);
    listener(this.state);
    return () => this.listeners.delete(listener);
  }

  /** Hand on the vitals of the data channel, each when the picture of its moment is on the screen. */
  onVitals(listener: (vitals: StepVitals) => void): () => void {
    return this.vitals.subscribe(listener);
  }

  /**
   * Open microphone and camera of this page and join.
   *
   * At the bedside this is the person's accept: it tells the hub at once, before the microphone is open.
   * On the hub nothing is sent before somebody accepted: pass true where the consult is active already.
   */
  async start(active: boolean): Promise<void> {
    this.media = openLocalMedia(this.options.wantVideo ?? false);
    this.poll = setInterval(() => void this.refreshStats(), STATS_EVERY_MS);
    if (this.options.side === "bedside") {
      this.say("hub", "accept", {});
    }
    const media = await this.media;
    this.local = media.stream;
    this.applyMute();
    this.show(this.localElement, this.local);
    this.change({
      localAudio: media.stream.getAudioTracks().length > 0,
      localVideo: media.stream.getVideoTracks().length > 0,
      localReason: media.reason,
    });
    if (active) this.activate();
  }

  /** Hub: the consult was accepted; media may flow.  Calling it twice is harmless. */
  activate(): void {
    if (this.options.side !== "hub" || this.active || this.state.ended) return;
    this.active = true;
    this.offerTo(this.camera);
    // A bedside page that has joined already answers with accept; one that has not stays silent.
    this.say("bedside", "invite", {});
  }

  /** Take one signal of this consult from the live socket. */
  receive(signal: Signal): void {
    if (signal.consult_id !== this.options.consultId || this.state.ended) return;
    if (signal.kind === "bye") {
      this.close();
    } else if (signal.kind === "accept") {
      this.accepted(signal.from_peer);
    } else if (signal.kind === "invite" && this.options.side === "bedside") {
      this.say("hub", "accept", {});
    } else if (signal.kind === "state") {
      this.takeReport(signal);
    } else {
      const link = signal.from_peer === "camera" ? this.camera : this.talk;
      void link.receive(signal).catch(() => this.change({}));
    }
  }

  /** Show the far side's picture in `element` and keep its data attributes current; null to let go. */
  attachRemote(element: HTMLVideoElement | null): void {
    this.remoteElement = element;
    this.show(element, this.remotePicture);
    this.vitals.watch(element);
    this.writeAttributes();
  }

  /** Show this page's own camera in `element`; null to let go. */
  attachLocal(element: HTMLVideoElement | null): void {
    this.localElement = element;
    this.show(element, this.local);
  }

  setMuted(muted: boolean): void {
    this.change({ muted });
    this.applyMute();
  }

  /** After a tap: play the sound that the browser held back. */
  resumeSound(): void {
    void this.play();
  }

  /** End the consult for everybody. */
  hangUp(): void {
    if (this.state.ended) return;
    if (this.options.side === "hub") {
      this.say("camera", "bye", {});
    } else {
      this.say("hub", "bye", {});
    }
    this.close();
  }

  stats(): SessionStats {
    return this.state.stats;
  }

  /** Let go of everything at this page, without a word to the others. */
  close(): void {
    clearInterval(this.poll);
    this.vitals.close();
    this.camera.close();
    this.talk.close();
    void this.media.then((media) => media.stream.getTracks().forEach((track) => track.stop()));
    this.sound.srcObject = null;
    this.change({ ended: true, voice: "none" });
  }

  private makeLink(peer: Peer): PeerLink {
    return new PeerLink({
      peer,
      iceServers: this.options.iceServers ?? [],
      say: (kind, body) => this.say(peer, kind, body),
      prepare: (connection) => (peer === "camera" ? this.askCamera(connection) : this.offerTalk(connection)),
      complete: (connection) => this.answerTalk(connection),
      onTrack: (event) => this.takeTrack(peer, event.track),
      onState: (state) => this.linkChanged(peer, state),
    });
  }

  private askCamera(connection: RTCPeerConnection): void {
    connection.addTransceiver("video", { direction: "recvonly" });
    connection.addTransceiver("audio", { direction: "recvonly" });
    // Late readings are worthless, so a lost one is not repeated for ever.
    this.vitals.listen(connection.createDataChannel("vitals", { ordered: true, maxPacketLifeTime: 2000 }));
  }

  private offerTalk(connection: RTCPeerConnection): void {
    const audio = this.local.getAudioTracks()[0];
    const video = this.local.getVideoTracks()[0];
    connection.addTransceiver(audio ?? "audio", { direction: audio ? "sendrecv" : "recvonly" });
    if (video) connection.addTransceiver(video, { direction: "sendonly" });
  }

  private async answerTalk(connection: RTCPeerConnection): Promise<void> {
    const media = await this.media;
    const audio = media.stream.getAudioTracks()[0];
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.receiver.track.kind === "audio" && audio) {
        transceiver.direction = "sendrecv";
        await transceiver.sender.replaceTrack(audio);
      }
    }
  }

  private accepted(peer: Peer): void {
    if (this.options.side !== "hub") return;
    if (peer === "camera" && this.active && this.state.camera !== "connected") {
      // The node started anew and was accepted there again.
      this.offerTo(this.camera);
      this.say("bedside", "invite", {});
    }
    this.activate();
    if (peer === "bedside") void this.media.then(() => this.offerTo(this.talk));
  }

  private offerTo(link: PeerLink): void {
    if (this.state.ended) return;
    void link.offer().catch(() => this.change({}));
  }

  private takeTrack(peer: Peer, track: MediaStreamTrack): void {
    if (track.kind === "video") {
      this.remotePicture.getTracks().forEach((old) => this.remotePicture.removeTrack(old));
      this.remotePicture.addTrack(track);
      this.show(this.remoteElement, this.remotePicture);
    } else {
      this.voices.set(peer, track);
      this.chooseVoice();
    }
  }

  private linkChanged(peer: Peer, state: LinkState): void {
    if (state === "off" || state === "failed") this.voices.delete(peer);
    if (peer === "camera") this.change({ camera: state });
    else this.change({ bedside: state });
    this.chooseVoice();
  }

  /** The bedside page's voice, else the node's own microphone (decision 7). */
  private chooseVoice(): void {
    const far: Peer = this.options.side === "hub" ? "bedside" : "hub";
    const bedside = this.state.bedside === "connected" ? this.voices.get(far) : undefined;
    const node = this.state.report?.microphone === true ? this.voices.get("camera") : undefined;
    const track = bedside ?? node;
    const voice = track === undefined ? "none" : track === bedside ? "bedside" : "node";
    const playing = (this.sound.srcObject as MediaStream | null)?.getAudioTracks()[0];
    if (playing !== track) {
      this.sound.srcObject = track === undefined ? null : new MediaStream([track]);
      void this.play();
    }
    if (voice !== this.state.voice) this.change({ voice });
  }

  private takeReport(signal: Signal): void {
    const body = readBody<CameraReport & { refused?: Text2; code?: string }>(signal);
    if (body === null) return;
    if (body.refused !== undefined) {
      this.change({ refusal: body.refused });
      if (body.code === "not-found") this.close();
      return;
    }
    const restarted = this.state.report?.camera === "restarting" && body.camera !== "restarting";
    this.change({ report: body });
    this.chooseVoice();
    if (restarted && this.active) this.offerTo(this.camera);
  }

  private applyMute(): void {
    this.local.getAudioTracks().forEach((track) => (track.enabled = !this.state.muted));
  }

  private show(element: HTMLVideoElement | null, stream: MediaStream): void {
    if (element === null) return;
    // The voice has an element of its own, so the picture never waits for a tap.
    element.muted = true;
    element.autoplay = true;
    element.playsInline = true;
    if (element.srcObject !== stream) element.srcObject = stream;
    void element.play().catch(() => undefined);
  }

  private async play(): Promise<void> {
    if (this.sound.srcObject === null) return;
    try {
      await this.sound.play();
      this.change({ soundBlocked: false });
    } catch (error) {
      if (error instanceof DOMException && error.name === "NotAllowedError") this.change({ soundBlocked: true });
    }
  }

  private async refreshStats(): Promise<void> {
    const stats = await readStats([this.camera.connection, this.talk.connection]);
    if (this.state.ended) return;
    this.change({ stats });
    this.writeAttributes();
  }

  private writeAttributes(): void {
    const data = this.remoteElement?.dataset;
    if (data === undefined) return;
    const { stats } = this.state;
    data.framesDecoded = String(stats.framesDecoded);
    data.framesPerSecond = String(stats.framesPerSecond);
    data.audioPackets = String(stats.audioPackets);
    data.audioBytes = String(stats.audioBytes);
    data.audioEnergy = stats.audioEnergy.toFixed(6);
    data.vitals = String(this.vitals.received);
    data.voice = this.state.voice;
  }

  private say(to: Peer, kind: SignalKind, body: object): void {
    this.options.send({
      consult_id: this.options.consultId,
      from_peer: this.options.side,
      to_peer: to,
      kind,
      body: JSON.stringify(body),
      bed_key: this.options.bedKey,
      caller: null,
    });
  }

  private change(part: Partial<SessionState>): void {
    this.state = { ...this.state, ...part };
    this.listeners.forEach((listener) => listener(this.state));
  }
}

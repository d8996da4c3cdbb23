/** Vitals of the data channel, shown together with the picture of their moment. */

/** What the edge sends on the channel: a message of the live socket, and which picture was the newest then. */
export interface StepVitals {
  /** Capture time of the newest picture sent, ms since 1970 on the edge's clock; null without a picture. */
  frame_at_ms: number | null;
  sent_at_ms: number;
  /** A `readings` or `wave` message, as on the live socket. */
  message: { type: "readings" | "wave"; bed_key: string; [key: string]: unknown };
}

const LONGEST_DELAY_MS = 1000;
const SMOOTHING = 0.1;

/**
 * Holds each message back by the time that pictures spend between network and screen.
 *
 * Both leave the edge at the same moment on the same path, so that delay is all that parts them; the browser
 * measures it for every picture (receive time to display time).
 */
export class VitalsInStep {
  received = 0;
  private delayMs = 0;
  private closed = false;
  private element: HTMLVideoElement | null = null;
  private readonly listeners = new Set<(vitals: StepVitals) => void>();

  subscribe(listener: (vitals: StepVitals) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  listen(channel: RTCDataChannel): void {
    channel.onmessage = (event: MessageEvent<unknown>) => {
      if (typeof event.data === "string") this.take(event.data);
    };
  }

  /** Measure the delay of the pictures shown in `element`. */
  watch(element: HTMLVideoElement | null): void {
    this.element = element;
    if (element === null || !("requestVideoFrameCallback" in element)) return;
    const onFrame = (_now: number, frame: VideoFrameCallbackMetadata): void => {
      if (this.closed || this.element !== element) return;
      if (frame.receiveTime !== undefined) {
        const sample = Math.min(Math.max(frame.expectedDisplayTime - frame.receiveTime, 0), LONGEST_DELAY_MS);
        this.delayMs += SMOOTHING * (sample - this.delayMs);
      }
      element.requestVideoFrameCallback(onFrame);
    };
    element.requestVideoFrameCallback(onFrame);
  }

  close(): void {
    this.closed = true;
    this.listeners.clear();
  }

  private take(text: string): void {
    let vitals: StepVitals;
    try {
      vitals = JSON.parse(text) as StepVitals;
    } catch {
      return;
    }
    this.received += 1;
    setTimeout(() => this.listeners.forEach((listener) => listener(vitals)), this.delayMs);
  }
}

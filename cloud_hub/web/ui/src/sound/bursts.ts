/** Alarm sounds: bursts of pulses by priority, as the auditory signals of IEC 60601-1-8 are built. */
import type { Alarm } from "../contract";

export interface Burst {
  /** Onset of each pulse after the start of the burst, s. */
  onsetsS: number[];
  pulseS: number;
  frequencyHz: number;
  /** Time from one burst to the next, s. */
  everyS: number;
}

const FIVE = [0, 0.2, 0.4, 0.75, 0.95];

export const BURSTS: Record<Alarm["priority"], Burst> = {
  high: { onsetsS: [...FIVE, ...FIVE.map((at) => at + 1.65)], pulseS: 0.13, frequencyHz: 880, everyS: 8 },
  medium: { onsetsS: [0, 0.4, 0.8], pulseS: 0.2, frequencyHz: 660, everyS: 12 },
  low: { onsetsS: [0, 0.5], pulseS: 0.2, frequencyHz: 523, everyS: 28 },
};

const HARMONICS = [1, 0.5, 0.33, 0.25];
const RISE_S = 0.02;
const LOUDNESS = 0.22;

/** Plays bursts once the browser lets it. */
export class Sounder {
  private context: AudioContext | null = null;

  private open(): AudioContext {
    this.context ??= new AudioContext();
    return this.context;
  }

  get isBlocked(): boolean {
    return this.open().state !== "running";
  }

  /** After a tap: ask the browser to let sound out. */
  async unblock(): Promise<boolean> {
    await this.open().resume();
    return !this.isBlocked;
  }

  play(burst: Burst): void {
    const context = this.open();
    if (context.state !== "running") return;
    for (const onsetS of burst.onsetsS) this.pulse(context, context.currentTime + 0.02 + onsetS, burst);
  }

  private pulse(context: AudioContext, atS: number, burst: Burst): void {
    HARMONICS.forEach((loudness, index) => {
      const oscillator = context.createOscillator();
      const gain = context.createGain();
      oscillator.frequency.value = burst.frequencyHz * (index + 1);
      gain.gain.setValueAtTime(0, atS);
      gain.gain.linearRampToValueAtTime(LOUDNESS * loudness, atS + RISE_S);
      gain.gain.setValueAtTime(LOUDNESS * loudness, atS + burst.pulseS - RISE_S);
      gain.gain.linearRampToValueAtTime(0, atS + burst.pulseS);
      oscillator.connect(gain).connect(context.destination);
      oscillator.start(atS);
      oscillator.stop(atS + burst.pulseS);
    });
  }
}

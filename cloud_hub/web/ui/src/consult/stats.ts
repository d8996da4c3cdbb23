/** What went over the two connections of a consult, as counted by the browser. */

export interface SessionStats {
  framesDecoded: number;
  framesPerSecond: number;
  frameWidth: number;
  frameHeight: number;
  audioPackets: number;
  audioBytes: number;
  audioEnergy: number;
  audioPacketsSent: number;
  framesSent: number;
  roundTripMs: number | null;
  packetsLost: number;
}

export const NO_STATS: SessionStats = {
  framesDecoded: 0,
  framesPerSecond: 0,
  frameWidth: 0,
  frameHeight: 0,
  audioPackets: 0,
  audioBytes: 0,
  audioEnergy: 0,
  audioPacketsSent: 0,
  framesSent: 0,
  roundTripMs: null,
  packetsLost: 0,
};

type Entry = Record<string, number | string | undefined>;

/** Sum the counters of all given connections. */
export async function readStats(connections: (RTCPeerConnection | null)[]): Promise<SessionStats> {
  const total = { ...NO_STATS };
  for (const connection of connections) {
    if (connection === null) continue;
    (await connection.getStats()).forEach((entry: Entry) => add(total, entry));
  }
  return total;
}

function add(total: SessionStats, entry: Entry): void {
  const number = (key: string): number => (typeof entry[key] === "number" ? entry[key] : 0);
  if (entry.type === "inbound-rtp" && entry.kind === "video") {
    total.framesDecoded += number("framesDecoded");
    total.framesPerSecond = Math.max(total.framesPerSecond, number("framesPerSecond"));
    total.frameWidth = Math.max(total.frameWidth, number("frameWidth"));
    total.frameHeight = Math.max(total.frameHeight, number("frameHeight"));
    total.packetsLost += number("packetsLost");
  } else if (entry.type === "inbound-rtp" && entry.kind === "audio") {
    total.audioPackets += number("packetsReceived");
    total.audioBytes += number("bytesReceived");
    total.audioEnergy += number("totalAudioEnergy");
    total.packetsLost += number("packetsLost");
  } else if (entry.type === "outbound-rtp") {
    if (entry.kind === "audio") total.audioPacketsSent += number("packetsSent");
    else total.framesSent += number("framesSent");
  } else if (entry.type === "candidate-pair" && number("currentRoundTripTime") > 0) {
    total.roundTripMs = Math.max(total.roundTripMs ?? 0, number("currentRoundTripTime") * 1000);
  }
}

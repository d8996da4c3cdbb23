/** Microphone and camera of the person at this page, and why there is none. */

import type { Text2 } from "./signalling";

export interface LocalMedia {
  stream: MediaStream;
  /** Null where everything that was asked for is there. */
  reason: Text2 | null;
}

const AUDIO: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const VIDEO: MediaTrackConstraints = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 20 } };

/** Open what can be opened: both, else the microphone alone, else nothing; never throws. */
export async function openLocalMedia(wantVideo: boolean): Promise<LocalMedia> {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (devices === undefined) {
    return { stream: new MediaStream(), reason: INSECURE };
  }
  if (wantVideo) {
    try {
      return { stream: await devices.getUserMedia({ audio: AUDIO, video: VIDEO }), reason: null };
    } catch {
      // A missing camera must not cost the microphone: asked again, one by one.
    }
  }
  const [audio, video] = await Promise.all([one(devices, "audio"), wantVideo ? one(devices, "video") : null]);
  const tracks = [...(audio.stream?.getTracks() ?? []), ...(video?.stream?.getTracks() ?? [])];
  return { stream: new MediaStream(tracks), reason: audio.reason ?? video?.reason ?? null };
}

interface Opened {
  stream: MediaStream | null;
  reason: Text2 | null;
}

async function one(devices: MediaDevices, kind: "audio" | "video"): Promise<Opened> {
  try {
    const wanted = kind === "audio" ? { audio: AUDIO } : { video: VIDEO };
    return { stream: await devices.getUserMedia(wanted), reason: null };
  } catch (error) {
    return { stream: null, reason: explain(kind, error instanceof DOMException ? error.name : "") };
  }
}

const INSECURE: Text2 = {
  zh: "此页面不是安全连接，浏览器不提供麦克风和摄像头",
  en: "This page is not on a secure connection, so the browser gives no microphone or camera",
};

/** Say in words why a device could not be opened, from the name of the browser's error. */
export function explain(kind: "audio" | "video", errorName: string): Text2 {
  const zh = kind === "audio" ? "麦克风" : "摄像头";
  const en = kind === "audio" ? "microphone" : "camera";
  switch (errorName) {
    case "NotAllowedError":
      return { zh: `${zh}未获允许，请在浏览器地址栏中允许`, en: `The ${en} is not allowed; allow it in the address bar` };
    case "NotFoundError":
    case "OverconstrainedError":
      return { zh: `没有找到${zh}`, en: `No ${en} was found` };
    case "NotReadableError":
      return { zh: `${zh}正被其他程序使用`, en: `The ${en} is in use by another program` };
    default:
      return { zh: `${zh}无法打开`, en: `The ${en} could not be opened` };
  }
}

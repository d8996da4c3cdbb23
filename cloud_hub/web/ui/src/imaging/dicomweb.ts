/** Asks the hub's DICOMweb, with the page's own session. */
import { Refused, request, requestBytes } from "../app/api";
import type { StudyRow } from "../contract";
import { seriesOf, stackOf } from "./dicom";
import type { SeriesTold, Stack, Told } from "./dicom";

const BASE = "/dicom-web/studies";

/** A study as one site filed it: its identifier alone may be another patient's too. */
export type Filed = Pick<StudyRow, "study_key" | "study_uid">;

/** The series of a study; empty where nothing of it is open to whoever asks. */
export async function seriesOfStudy({ study_key: key, study_uid: uid }: Filed): Promise<SeriesTold[]> {
  return seriesOf((await request<Told[] | undefined>("GET", `${BASE}/${uid}/series?filed=${key}`)) ?? []);
}

/** The pictures of a series in order; raises `Refused`. */
export async function stackOfSeries({ study_key: key, study_uid: uid }: Filed, series: string): Promise<Stack> {
  const address = `${BASE}/${uid}/series/${series}`;
  const found = await request<Told[]>("GET", `${address}/metadata?filed=${key}`);
  return stackOf(found, `${location.origin}${address}`, key);
}

const TOLD_MOST_BYTES = 32 * 1024 * 1024;

/** What is told of the objects of a series that are no pictures; raises `Refused`, `TooLarge`, `SyntaxError`. */
export async function toldOfSeries({ study_key: key, study_uid: uid }: Filed, series: string): Promise<Told[]> {
  const path = `${BASE}/${uid}/series/${series}/metadata?filed=${key}`;
  return JSON.parse(new TextDecoder().decode(await requestBytes(path, "application/dicom+json", TOLD_MOST_BYTES))) as Told[];
}

/** One frame, unpacked where it was compressed; raises `Refused`, and `TooLarge` where it is longer than it may be. */
export function frameOf({ study_key: key, study_uid: uid }: Filed, of: { series: string; instance: string; frame: number }, mostBytes: number): Promise<Uint8Array> {
  const path = `${BASE}/${uid}/series/${of.series}/instances/${of.instance}/frames/${of.frame}?filed=${key}`;
  return requestBytes(path, "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", mostBytes);
}

/** Why a picture is not shown: of the words after `fault.image.`. */
export type ImageFault = "gone" | "form" | "broken" | "away" | "decode";

const FAULTS: Record<number, ImageFault> = {
  401: "gone",
  403: "gone",
  404: "gone",
  406: "form",
  409: "broken",
  410: "gone",
  422: "broken",
};

/** What an error of the loader means to who looks; one without a status came from decoding. */
export function faultOf(error: unknown): ImageFault {
  const found = (error as { error?: unknown } | null)?.error ?? error;
  if (found instanceof Refused) return FAULTS[found.status] ?? "away";
  const status = (found as { status?: unknown } | null)?.status;
  return typeof status === "number" ? (FAULTS[status] ?? "away") : "decode";
}

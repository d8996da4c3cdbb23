/** Asks the hub's DICOMweb, with the page's own session. */
import { Refused, request } from "../app/api";
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

/** What the images of a study say of their patient, beside whom somebody is about to file them under (pure). */
import type { Patient, SiteStudy } from "../../contract";
import { dayOf } from "../../imaging/dicom";

const FILES = new Set(["clinic", "physician"]);

/** Who files images under people; the server judges by the same table. */
export function mayFile(role: string | undefined): boolean {
  return FILES.has(role ?? "");
}

export type Difference = "identifier" | "birth" | "mixed";

const ALPHABETIC = 0;
const IDEOGRAPHIC = 1;

/** A person's name as DICOM writes it, for people to read: in their own writing where it has that (PS3.5 6.2.1). */
export function nameSaid(written: string): string {
  const groups = written.split("=");
  const group = groups[IDEOGRAPHIC]?.trim() || (groups[ALPHABETIC] ?? "");
  return group.replaceAll("^", " ").replace(/\s+/g, " ").trim();
}

/** Why the images may be somebody else's; names decide nothing, for they are written in many ways. */
export function differences(study: SiteStudy, patient: Patient): Difference[] {
  const found: Difference[] = [];
  if (study.is_mixed) found.push("mixed");
  if (study.patient_id && !patient.identifiers.includes(study.patient_id)) found.push("identifier");
  const born = dayOf(study.birth_date);
  if (born && patient.birth_date && born !== patient.birth_date) found.push("birth");
  return found;
}

/** Those that wait for a decision first, else as they came. */
export function byNeed(studies: SiteStudy[]): SiteStudy[] {
  return [...studies.filter((study) => !study.person_id), ...studies.filter((study) => study.person_id)];
}

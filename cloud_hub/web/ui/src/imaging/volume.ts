/** Whether the slices of a series are a volume, of which other planes can be made (pure). */
import { directionsOf, height, isColour, numbers, text } from "./dicom";
import type { Slice, Vector } from "./dicom";

/** Why they are none: of the words after `volume.`. */
export type NoVolume = "few" | "colour" | "lies" | "uneven";

const FEWEST = 5;
/** Of the distance between neighbours: positions in files are rounded. */
const UNEVEN_SHARE = 0.02;
const OBLIQUE = 1e-3;

/** Null: they are one.  Nothing is filled in: of slices that miss one, or lie unevenly, no other plane is made. */
export function noVolume(slices: Slice[]): NoVolume | null {
  const [one] = slices;
  if (!one || slices.length < FEWEST) return "few";
  if (isColour(one.told)) return "colour";
  const alike = ["00280010", "00280011", "00280030"].map((tag) => text(one.told, tag));
  const directions = numbers(one.told, "00200037");
  for (const { told } of slices) {
    const own = numbers(told, "00200037");
    const isTurned = own.length !== 6 || own.some((part, axis) => Math.abs(part - (directions[axis] ?? 9)) > OBLIQUE);
    if (isTurned || numbers(told, "00200032").length !== 3) return "lies";
    if (["00280010", "00280011", "00280030"].some((tag, index) => text(told, tag) !== alike[index])) return "uneven";
  }
  if (numbers(one.told, "00280030").length !== 2) return "lies";
  return areEven(slices) ? null : "uneven";
}

function areEven(slices: Slice[]): boolean {
  const heights = slices.map(({ told }) => height(told)).sort((lower, upper) => lower - upper);
  const steps = heights.slice(1).map((at, index) => at - (heights[index] ?? 0));
  const mean = ((heights.at(-1) ?? 0) - (heights[0] ?? 0)) / steps.length;
  return mean > 0 && steps.every((step) => Math.abs(step - mean) <= UNEVEN_SHARE * mean + 1e-3);
}

/** The middle of a slice in the patient, LPS in mm; null where it does not say. */
export function middleOf({ told }: Slice): Vector | null {
  const [found, at, apart] = [directionsOf(told), numbers(told, "00200032"), numbers(told, "00280030")];
  if (!found || at.length !== 3 || apart.length !== 2) return null;
  const [rows, columns] = [numbers(told, "00280010")[0] ?? 1, numbers(told, "00280011")[0] ?? 1];
  const [right, down] = [((columns - 1) / 2) * (apart[1] ?? 1), ((rows - 1) / 2) * (apart[0] ?? 1)];
  return at.map((part, axis) => part + right * (found.row[axis] ?? 0) + down * (found.column[axis] ?? 0)) as Vector;
}

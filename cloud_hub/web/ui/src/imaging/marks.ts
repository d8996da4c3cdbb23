/** Where what a model points to stands in the pictures of a series (pure). */
import { directionsOf, first, height, numbers } from "./dicom";
import type { Slice, Vector } from "./dicom";

/** A ball in the patient, and what it is called in the picture. */
export interface Mark {
  uid: string;
  label: string;
  /** LPS, in mm. */
  centre: Vector;
  /** In mm. */
  diameter: number;
  /** What a physician said of it; empty: nothing stands. */
  verdict: string;
}

export interface Ring {
  x: number;
  y: number;
  radius: number;
}

/** Around what it points to, not over it; and large enough to be seen. */
const AROUND_PX = 5;
const SMALLEST_PX = 10;

/** How far a point of the patient lies from a slice, in mm; null where the slice does not say how it lies. */
function distance({ told }: Slice, point: Vector): number | null {
  const found = directionsOf(told);
  if (!found || numbers(told, "00200032").length !== 3) return null;
  return point.reduce((sum, part, axis) => sum + part * (found.normal[axis] ?? 0), -height(told));
}

/** The slices in which a mark is drawn: those that cut its ball, and those whose own thickness holds its centre. */
export function slicesOf(slices: Slice[], { centre, diameter }: Mark): number[] {
  return slices.flatMap((slice, index) => {
    const [away, thick] = [distance(slice, centre), Number(first(slice.told, "00180050") ?? 0)];
    return away !== null && Math.abs(away) <= Math.max(diameter, thick) / 2 + 1e-3 ? [index] : [];
  });
}

/** The ring around a mark, in the pixels of the picture; `place` says where a point of the patient stands in it. */
export function ringOf({ told }: Slice, mark: Mark, place: (point: Vector) => [number, number]): Ring | null {
  const found = directionsOf(told);
  if (!found) return null;
  const beside = mark.centre.map((part, axis) => part + (found.row[axis] ?? 0) * (mark.diameter / 2)) as Vector;
  const [[x, y], [atX, atY]] = [place(mark.centre), place(beside)];
  return { x, y, radius: Math.max(SMALLEST_PX, Math.hypot(atX - x, atY - y) + AROUND_PX) };
}

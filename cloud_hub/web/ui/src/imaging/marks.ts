/** Where what a model points to stands in a picture (pure). */
import { along, directionsOf, first, height, number, numbers } from "./dicom";
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

/** The plane of a picture in the patient. */
export interface Cut {
  /** Where its rows and columns lead to: to the right and down. */
  row: Vector;
  column: Vector;
  normal: Vector;
  /** How far along the normal it lies, in mm. */
  at: number;
  /** In mm. */
  thick: number;
}

export interface Ring {
  x: number;
  y: number;
  radius: number;
}

/** Around what it points to, not over it; and large enough to be seen. */
const AROUND_PX = 5;
const SMALLEST_PX = 10;

/** The plane of a slice; null where it does not say how it lies. */
export function cutOf({ told }: Slice): Cut | null {
  const found = directionsOf(told);
  if (!found || numbers(told, "00200032").length !== 3) return null;
  return { ...found, at: height(told), thick: Number(first(told, "00180050") ?? 0) };
}

/** Whether a picture cuts the ball of a mark, or holds its centre in its own thickness. */
export function meets(cut: Cut, { centre, diameter }: Mark): boolean {
  return Math.abs(along(centre, cut.normal) - cut.at) <= Math.max(diameter, cut.thick) / 2 + 1e-3;
}

/** The slices in which a mark is drawn. */
export function slicesOf(slices: Slice[], mark: Mark): number[] {
  return slices.flatMap((slice, index) => {
    const cut = cutOf(slice);
    return cut && meets(cut, mark) ? [index] : [];
  });
}

/** The ring around a mark, in the pixels of the picture; `place` says where a point of the patient stands in it. */
export function ringOf({ row }: Cut, mark: Mark, place: (point: Vector) => [number, number]): Ring {
  const beside = mark.centre.map((part, axis) => part + (row[axis] ?? 0) * (mark.diameter / 2)) as Vector;
  const [[x, y], [atX, atY]] = [place(mark.centre), place(beside)];
  return { x, y, radius: Math.max(SMALLEST_PX, Math.hypot(atX - x, atY - y) + AROUND_PX) };
}

/**
 * Where the pixels of a slice stand in the picture, as the six numbers of an SVG or CSS matrix: from columns and rows, counted
 * from the outer corner of the first pixel, to pixels of the page.  Null where the slice does not say how it lies.
 */
export function gridOf({ told }: Slice, place: (point: Vector) => [number, number]): number[] | null {
  const [found, at, apart] = [directionsOf(told), numbers(told, "00200032"), numbers(told, "00280030")];
  const [rows, columns] = [number(told, "00280010"), number(told, "00280011")];
  if (!found || at.length !== 3 || apart.length !== 2 || !rows || !columns) return null;
  const corner = (column: number, row: number) => {
    const [right, down] = [(column - 0.5) * (apart[1] ?? 1), (row - 0.5) * (apart[0] ?? 1)];
    return place(at.map((part, axis) => part + right * (found.row[axis] ?? 0) + down * (found.column[axis] ?? 0)) as Vector);
  };
  const [[x, y], [rightX, rightY], [downX, downY]] = [corner(0, 0), corner(columns, 0), corner(0, rows)];
  return [(rightX - x) / columns, (rightY - y) / columns, (downX - x) / rows, (downY - y) / rows, x, y];
}

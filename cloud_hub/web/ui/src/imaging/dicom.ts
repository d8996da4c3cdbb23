/** What the viewer needs of DICOM JSON (PS3.18 annex F): series, slices in order, directions, windows. */

export interface Element {
  vr?: string;
  Value?: unknown[];
}

/** `1952-03-14` of a DICOM date (DA), as it is where it has another form. */
export function dayOf(date: string): string {
  return /^\d{8}$/.test(date) ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : date;
}

/** Attributes by tag, eight hex digits in upper case. */
export type Told = Record<string, Element>;

export interface SeriesTold {
  uid: string;
  number: number;
  modality: string;
  description: string;
  /** Images and other objects. */
  images: number;
}

export interface Slice {
  /** Address of the frame for the loader of images. */
  imageId: string;
  /** Of the instance, as its makers counted; 0 where they did not. */
  number: number;
  told: Told;
  isLossy: boolean;
}

/** Centre and width, in units of the values; null: all values of the image. */
export type Window = { centre: number; width: number } | null;

export function first(told: Told, tag: string): unknown {
  return told[tag]?.Value?.[0];
}

export function text(told: Told, tag: string): string {
  const value = first(told, tag);
  return value === undefined || value === null ? "" : String(value);
}

export function numbers(told: Told, tag: string): number[] {
  return (told[tag]?.Value ?? []).map(Number).filter(Number.isFinite);
}

export function number(told: Told, tag: string): number {
  return numbers(told, tag)[0] ?? 0;
}

/** The series of a study, in the order of their numbers. */
export function seriesOf(found: Told[]): SeriesTold[] {
  return found
    .map((told) => ({
      uid: text(told, "0020000E"),
      number: number(told, "00200011"),
      modality: text(told, "00080060"),
      description: text(told, "0008103E"),
      images: number(told, "00201209"),
    }))
    .sort((one, other) => one.number - other.number || one.uid.localeCompare(other.uid));
}

/**
 * What is told of one frame as of an image of its own, with what the object keeps for each frame or for all of them.
 *
 * Were it still told as one of several, the loader would look for it at the first frame's address without a filing.
 */
export function ofFrame(whole: Told, frame: number): Told {
  const { "52009229": all, "52009230": some, "00280008": _count, ...told } = whole;
  const shared = (all?.Value?.[0] ?? {}) as Told;
  const each = ((some?.Value ?? [])[frame - 1] ?? {}) as Told;
  const inner = [...Object.values(shared), ...Object.values(each)].flatMap((group) =>
    group.Value?.[0] instanceof Object ? [group.Value[0] as Told] : [],
  );
  return Object.assign({}, told, ...inner) as Told;
}

/** More frames of files nobody goes through, and one file may say that it has two thousand million. */
export const FRAMES_MOST = 10_000;

export interface Stack {
  slices: Slice[];
  /** How many the series says that it has. */
  total: number;
}

/**
 * The frames of a series that are pictures, as they were counted at the machine; `filed`: of which filing.
 *
 * Each image has its first frame in it, whatever another one says; of the further ones there are so many and no more.
 */
export function stackOf(found: Told[], address: string, filed: string): Stack {
  let [total, further] = [0, FRAMES_MOST - 1];
  const slices = found
    // What a segmentation has in its rows are areas of other images.
    .filter((told) => number(told, "00280010") > 0 && text(told, "00080060") !== "SEG")
    .flatMap((told) => {
      const at = `${address}/instances/${text(told, "00080018")}/frames/`;
      const count = Math.max(1, number(told, "00280008"));
      const offered = Math.min(count, 1 + further);
      total += count;
      further -= offered - 1;
      return Array.from({ length: offered }, (_, index) => ({
        imageId: `wadors:${at}${index + 1}?filed=${filed}`,
        number: number(told, "00200013"),
        told: ofFrame(told, index + 1),
        isLossy: text(told, "00282110") === "01",
      }));
    });
  // Sorting keeps the frames of one instance in their order.
  slices.sort((one, other) => one.number - other.number || height(one.told) - height(other.told));
  return { slices, total };
}

export type Vector = [number, number, number];

export function cross([ax, ay, az]: Vector, [bx, by, bz]: Vector): Vector {
  return [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
}

/** How far a point lies along a direction of length 1. */
export function along(point: Vector, direction: Vector): number {
  return point.reduce((sum, part, axis) => sum + part * (direction[axis] ?? 0), 0);
}

/** Where the rows and columns of an image point to in the patient, and what is upright on both; null where it does not say. */
export function directionsOf(told: Told): { row: Vector; column: Vector; normal: Vector } | null {
  const found = numbers(told, "00200037");
  if (found.length !== 6) return null;
  const [row, column] = [found.slice(0, 3) as Vector, found.slice(3) as Vector];
  return { row, column, normal: cross(row, column) };
}

/** How far along its own normal an image lies, in mm; 0 where it does not say. */
export function height(told: Told): number {
  const [directions, at] = [directionsOf(told), numbers(told, "00200032")];
  if (!directions || at.length !== 3) return 0;
  return along(at as Vector, directions.normal);
}

const AXES = [
  ["L", "R"],
  ["P", "A"],
  ["H", "F"],
] as const;
const OPPOSITE: Record<string, string> = { L: "R", R: "L", P: "A", A: "P", H: "F", F: "H" };
const OBLIQUE = 0.35;

/** Letters of where a direction in the patient points to, the strongest first (PS3.3 C.7.6.1.1.1). */
export function letters(direction: number[]): string {
  return direction
    .map((part, axis) => ({ size: Math.abs(part), letter: AXES[axis]?.[part > 0 ? 0 : 1] ?? "" }))
    .filter(({ size }) => size > OBLIQUE)
    .sort((one, other) => other.size - one.size)
    .map(({ letter }) => letter)
    .join("");
}

const turned = (found: string) => [...found].map((letter) => OPPOSITE[letter] ?? letter).join("");

export interface Edges {
  left: string;
  right: string;
  top: string;
  bottom: string;
}

/** What lies at the four edges of the picture; null where the image does not say how it lies in the patient. */
export function edges(told: Told, isMirrored: boolean): Edges | null {
  const directions = directionsOf(told);
  return directions && edgesOf(directions, isMirrored);
}

/** The same of a picture whose rows and columns lead there. */
export function edgesOf(directions: { row: Vector; column: Vector }, isMirrored: boolean): Edges {
  const [right, bottom] = [letters(directions.row), letters(directions.column)];
  const sides = isMirrored ? { left: right, right: turned(right) } : { left: turned(right), right };
  return { ...sides, top: turned(bottom), bottom };
}

export interface Preset {
  /** Of the name, after `window.` in the words. */
  name: string;
  window: Window;
}

/** What a CT is shown in that names no window of its own, in which all its values would be one grey. */
export const PLAIN_CT: Window = { centre: 40, width: 400 };

const CT: Preset[] = [
  { name: "brain", window: { centre: 40, width: 80 } },
  { name: "stroke", window: { centre: 35, width: 30 } },
  { name: "bone", window: { centre: 500, width: 2000 } },
  { name: "subdural", window: { centre: 75, width: 215 } },
  { name: "lung", window: { centre: -600, width: 1500 } },
  { name: "soft", window: PLAIN_CT },
  { name: "vessel", window: { centre: 100, width: 700 } },
];
const MOST_OWN = 7;

export function isColour(told: Told): boolean {
  return number(told, "00280002") > 1;
}

/** The window that a picture begins with; undefined: its own, or all its values. */
export function firstWindow(told: Told): Window | undefined {
  const hasOwn = numbers(told, "00281051").length > 0 || told["00283010"] !== undefined;
  return text(told, "00080060") === "CT" && !hasOwn ? PLAIN_CT : undefined;
}

/** The windows that keys 1 to 9 set: of CT those of practice, of others those that the image itself names. */
export function presetsOf(told: Told): Preset[] {
  if (isColour(told)) return [];
  const [centres, widths] = [numbers(told, "00281050"), numbers(told, "00281051")];
  const own = centres
    .map((centre, index) => ({ name: "own", window: { centre, width: widths[index] ?? 0 } }))
    .filter(({ window }) => window.width > 0)
    .slice(0, MOST_OWN);
  const all = { name: "all", window: null };
  return text(told, "00080060") === "CT" ? [...CT, ...own.slice(0, 1), all] : [...own, all];
}

/** Lowest and highest value that a window shows in grey (PS3.3 C.11.2.1.2). */
export function rangeOf({ centre, width }: { centre: number; width: number }): { lower: number; upper: number } {
  const half = (Math.max(width, 2) - 1) / 2;
  return { lower: centre - 0.5 - half, upper: centre - 0.5 + half };
}

export function windowOf({ lower, upper }: { lower: number; upper: number }): { centre: number; width: number } {
  return { centre: Math.round((lower + upper) / 2 + 0.5), width: Math.round(upper - lower + 1) };
}

/** The order in which slices are fetched: what is looked at first, then outwards. */
export function outwards(count: number, from: number): number[] {
  return Array.from({ length: count }, (_, index) => index).sort(
    (one, other) => Math.abs(one - from) - Math.abs(other - from) || one - other,
  );
}

/** What a DICOM Segmentation says (PS3.3 C.8.20), and on which slice each of its frames lies (pure). */
import { number, numbers, ofFrame, text } from "./dicom";
import type { Slice, Told } from "./dicom";

const SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4";
/** More than anybody draws; a file may say that it has two thousand million. */
const FRAMES_MOST = 10_000;
const SEGMENTS_MOST = 1_000;
const PIXELS_MOST = 4096 * 4096;
/** Of millimetres, directions and spacings: what files round away, and no more. */
const OFF_MM = 0.01;
const OFF_SHARE = 1e-3;

/** Why nothing of a segmentation is drawn: of the words after `segments.`. */
export type NoSegments = "form" | "broken" | "large";

export interface Segment {
  /** Of all segments of a page. */
  key: string;
  number: number;
  label: string;
  /** As its makers recommend it, `#rrggbb`; empty: they recommend none. */
  colour: string;
  /** Under which a report may speak of it; empty: none. */
  tracking: string;
  /** Somebody drew it; otherwise a machine did, and nobody need have looked at it. */
  isByHand: boolean;
}

export interface Frame {
  /** In its object, from 1. */
  number: number;
  segment: Segment;
  told: Told;
}

export interface Segmentation {
  uid: string;
  label: string;
  /** Series that it says it belongs to. */
  series: string[];
  rows: number;
  columns: number;
  /** Heat maps say how probable each pixel is, or how much of it is filled, 1 for `most`; masks say yes or no. */
  heat: { most: number; means: "probability" | "occupancy" } | null;
  segments: Segment[];
  frames: Frame[];
}

/** What its metadata says, or why nothing of it is drawn. */
export function segmentationOf(told: Told): Segmentation | NoSegments {
  const kind = text(told, "00620001");
  const isHeat = kind === "FRACTIONAL";
  if (text(told, "00080016") !== SEGMENTATION || !(isHeat || kind === "BINARY")) return "form";
  const [rows, columns] = [number(told, "00280010"), number(told, "00280011")];
  const most = number(told, "0062000E");
  if (number(told, "00280100") !== (isHeat ? 8 : 1) || (isHeat && !(most >= 1 && most <= 255))) return "broken";
  const [count, items] = [number(told, "00280008"), told["52009230"]?.Value ?? []];
  const named = told["00620002"]?.Value ?? [];
  if (count > FRAMES_MOST || named.length > SEGMENTS_MOST || rows * columns > PIXELS_MOST) return "large";
  if (!(rows >= 1 && columns >= 1) || count < 1 || items.length !== count) return "broken";
  const uid = text(told, "00080018");
  const segments = named.map((one) => segmentOf((one ?? {}) as Told, uid));
  const frames = framesOf(told, count, segments);
  if (!frames) return "broken";
  const means = text(told, "00620010") === "OCCUPANCY" ? "occupancy" : "probability";
  return {
    uid,
    label: text(told, "0008103E") || text(told, "00700080"),
    series: (told["00081115"]?.Value ?? []).map((one) => text((one ?? {}) as Told, "0020000E")),
    rows,
    columns,
    heat: isHeat ? { most, means } : null,
    segments,
    frames,
  };
}

function segmentOf(told: Told, uid: string): Segment {
  const lab = numbers(told, "0062000D");
  const segment = number(told, "00620004");
  return {
    key: `${uid}/${segment}`,
    number: segment,
    label: text(told, "00620005") || String(segment),
    colour: lab.length === 3 ? colourOf(lab as [number, number, number]) : "",
    tracking: text(told, "00620021"),
    isByHand: text(told, "00620008") === "MANUAL",
  };
}

/** Null where one of them belongs to no segment that there is. */
function framesOf(told: Told, count: number, segments: Segment[]): Frame[] | null {
  const byNumber = new Map(segments.map((one) => [one.number, one]));
  const frames: Frame[] = [];
  for (let at = 1; at <= count; at += 1) {
    const frame = ofFrame(told, at);
    const segment = byNumber.get(number(frame, "0062000B"));
    if (!segment) return null;
    frames.push({ number: at, segment, told: frame });
  }
  return frames;
}

/**
 * CIELab as DICOM scales it (PS3.3 C.10.7.1.1) as sRGB `#rrggbb`.
 *
 * With the white of sRGB, D65, as those who write segmentations have it; the standard's own, D50, would give another shade.
 */
export function colourOf([scaledL, scaledA, scaledB]: [number, number, number]): string {
  const [l, a, b] = [(scaledL / 65535) * 100, (scaledA / 65535) * 255 - 128, (scaledB / 65535) * 255 - 128];
  const y = (l + 16) / 116;
  const linear = (part: number) => (part > 6 / 29 ? part ** 3 : 3 * (6 / 29) ** 2 * (part - 4 / 29));
  const [x, light, z] = [0.95047 * linear(y + a / 500), linear(y), 1.08883 * linear(y - b / 200)];
  const rgb = [
    3.2405 * x - 1.5371 * light - 0.4985 * z,
    -0.9693 * x + 1.876 * light + 0.0416 * z,
    0.0556 * x - 0.204 * light + 1.0572 * z,
  ];
  const byte = (part: number) => {
    const within = Math.max(0, Math.min(1, part));
    const shown = within <= 0.0031308 ? 12.92 * within : 1.055 * within ** (1 / 2.4) - 0.055;
    return Math.round(255 * shown).toString(16).padStart(2, "0");
  };
  return `#${rgb.map(byte).join("")}`;
}

export interface Placed {
  /** What lies on each slice, by its index. */
  on: Map<number, Frame[]>;
  /** Frames that name a slice of the series, or its place, and lie otherwise: in size, spacing, direction or place. */
  askew: number;
  /** Frames whose slice is not among these. */
  absent: number;
}

/**
 * The slice of each frame: the one image that it names, or, where it names none or several, the one that lies just there in
 * the same frame of reference.  Null: the segmentation belongs to another one of the series `all` of the study.
 */
export function placedOn(found: Segmentation, slices: Slice[], series: string, all: string[]): Placed | null {
  const byName = new Map(slices.map((slice, index) => [nameOf(slice), index]));
  const planes = slices.map(({ told }) => planeOf(told));
  const every = planes.map((_, index) => index);
  const placed: Placed = { on: new Map(), askew: 0, absent: 0 };
  let isNamed = found.series.includes(series);
  for (const frame of found.frames) {
    const named = sourcesOf(frame.told);
    const hits = [...new Set(named.flatMap((name) => byName.get(name) ?? []))];
    isNamed ||= hits.length > 0;
    const plane = planeOf(frame.told);
    const at = (named.length > 0 ? hits : every).find((index) => isSame(plane, planes[index]));
    if (at === undefined) placed[hits.length > 0 ? "askew" : "absent"] += 1;
    else if (!placed.on.get(at)?.push(frame)) placed.on.set(at, [frame]);
  }
  return !isNamed && found.series.some((one) => all.includes(one)) ? null : placed;
}

/** Instance and frame of a slice, as `sourcesOf` names them. */
function nameOf({ imageId }: Slice): string {
  const [, instance, frame] = /\/instances\/([0-9.]+)\/frames\/(\d+)/.exec(imageId) ?? [];
  return `${instance}/${frame}`;
}

function sourcesOf(told: Told): string[] {
  return (told["00082112"]?.Value ?? []).flatMap((one) => {
    const source = (one ?? {}) as Told;
    const frames = numbers(source, "00081160");
    return (frames.length > 0 ? frames : [1]).map((frame) => `${text(source, "00081155")}/${frame}`);
  });
}

interface Plane {
  /** Frame of reference. */
  within: string;
  position: number[];
  directions: number[];
  spacing: number[];
  sides: number[];
}

function planeOf(told: Told): Plane {
  return {
    within: text(told, "00200052"),
    position: numbers(told, "00200032"),
    directions: numbers(told, "00200037"),
    spacing: numbers(told, "00280030"),
    sides: [number(told, "00280010"), number(told, "00280011")],
  };
}

/** Both say how they lie, and it is the same. */
function isSame(one: Plane, other: Plane | undefined): boolean {
  const isNear = (name: "position" | "directions" | "spacing" | "sides", count: number, off: number) => {
    const [mine, theirs] = [one[name], other?.[name] ?? []];
    return mine.length === count && theirs.length === count && mine.every((part, at) => Math.abs(part - (theirs[at] ?? 0)) <= off);
  };
  const [spacing = 0] = one.spacing;
  return (
    isNear("position", 3, OFF_MM) &&
    isNear("sides", 2, 0) &&
    isNear("spacing", 2, spacing * OFF_SHARE) &&
    isNear("directions", 6, OFF_SHARE) &&
    one.within !== "" &&
    one.within === other?.within
  );
}

/**
 * The pixels of one frame, one byte each: 0 or 1 of a mask, 0 to `most` of a heat map; null where there are too few or many.
 *
 * A mask comes with eight pixels to a byte, the first in the lowest bit (PS3.5 D.3), or unpacked where it was compressed.
 */
export function pixelsOf({ rows, columns, heat }: Segmentation, bytes: Uint8Array): Uint8Array | null {
  const count = rows * columns;
  if (bytes.length === count) return bytes;
  if (heat || bytes.length !== Math.ceil(count / 8)) return null;
  const pixels = new Uint8Array(count);
  for (let at = 0; at < count; at += 1) pixels[at] = ((bytes[at >> 3] ?? 0) >> (at & 7)) & 1;
  return pixels;
}

/**
 * Violets, as what models say is: whoever sees no colours sees how light it is, and what is most is no grey of a picture
 * either, light as bone or dark as air.  The usual scales end in yellow or red, which belong to alarms.
 */
const RAMP = [
  [38, 14, 78],
  [112, 40, 200],
  [190, 90, 250],
  [244, 160, 255],
] as const;
/** Of 255; the picture shines through. */
const HEAT_ALPHA = 180;

/** Colour of a share from 0 to 1. */
export function heatColour(share: number): [number, number, number] {
  const at = Math.max(0, Math.min(1, share)) * (RAMP.length - 1);
  const [below, above] = [RAMP[Math.floor(at)] ?? RAMP[0], RAMP[Math.ceil(at)] ?? RAMP[0]];
  const mixed = [0, 1, 2].map((part) => Math.round((below[part] ?? 0) + (at % 1) * ((above[part] ?? 0) - (below[part] ?? 0))));
  return mixed as [number, number, number];
}

/** A heat map as RGBA, four bytes a pixel; where it says 0 there is nothing. */
export function heatPicture(pixels: Uint8Array, most: number): Uint8ClampedArray<ArrayBuffer> {
  const colours = new Uint8Array(256 * 4);
  for (let value = 1; value < 256; value += 1) colours.set([...heatColour(value / most), HEAT_ALPHA], value * 4);
  const whole = new Uint32Array(colours.buffer);
  const picture = new Uint32Array(pixels.length);
  for (let at = 0; at < pixels.length; at += 1) picture[at] = whole[pixels[at] ?? 0] ?? 0;
  return new Uint8ClampedArray(picture.buffer);
}

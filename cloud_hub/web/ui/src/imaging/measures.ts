/** What is written beside an area that somebody measures (pure). */
import { number, text } from "./dicom";
import type { Told } from "./dicom";

/** As the library tells it; a value for each colour of pictures in colour. */
export interface AreaStats {
  /** Null: not counted yet; not there: it reaches beyond the picture. */
  area?: number | null;
  /** With its calibration, where it has one: "mm²", "px²", "cm² US Region". */
  areaUnit?: string | null;
  mean?: number | number[] | null;
  stdDev?: number | number[] | null;
  min?: number | number[] | null;
  max?: number | number[] | null;
}

export interface MeasureWords {
  area: string;
  mean: string;
  deviation: string;
  least: string;
  most: string;
  /** Values as the file has them, in no unit. */
  stored: string;
  /** Values that the file's own slope made, which names no unit. */
  rescaled: string;
  beyond: string;
}

/** Rescale Type (PS3.3 C.11.1.1.2): "US" is unspecified. */
const NO_UNIT = ["", "US"];

/**
 * In what the values of an image are: HU of CT alone, else what the image itself names, else in a word that they are none.
 *
 * `isScaled`: slope and intercept were applied.
 */
export function unitOf(told: Told, isScaled: boolean, { stored, rescaled }: Pick<MeasureWords, "stored" | "rescaled">): string {
  if (!isScaled) return stored;
  const [modality, type] = [text(told, "00080060"), text(told, "00281054")];
  if (modality === "CT" && (type === "" || type === "HU")) return "HU";
  if (modality === "PT" && text(told, "00541001")) return text(told, "00541001");
  if (!NO_UNIT.includes(type)) return type;
  return number(told, "00281053") === 1 && number(told, "00281052") === 0 ? stored : rescaled;
}

/** Four digits, and always those before the point. */
export function short(value: number): string {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}

/** The lines beside an area; of pictures in colour its size alone. */
export function linesOf({ area, areaUnit, mean, stdDev, min, max }: AreaStats, unit: string, words: MeasureWords): string[] {
  if (area === undefined) return [words.beyond];
  if (area === null) return [];
  const lines = [`${words.area} ${short(area)} ${areaUnit ?? ""}`];
  const values = [mean, stdDev, min, max];
  if (!values.every((value): value is number => typeof value === "number" && Number.isFinite(value))) return lines;
  const [middle, deviation, least, most] = values.map(short);
  return [
    ...lines,
    `${words.mean} ${middle} ${unit}`,
    `${words.deviation} ${deviation} ${unit}`,
    `${words.least} ${least} · ${words.most} ${most} ${unit}`,
  ];
}

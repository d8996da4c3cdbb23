import { describe, expect, it } from "vitest";
import { stackOf } from "./dicom";
import type { Told } from "./dicom";
import { colourOf, heatColour, heatPicture, pixelsOf, placedOn, segmentationOf } from "./segments";
import type { Segmentation } from "./segments";

const values = (part: Record<string, unknown[]>): Told =>
  Object.fromEntries(Object.entries(part).map(([tag, Value]) => [tag, { Value }]));

const PLANE = { "00280010": [4], "00280011": [5], "00280030": [0.5, 0.5], "00200037": [1, 0, 0, 0, 1, 0], "00200052": ["9"] };
const { slices } = stackOf(
  [0, 2, 4].map((z, at) => values({ ...PLANE, "00080018": [`1.${at + 1}`], "00200013": [at + 1], "00200032": [-1, -1, z] })),
  "/x",
  "k",
);

const at = (z: number, named = "", segment = 1) => ({
  "0062000A": { Value: [values({ "0062000B": [segment] })] },
  "00209113": { Value: [values({ "00200032": [-1, -1, z] })] },
  ...(named && { "00089124": { Value: [values({ "00082112": [values({ "00081155": [named] })] })] } }),
});
const told = (frames: object[], more: Record<string, unknown[]> = {}): Told =>
  values({
    ...PLANE, "00080016": ["1.2.840.10008.5.1.4.1.1.66.4"], "00080018": ["7"], "00620001": ["BINARY"], "00280100": [1],
    "00280008": [frames.length], "52009230": frames, "00620002": [values({ "00620004": [1], "00620005": ["Liver"] })],
    "00081115": [values({ "0020000E": ["s"] })], ...more,
  });
const read = (frames: object[], more: Record<string, unknown[]> = {}) => segmentationOf(told(frames, more)) as Segmentation;
const placed = (found: Segmentation, all = ["s", "o"]) => {
  const { on, ...rest } = placedOn(found, slices, "s", all) ?? { on: new Map() };
  return { on: [...on].map(([index, frames]) => [index, frames.map((one: { number: number }) => one.number)]), ...rest };
};

describe("a segmentation", () => {
  it("names its segments", () => {
    const lab = [35000, 40000, 30000];
    const { segments } = read([at(0)], {
      "00620002": [values({ "00620004": [1], "00620005": ["Liver"], "00620008": ["MANUAL"], "00620021": ["2.5"], "0062000D": lab })],
    });
    expect(segments).toEqual([
      { key: "7/1", number: 1, label: "Liver", colour: colourOf(lab as [number, number, number]), tracking: "2.5", isByHand: true },
    ]);
  });

  it("of another kind is not drawn", () => {
    expect(segmentationOf(told([at(0)], { "00620001": ["LABELMAP"] }))).toBe("form");
    expect(segmentationOf(told([at(0)], { "00080016": ["1.2.840.10008.5.1.4.1.1.2"] }))).toBe("form");
    expect(segmentationOf({})).toBe("form");
  });

  it("that contradicts itself is not drawn", () => {
    expect(segmentationOf(told([at(0)], { "00280008": [2] }))).toBe("broken");
    expect(segmentationOf(told([at(0, "", 3)]))).toBe("broken");
    expect(segmentationOf(told([{}]))).toBe("broken");
    expect(segmentationOf(told([at(0)], { "00280010": [-4] }))).toBe("broken");
    expect(segmentationOf(told([at(0)], { "00280100": [16] }))).toBe("broken");
    expect(segmentationOf(told([at(0)], { "00620001": ["FRACTIONAL"], "00280100": [8], "0062000E": [0] }))).toBe("broken");
    expect(segmentationOf(told([at(0)], { "00620002": ["text"] }))).toBe("broken");
  });

  it("that says it is without measure is refused before anything is made of it", () => {
    expect(segmentationOf(told([at(0)], { "00280008": [2_000_000_000] }))).toBe("large");
    expect(segmentationOf(told([at(0)], { "00280010": [65535], "00280011": [65535] }))).toBe("large");
    expect(segmentationOf(told([at(0)], { "00620002": new Array(2000).fill({}) }))).toBe("large");
  });

  it("has a colour that is known from CIELab", () => {
    // Orange of Okabe and Ito, as highdicom writes it.
    expect(colourOf([46273, 37131, 52089])).toBe("#e69f00");
    expect([colourOf([65535, 32896, 32896]), colourOf([0, 32896, 32896])]).toEqual(["#ffffff", "#000000"]);
  });
});

describe("a frame", () => {
  it("lies on the image that it names", () => {
    expect(placed(read([at(2, "1.2"), at(0, "1.1")]))).toEqual({ on: [[1, [1]], [0, [2]]], askew: 0, absent: 0 });
  });

  it("that names none lies on the slice of its place, within the same frame of reference alone", () => {
    expect(placed(read([at(4)]))).toEqual({ on: [[2, [1]]], askew: 0, absent: 0 });
    expect(placed(read([at(4.004)])).on).toEqual([[2, [1]]]);
    expect(placed(read([at(4.1)]))).toEqual({ on: [], askew: 0, absent: 1 });
    expect(placed(read([at(4)], { "00200052": ["8"] }))).toEqual({ on: [], askew: 0, absent: 1 });
    expect(placed(read([at(4)], { "00200052": [] }))).toEqual({ on: [], askew: 0, absent: 1 });
  });

  it("that names an image which is not here lies on none, though one is in its place", () => {
    expect(placed(read([at(2, "3.3")]))).toEqual({ on: [], askew: 0, absent: 1 });
  });

  it("that lies otherwise than the image that it names is told, not drawn", () => {
    expect(placed(read([at(3, "1.2")]))).toEqual({ on: [], askew: 1, absent: 0 });
    const others: Record<string, number[]>[] = [{ "00280010": [8] }, { "00280030": [0.25, 0.5] }, { "00200037": [0, 1, 0, 1, 0, 0] }, { "00280030": [] }];
    for (const other of others) {
      expect(placed(read([at(2, "1.2")], other))).toEqual({ on: [], askew: 1, absent: 0 });
    }
  });

  it("of a segmentation of another series of the study is none here", () => {
    const other = { "00081115": [values({ "0020000E": ["o"] })] };
    expect(placedOn(read([at(2, "3.3")], other), slices, "s", ["s", "o"])).toBeNull();
    expect(placed(read([at(2, "3.3")], other), ["s"])).toEqual({ on: [], askew: 0, absent: 1 });
  });
});

describe("pixels", () => {
  const mask = read([at(0)]);

  it("are unpacked from the lowest bit on, also where a frame ends within a byte", () => {
    // 20 pixels: bits 0, 9 and 19, and four that belong to nobody.
    const pixels = pixelsOf(mask, Uint8Array.of(0b1, 0b10, 0b11111000));
    expect([...(pixels ?? [])].flatMap((value, index) => (value ? [index] : []))).toEqual([0, 9, 19]);
    expect(pixels?.length).toBe(20);
  });

  it("are none where there are too few or too many", () => {
    expect([2, 4, 19, 21, 0].map((length) => pixelsOf(mask, new Uint8Array(length)))).toEqual([null, null, null, null, null]);
  });

  const heat = read([at(0)], { "00620001": ["FRACTIONAL"], "00280100": [8], "0062000E": [200], "00620010": ["OCCUPANCY"] });

  it("of a heat map are bytes, and nothing stands where it says 0", () => {
    expect(heat.heat).toEqual({ most: 200, means: "occupancy" });
    expect(pixelsOf(heat, new Uint8Array(3))).toBeNull();
    const picture = heatPicture(Uint8Array.of(0, 200, 255), 200);
    expect([...picture.slice(0, 4)]).toEqual([0, 0, 0, 0]);
    expect([...picture.slice(4, 7)]).toEqual(heatColour(1));
    expect([...picture.slice(8, 11)]).toEqual(heatColour(1));
  });

  it("of a heat map are the lighter the more they say", () => {
    const light = Array.from({ length: 11 }, (_, step) => heatColour(step / 10)).map(([red, green, blue]) => 0.21 * red + 0.72 * green + 0.07 * blue);
    expect(light.every((one, step) => step === 0 || one > (light[step - 1] ?? 0) + 5)).toBe(true);
  });
});

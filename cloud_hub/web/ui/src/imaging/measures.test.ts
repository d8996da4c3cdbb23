import { describe, expect, it } from "vitest";
import type { Told } from "./dicom";
import { linesOf, short, unitOf } from "./measures";

const words = {
  area: "Area", mean: "Mean", deviation: "SD", least: "Min", most: "Max", stored: "stored values", rescaled: "rescaled values", beyond: "beyond",
};
const values = (part: Record<string, unknown>): Told =>
  Object.fromEntries(Object.entries(part).map(([tag, value]) => [tag, { Value: [value] }]));

describe("the unit of values", () => {
  it("is HU of CT alone, and only once slope and intercept were applied", () => {
    expect(unitOf(values({ "00080060": "CT", "00281052": -1024, "00281053": 1 }), true, words)).toBe("HU");
    expect(unitOf(values({ "00080060": "CT", "00281054": "HU" }), true, words)).toBe("HU");
    expect(unitOf(values({ "00080060": "CT" }), false, words)).toBe("stored values");
    expect(unitOf(values({ "00080060": "CT", "00281054": "US", "00281053": 2 }), true, words)).toBe("rescaled values");
  });

  it("is what the image names, or none", () => {
    expect(unitOf(values({ "00080060": "PT", "00541001": "BQML" }), true, words)).toBe("BQML");
    expect(unitOf(values({ "00080060": "MR", "00281054": "10^-6 mm^2/s", "00281053": 2 }), true, words)).toBe("10^-6 mm^2/s");
    expect(unitOf(values({ "00080060": "MR", "00281052": 0, "00281053": 1, "00281054": "US" }), true, words)).toBe("stored values");
    expect(unitOf(values({ "00080060": "MR", "00281052": -4096, "00281053": 2 }), true, words)).toBe("rescaled values");
  });
});

describe("the lines beside an area", () => {
  it("say its size and its values", () => {
    const stats = { area: 312.44, areaUnit: "mm²", mean: 41.26789, stdDev: 3.16228, min: -12, max: 80 };
    expect(linesOf(stats, "HU", words)).toEqual(["Area 312.4 mm²", "Mean 41.27 HU", "SD 3.162 HU", "Min -12 · Max 80 HU"]);
  });

  it("say no values of colours, and none where no pixel lies inside", () => {
    expect(linesOf({ area: 9, areaUnit: "px²", mean: [1, 2, 3], stdDev: [1, 1, 1], min: [0, 0, 0], max: [4, 4, 4] }, "", words)).toEqual(["Area 9 px²"]);
    expect(linesOf({ area: 0.2, areaUnit: "mm²", mean: Number.NaN, stdDev: Number.NaN, min: Infinity, max: -Infinity }, "HU", words)).toEqual(["Area 0.2 mm²"]);
  });

  it("say that it reaches beyond the picture, and nothing before it was counted", () => {
    expect(linesOf({}, "HU", words)).toEqual(["beyond"]);
    expect(linesOf({ area: null, mean: null }, "HU", words)).toEqual([]);
  });

  it("keep all digits before the point", () => {
    expect([65535, -1024.4, 123.456, 0.0123456, 0].map(short)).toEqual(["65535", "-1024", "123.5", "0.01235", "0"]);
  });
});

import { describe, expect, it } from "vitest";
import type { Slice } from "./dicom";
import { cutOf, gridOf, ringOf, slicesOf } from "./marks";
import type { Cut, Mark } from "./marks";

/** Axial images, 2 mm thick and 2 mm apart. */
const slices: Slice[] = [0, 2, 4, 6].map((z) => ({
  imageId: `${z}`,
  number: 1,
  isLossy: false,
  told: { "00200037": { Value: [1, 0, 0, 0, 1, 0] }, "00200032": { Value: [-10, -10, z] }, "00180050": { Value: [2] } },
}));
const mark = (z: number, diameter: number): Mark => ({ uid: "1", label: "AI 1", centre: [3, -4, z], diameter, verdict: "" });

describe("a mark", () => {
  it("is in the slices that cut its ball", () => {
    expect(slicesOf(slices, mark(3, 6))).toEqual([0, 1, 2, 3]);
    expect(slicesOf(slices, mark(4, 5))).toEqual([1, 2, 3]);
  });

  it("that is smaller than the slices are thick is in the one that holds its centre", () => {
    expect(slicesOf(slices, mark(4.4, 0.5))).toEqual([2]);
  });

  it("that lies beyond the pictures is in none, and so is any where a picture does not say how it lies", () => {
    expect(slicesOf(slices, mark(12, 5))).toEqual([]);
    expect(slicesOf(slices.map((one) => ({ ...one, told: {} })), mark(3, 6))).toEqual([]);
  });

  it("has a ring around it, in the pixels of the picture", () => {
    const place = ([x, y]: number[]): [number, number] => [100 + 4 * (x ?? 0), 200 + 4 * (y ?? 0)];
    const cut = cutOf(slices[0] as Slice) as Cut;
    expect(ringOf(cut, mark(0, 6), place)).toEqual({ x: 112, y: 184, radius: 17 });
    expect(ringOf(cut, mark(0, 1), place).radius).toBe(10);
  });
});

it("the pixels of a slice begin at the outer corner of the first one, each as large as its spacing", () => {
  const told = { "00200037": { Value: [1, 0, 0, 0, 1, 0] }, "00200032": { Value: [-10, -20, 3] }, "00280030": { Value: [0.5, 2] }, "00280010": { Value: [8] }, "00280011": { Value: [6] } };
  const place = ([x, y]: number[]): [number, number] => [100 - 4 * (x ?? 0), 200 + 4 * (y ?? 0)];
  // Mirrored: columns lead to the left.
  expect(gridOf({ imageId: "", number: 1, isLossy: false, told }, place)).toEqual([-8, 0, 0, 2, 144, 119]);
  expect(gridOf({ imageId: "", number: 1, isLossy: false, told: {} }, place)).toBeNull();
});

import { describe, expect, it } from "vitest";
import type { Slice, Told } from "./dicom";
import { middleOf, noVolume } from "./volume";

function slice(z: number, more: Record<string, unknown[]> = {}): Slice {
  const tags = {
    "00200037": [1, 0, 0, 0, 1, 0], "00200032": [-10, -20, z], "00280010": [41], "00280011": [21], "00280030": [0.5, 1], ...more,
  };
  const told: Told = Object.fromEntries(Object.entries(tags).map(([tag, Value]) => [tag, { Value }]));
  return { imageId: `${z}`, number: 1, isLossy: false, told };
}

describe("slices", () => {
  it("are a volume where they lie side by side, evenly", () => {
    expect(noVolume([0, 2, 4.01, 6, 8].map((z) => slice(z)))).toBeNull();
    expect(noVolume([8, 6, 4, 2, 0].map((z) => slice(z)))).toBeNull();
  });

  it("are none where one is missing, doubled or of another size", () => {
    expect(noVolume([0, 2, 6, 8, 10].map((z) => slice(z)))).toBe("uneven");
    expect(noVolume([0, 2, 2, 4, 6, 8].map((z) => slice(z)))).toBe("uneven");
    expect(noVolume([0, 2, 4, 6].map((z) => slice(z)).concat(slice(8, { "00280010": [40] })))).toBe("uneven");
  });

  it("are none where they are few, in colour, turned, or do not say how they lie", () => {
    expect(noVolume([0, 2, 4].map((z) => slice(z)))).toBe("few");
    expect(noVolume([0, 2, 4, 6, 8].map((z) => slice(z, { "00280002": [3] })))).toBe("colour");
    expect(noVolume([0, 2, 4, 6].map((z) => slice(z)).concat(slice(8, { "00200037": [0, 1, 0, 0, 0, -1] })))).toBe("lies");
    expect(noVolume([0, 2, 4, 6, 8].map((z) => slice(z, { "00200032": [] })))).toBe("lies");
  });

  it("have a middle in the patient", () => {
    expect(middleOf(slice(3))).toEqual([0, -10, 3]);
    expect(middleOf(slice(3, { "00200037": [] }))).toBeNull();
  });
});

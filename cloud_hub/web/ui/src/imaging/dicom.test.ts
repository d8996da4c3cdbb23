import { describe, expect, it } from "vitest";
import { Refused } from "../app/api";
import { FRAMES_MOST, edges, firstWindow, height, letters, outwards, presetsOf, rangeOf, seriesOf, stackOf, windowOf } from "./dicom";
import type { Told } from "./dicom";
import { faultOf } from "./dicomweb";
import { runs } from "../screens/study/Ruler";
import { arrivalWords, takenAt } from "../screens/study/studies";
import type { StudyRow } from "../contract";

const values = (part: Record<string, unknown[]>): Told =>
  Object.fromEntries(Object.entries(part).map(([tag, Value]) => [tag, { Value }]));
const image = (uid: string, number: number, more: Record<string, unknown[]> = {}) =>
  values({ "00080018": [uid], "00200013": [number], "00280010": [4], ...more });

describe("series and slices", () => {
  it("come in the order of their numbers", () => {
    const told = [3, 1].map((number) => values({ "0020000E": [`s${number}`], "00200011": [number] }));
    expect(seriesOf(told).map(({ uid }) => uid)).toEqual(["s1", "s3"]);
    const { slices } = stackOf([image("b", 2), image("a", 1)], "/x", "k");
    expect(slices.map(({ imageId }) => imageId)).toEqual([
      "wadors:/x/instances/a/frames/1?filed=k",
      "wadors:/x/instances/b/frames/1?filed=k",
    ]);
  });

  it("of one number come in the order of where they lie", () => {
    const at = (uid: string, z: number) => image(uid, 0, { "00200037": [1, 0, 0, 0, 1, 0], "00200032": [0, 0, z] });
    expect(stackOf([at("top", 30), at("low", -5)], "/x", "k").slices.map(({ told }) => height(told))).toEqual([-5, 30]);
  });

  it("are the frames of an object that has several, each with its own place", () => {
    const place = (z: number) => ({ "00209113": { Value: [{ "00200032": { Value: [0, 0, z] } }] } });
    const many = image("a", 1, { "00280008": [2], "52009230": [place(1), place(2)] });
    const { slices } = stackOf([many], "/x", "k");
    expect(slices.map(({ imageId }) => imageId.split("/").at(-1))).toEqual(["1?filed=k", "2?filed=k"]);
    expect(slices.map(({ told }) => told["00200032"]?.Value?.[2])).toEqual([1, 2]);
  });

  it("are no pictures where there are no rows", () => {
    expect(stackOf([values({ "00080018": ["report"] })], "/x", "k").slices).toEqual([]);
    expect(stackOf([image("areas", 1, { "00080060": ["SEG"] })], "/x", "k")).toEqual({ slices: [], total: 0 });
  });

  it("are no more than one goes through, whatever a file says, and how many there are is told", () => {
    const { slices, total } = stackOf([image("a", 1, { "00280008": [2_000_000_000] }), image("b", 2)], "/x", "k");
    expect([slices.length, total]).toEqual([FRAMES_MOST + 1, 2_000_000_001]);
    expect(slices.at(-2)?.imageId).toBe("wadors:/x/instances/a/frames/10000?filed=k");
    expect(slices.at(-1)?.imageId).toBe("wadors:/x/instances/b/frames/1?filed=k");
  });

  it("are fetched from where one looks outwards", () => {
    expect(outwards(5, 3)).toEqual([3, 2, 4, 1, 0]);
  });
});

describe("where things lie in the picture", () => {
  const axial = values({ "00200037": [1, 0, 0, 0, 1, 0] });

  it("is told by the letters of practice: the patient's right is on the left", () => {
    expect(edges(axial, false)).toEqual({ left: "R", right: "L", top: "A", bottom: "P" });
  });

  it("turns with a mirror", () => {
    expect(edges(axial, true)).toEqual({ left: "L", right: "R", top: "A", bottom: "P" });
  });

  it("names two letters where the picture is tilted, and none where nothing is said", () => {
    expect(letters([0.8, -0.6, 0])).toBe("LA");
    expect(letters([0.1, 0.99, 0.1])).toBe("P");
    expect(edges({}, false)).toBeNull();
  });
});

describe("windows", () => {
  it("are those of practice for CT, with the image's own after them", () => {
    const names = presetsOf(values({ "00080060": ["CT"], "00281050": [40], "00281051": [80] })).map(({ name }) => name);
    expect(names.slice(0, 3)).toEqual(["brain", "stroke", "bone"]);
    expect(names.slice(-2)).toEqual(["own", "all"]);
    expect(names.length).toBeLessThanOrEqual(9);
  });

  it("are the image's own elsewhere, none without a width", () => {
    const told = values({ "00080060": ["MR"], "00281050": [500, 9], "00281051": [900, 0] });
    expect(presetsOf(told)).toEqual([
      { name: "own", window: { centre: 500, width: 900 } },
      { name: "all", window: null },
    ]);
  });

  it("begin with soft tissue for a CT that names none, and with the image's own elsewhere", () => {
    expect(firstWindow(values({ "00080060": ["CT"] }))).toEqual({ centre: 40, width: 400 });
    expect(firstWindow(values({ "00080060": ["CT"], "00281050": [40], "00281051": [80] }))).toBeUndefined();
    expect(firstWindow(values({ "00080060": ["MR"] }))).toBeUndefined();
  });

  it("are none for pictures in colour", () => {
    expect(presetsOf(values({ "00080060": ["US"], "00280002": [3] }))).toEqual([]);
  });

  it("go to the values that they show, as PS3.3 C.11.2.1.2 has it, and back", () => {
    expect(rangeOf({ centre: 40, width: 80 })).toEqual({ lower: 0, upper: 79 });
    expect(windowOf(rangeOf({ centre: 40, width: 80 }))).toEqual({ centre: 40, width: 80 });
    expect(windowOf(rangeOf({ centre: 500, width: 2000 }))).toEqual({ centre: 500, width: 2000 });
  });
});

describe("a picture that is not shown", () => {
  it("says why by what the hub answered", () => {
    const answered = (status: number) => faultOf({ error: { status } });
    expect([404, 406, 409, 422, 410, 503, 0].map(answered)).toEqual([
      "gone", "form", "broken", "broken", "gone", "away", "away",
    ]);
    expect(faultOf(new Refused(404, "", { zh: "", en: "" }))).toBe("gone");
  });

  it("could not be decoded where no request failed", () => {
    expect(faultOf(new Error("no codec"))).toBe("decode");
  });

  it("leaves its place on the ruler", () => {
    expect(runs(new Set([4, 0, 1, 2, 7]))).toEqual([[0, 3], [4, 5], [7, 8]]);
  });
});

describe("a row of a study", () => {
  const row = (part: Partial<StudyRow>) => part as StudyRow;
  const t = (key: string, numbers?: object) => `${key} ${Object.values(numbers ?? {}).join("/")}`.trim();

  it("says when it was taken as far as that is known", () => {
    expect(takenAt({ study_date: "20261126", study_time: "154800" })).toBe("2026-11-26 15:48");
    expect(takenAt({ study_date: "20261126", study_time: "" })).toBe("2026-11-26");
    expect(takenAt({ study_date: "", study_time: "" })).toBe("");
  });

  it("says how much has come, and claims nothing where the site has not said how much there is", () => {
    expect(arrivalWords(row({ state: "partly", arrived: 5, expected: 7 }), t)).toBe("study.partly 5/7");
    expect(arrivalWords(row({ state: "partly", arrived: 5, expected: null }), t)).toBe("study.open 5");
    expect(arrivalWords(row({ state: "whole", arrived: 7, expected: 7 }), t)).toBe("study.whole");
  });
});

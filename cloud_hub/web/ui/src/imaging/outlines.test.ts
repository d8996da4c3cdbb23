import { describe, expect, it } from "vitest";
import { outline } from "./outlines";

const of = (...rows: string[]) => outline(Uint8Array.from(rows.join(""), (letter) => (letter === "#" ? 1 : 0)), rows[0]?.length ?? 0);

/** The area that a path of H, V and M goes around, holes taken away. */
function area(path: string): number {
  return path.split("Z").filter(Boolean).reduce((sum, loop) => {
    let [x, y, beginX] = [0, 0, 0];
    let inside = 0;
    for (const [, letter, to, down] of loop.matchAll(/([MHV])(\d+)(?: (\d+))?/g)) {
      if (letter === "M") [x, y, beginX] = [Number(to), Number(down), Number(to)];
      if (letter === "H") [x, inside] = [Number(to), inside - (Number(to) - x) * y];
      if (letter === "V") y = Number(to);
    }
    // Its last edge, which is not written, may lead across too.
    return sum + inside - (beginX - x) * y;
  }, 0);
}

describe("the outline of an area", () => {
  it("goes around its pixels", () => {
    expect(of("....", ".##.", "....")).toBe("M1 1H3V2H1Z");
    expect(of("#")).toBe("M0 0H1V1H0Z");
    expect(of("....", "....")).toBe("");
  });

  it("leaves holes out", () => {
    const path = of("###", "#.#", "###") ?? "";
    expect(path.split("Z").length - 1).toBe(2);
    expect(area(path)).toBe(8);
  });

  it("goes around each of two that touch at a corner alone", () => {
    expect(of("#.", ".#")).toBe("M0 0H1V1H0ZM1 1H2V2H1Z");
    expect(of(".#", "#.")).toBe("M1 0H2V1H1ZM0 1H1V2H0Z");
  });

  it("reaches the edge of the picture", () => {
    expect(of("##", "##")).toBe("M0 0H2V2H0Z");
  });

  it("has as much inside as there are pixels, whatever they are", () => {
    let seed = 7;
    const pixels = Uint8Array.from({ length: 40 * 33 }, () => Number((seed = (seed * 16807) % 2147483647) % 3 > 0));
    expect(area(outline(pixels, 33) ?? "")).toBe(pixels.reduce((sum, one) => sum + one, 0));
  });

  it("is none where there are more edges than anybody looks at", () => {
    const pixels = Uint8Array.from({ length: 1024 * 1024 }, (_, at) => (at + (at >> 10)) & 1);
    expect(outline(pixels, 1024)).toBeNull();
  });
});

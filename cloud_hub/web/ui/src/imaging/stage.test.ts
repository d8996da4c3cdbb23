import { expect, it, vi } from "vitest";

import { Stage } from "./stage";

const asked: string[] = [];
/** How often more a slice cannot be had. */
const away = new Map<string, number>();
let kind = "stack";
let volume = Promise.resolve({ load: () => undefined });
let filled = Promise.resolve();
const view = new Proxy(
  {},
  { get: (_, name) => (name === "type" ? kind : () => (name === "getProperties" ? {} : name === "getPan" ? [0, 0] : name === "setVolumes" ? filled : 1)) },
);

// The libraries need a browser that draws; what is fetched and what is told of it is ours.
vi.mock("@cornerstonejs/core", () => ({
  Enums: { ViewportType: { STACK: "stack", ORTHOGRAPHIC: "volume" }, Events: {}, RequestType: {}, OrientationAxis: {} },
  RenderingEngine: class {
    enableElement = ({ type }: { type: string }) => {
      kind = type;
    };
    disableElement = () => undefined;
    getViewport = () => view;
  },
  cache: { setMaxCacheSize: () => undefined },
  utilities: { getSpacingInNormalDirection: () => 1 },
  volumeLoader: { createAndCacheVolume: () => volume },
  imageLoader: {
    loadAndCacheImage: async (imageId: string) => {
      asked.push(imageId);
      const left = away.get(imageId) ?? 0;
      away.set(imageId, left - 1);
      if (left > 0) throw Object.assign(new Error("no"), { status: 503 });
    },
  },
  init: () => undefined,
}));
vi.mock("@cornerstonejs/dicom-image-loader", () => ({
  init: () => undefined,
  wadors: { metaDataManager: { add: () => undefined } },
}));
vi.mock("@cornerstonejs/tools", () => ({
  Enums: { MouseBindings: {} },
  ToolGroupManager: { createToolGroup: () => undefined },
  addTool: () => undefined,
  annotation: { config: { style: { getDefaultToolStyles: () => ({}), setDefaultToolStyles: () => undefined } } },
  init: () => undefined,
  AngleTool: { toolName: "angle" },
  EllipticalROITool: { toolName: "ellipse" },
  LengthTool: { toolName: "length" },
  PanTool: { toolName: "pan" },
  RectangleROITool: { toolName: "box" },
  WindowLevelTool: { toolName: "window" },
  ZoomTool: { toolName: "zoom" },
}));
vi.stubGlobal("window", { addEventListener: () => undefined });

async function opened(...uids: string[]): Promise<Stage> {
  const element = { removeAttribute: () => undefined, addEventListener: () => undefined };
  const stage = new Stage(element as unknown as HTMLDivElement);
  asked.length = 0;
  await stage.open(uids.map((imageId) => ({ imageId, number: 1, told: {}, isLossy: false })));
  return stage;
}

it("a slice that comes after all is no fault any more", async () => {
  away.set("b", 1).set("c", 9);
  const stage = await opened("a", "b", "c");
  await vi.waitFor(() => expect([...stage.get().faults]).toEqual([[1, "away"], [2, "away"]]));
  await stage.goTo(1);
  expect([...stage.get().faults]).toEqual([[2, "away"]]);
  expect([...stage.get().loaded]).toEqual([0, 1]);
  expect([stage.get().shown, asked]).toEqual([1, ["a", "a", "b", "c", "b"]]);
});

it("a slice that is waited for is drawn when it comes after all", async () => {
  away.set("d", 1);
  const stage = await opened("d", "e");
  await vi.waitFor(() => expect([...stage.get().loaded].sort()).toEqual([0, 1]));
  await vi.waitFor(() => expect([stage.get().shown, stage.get().faults.size]).toEqual([0, 0]));
});

it("a series that grows while another plane is made is shown as it was taken", async () => {
  let come = (): void => undefined;
  filled = new Promise((resolve) => {
    come = resolve;
  });
  const stage = await opened("f", "g");
  const turned = stage.setPlane("axial");
  await vi.waitFor(() => expect(kind).toBe("volume"));
  await stage.open(["f", "g", "h"].map((imageId) => ({ imageId, number: 1, told: {}, isLossy: false })));
  come();
  await turned;
  await vi.waitFor(() => expect(stage.get().loaded.size).toBe(3));
  expect([stage.get().plane, stage.get().shown, stage.get().cannotTurn, kind]).toEqual(["slices", 0, false, "stack"]);
});

it("a volume that cannot be made leaves the slices, and says so", async () => {
  const stage = await opened("i", "j");
  volume = Promise.reject(new Error("no memory"));
  await stage.setPlane("coronal");
  expect([stage.get().plane, stage.get().shown, stage.get().cannotTurn, kind]).toEqual(["slices", 0, true, "stack"]);
});

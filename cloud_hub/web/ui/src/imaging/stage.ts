/**
 * One picture of a stack, drawn by cornerstone3D; loaded by itself, because it is large.
 *
 * It fetches each slice itself before it shows it, so that no slice is ever drawn in another's place.  Of slices that are
 * a volume and have all come it draws other planes too.
 */
import { Enums, RenderingEngine, cache, imageLoader, init as initCore, utilities, volumeLoader } from "@cornerstonejs/core";
import type { Types } from "@cornerstonejs/core";
import { init as initLoader, wadors } from "@cornerstonejs/dicom-image-loader";
import {
  AngleTool,
  EllipticalROITool,
  Enums as ToolEnums,
  LengthTool,
  PanTool,
  RectangleROITool,
  ToolGroupManager,
  WindowLevelTool,
  ZoomTool,
  addTool,
  annotation,
  init as initTools,
} from "@cornerstonejs/tools";
import type { ImageFault } from "./dicomweb";
import { faultOf } from "./dicomweb";
import { along, cross, firstWindow, height, outwards, rangeOf, windowOf } from "./dicom";
import type { Slice, Vector, Window } from "./dicom";
import { cutOf } from "./marks";
import type { Cut } from "./marks";
import { linesOf, unitOf } from "./measures";
import type { AreaStats, MeasureWords } from "./measures";
import { middleOf } from "./volume";

/** Those that measure; nothing of what they say is kept. */
export const MEASURES = ["length", "ellipse", "box", "angle"] as const;
export type Tool = "scroll" | "window" | "pan" | "zoom" | (typeof MEASURES)[number];
export const PLANES = ["slices", "axial", "sagittal", "coronal"] as const;
/** "slices": as they were taken; the others are made of all of them. */
export type Plane = (typeof PLANES)[number];
type View = Types.IStackViewport | Types.IVolumeViewport;

export interface StageState {
  /** Which slice is drawn; null: none yet. */
  shown: number | null;
  /** Which slice is asked for. */
  wanted: number;
  loaded: ReadonlySet<number>;
  faults: ReadonlyMap<number, ImageFault>;
  window: { centre: number; width: number } | null;
  tool: Tool;
  isInverted: boolean;
  isMirrored: boolean;
  zoom: number;
  plane: Plane;
  /** Of a plane that was made: which one of how many, and how it lies. */
  made: { at: number; count: number; cut: Cut } | null;
  /** The point of the patient that all planes go through; null until one was made or pointed at. */
  point: Vector | null;
  /** Other planes were asked for, and could not be made. */
  cannotTurn: boolean;
}

interface Look {
  range: Types.VOIRange | undefined;
  zoom?: number;
  pan?: Types.Point2;
}

const TOOLS = {
  window: WindowLevelTool,
  pan: PanTool,
  zoom: ZoomTool,
  length: LengthTool,
  ellipse: EllipticalROITool,
  box: RectangleROITool,
  angle: AngleTool,
};
const AT_ONCE = 4;
const CACHE_BYTES = 1024 * 1024 * 1024;
/** Neither red, yellow nor cyan, which belong to alarms. */
const INK = { color: "#eef2f5", colorHighlighted: "#8fb8f2", colorSelected: "#8fb8f2", colorLocked: "#b4bec7" };
let isBegun = false;
let count = 0;

function begin(): void {
  if (isBegun) return;
  isBegun = true;
  initCore();
  initLoader({ maxWebWorkers: 2 });
  initTools();
  cache.setMaxCacheSize(CACHE_BYTES);
  // The loader tells of a failed request twice: to who asked, who shows it, and to nobody.
  window.addEventListener("unhandledrejection", (event) => {
    if (event.reason instanceof XMLHttpRequest) event.preventDefault();
  });
  for (const tool of Object.values(TOOLS)) addTool(tool);
  const styles = annotation.config.style.getDefaultToolStyles();
  const text = { textBoxColor: INK.color, textBoxColorHighlighted: INK.colorHighlighted, textBoxColorSelected: INK.colorSelected };
  annotation.config.style.setDefaultToolStyles({ ...styles, global: { ...styles["global"], ...INK, ...text } });
}

const ORIENTATIONS = { axial: "AXIAL", sagittal: "SAGITTAL", coronal: "CORONAL" } as const;

function spacingAlong(view: Types.IVolumeViewport, normal: Types.Point3): number {
  const data = view.getImageData();
  return data ? utilities.getSpacingInNormalDirection({ direction: data.direction, spacing: data.spacing }, normal) : 0;
}

function nearest(slices: Slice[], point: Vector): number {
  const away = slices.map((slice) => Math.abs(along(point, cutOf(slice)?.normal ?? [0, 0, 0]) - height(slice.told)));
  return Math.max(0, away.indexOf(Math.min(...away)));
}

/** A point moved upright into a slice, so that what one looks at is what the other planes go through. */
function within(slice: Slice, point: Vector | null): Vector | null {
  const cut = cutOf(slice);
  return cut && point && moved(point, cut.normal, cut.at);
}

function moved(point: Vector, normal: Vector, at: number): Vector {
  const off = at - along(point, normal);
  return point.map((part, axis) => part + off * (normal[axis] ?? 0)) as Vector;
}

/** Another one as soon as the series has grown. */
const slicesName = (slices: Slice[]) => `${slices.length}-${slices[0]?.imageId ?? ""}`;

export class Stage {
  private readonly name = `stage-${(count += 1)}`;
  private readonly engine: RenderingEngine;
  private readonly group;
  private readonly watchers = new Set<() => void>();
  private slices: Slice[] = [];
  private isClosed = false;
  private isTurning = false;
  /** How the picture looked before the series grew. */
  private look: Look | null = null;
  private words: MeasureWords | null = null;
  private state: StageState = {
    shown: null,
    wanted: 0,
    loaded: new Set(),
    faults: new Map(),
    window: null,
    tool: "window",
    isInverted: false,
    isMirrored: false,
    zoom: 1,
    plane: "slices",
    made: null,
    point: null,
    cannotTurn: false,
  };

  constructor(private readonly element: HTMLDivElement) {
    begin();
    this.engine = new RenderingEngine(this.name);
    this.group = ToolGroupManager.createToolGroup(this.name);
    const areas: readonly string[] = [EllipticalROITool.toolName, RectangleROITool.toolName];
    for (const { toolName } of Object.values(TOOLS)) {
      this.group?.addTool(toolName, areas.includes(toolName) ? { getTextLines: this.areaLines } : {});
    }
    this.enable(Enums.ViewportType.STACK);
    element.addEventListener(Enums.Events.VOI_MODIFIED, this.follow);
    element.addEventListener(Enums.Events.CAMERA_MODIFIED, this.follow);
    this.setTool(this.state.tool);
  }

  readonly subscribe = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  readonly get = (): StageState => this.state;

  /** Take up a series, or what it has become: then the same slice stays, in the same window and place. */
  async open(slices: Slice[]): Promise<void> {
    await this.setPlane("slices");
    const before = this.slices[this.state.wanted]?.imageId;
    const at = slices.findIndex(({ imageId }) => imageId === before);
    this.slices = slices;
    for (const { imageId, told } of slices) wadors.metaDataManager.add(imageId, told as never);
    // Where nothing has been drawn since, what was kept or chosen for the first picture still holds.
    if (this.state.shown !== null) this.look = this.lookNow();
    this.change({ shown: null, loaded: new Set(), faults: new Map() });
    await this.goTo(Math.max(at, 0));
    void this.fetchAll(slices);
  }

  /** Whether these are the slices that it shows: before, no place among them is one here. */
  holds(slices: Slice[] | undefined): boolean {
    return this.slices === slices;
  }

  /** Show a slice as soon as it is there; only the newest wish counts. */
  async goTo(index: number): Promise<void> {
    if (this.state.made) return this.step(index - this.state.made.at);
    const at = Math.max(0, Math.min(index, this.slices.length - 1));
    const slice = this.slices[at];
    if (!slice) return;
    this.change({ wanted: at });
    const isThere = await this.fetch(at, this.slices);
    if (!isThere || this.isClosed || this.state.wanted !== at || this.slices[at] !== slice) return;
    await this.draw(at);
  }

  step(by: number): void {
    const { made, wanted } = this.state;
    if (!made) return void this.goTo(wanted + by);
    const to = Math.max(0, Math.min(made.at + by, made.count - 1));
    const view = this.volume();
    view?.scroll(to - made.at);
    view?.render();
    this.follow();
  }

  /** Draw another plane through the same point; the slices themselves again with "slices". */
  async setPlane(plane: Plane): Promise<void> {
    if (plane === this.state.plane || this.isTurning) return;
    this.isTurning = true;
    const { slices } = this;
    const isTurned = await this.turn(plane).then(() => true, () => false);
    this.isTurning = false;
    const isSame = slices === this.slices;
    if (this.isClosed || (isTurned && isSame)) return;
    // It failed, or the series has grown meanwhile: then the slices stand there, of which some may not have come yet.
    this.enable(Enums.ViewportType.STACK);
    this.change({ plane: "slices", made: null, shown: null, cannotTurn: isSame });
    await this.goTo(this.state.wanted);
  }

  private async turn(plane: Plane): Promise<void> {
    const { plane: before, wanted } = this.state;
    const range = this.viewport()?.getProperties()?.voiRange;
    const slice = this.slices[wanted];
    const own = before === "slices" && slice ? within(slice, this.state.point ?? middleOf(slice)) : null;
    const point = own ?? this.state.point;
    if (plane === "slices") {
      this.enable(Enums.ViewportType.STACK);
      this.look = range ? { range } : null;
      this.change({ plane, made: null, shown: null, wanted: point ? nearest(this.slices, point) : wanted });
      return this.goTo(this.state.wanted);
    }
    if (before === "slices") await this.makeVolume();
    if (this.isClosed) return;
    const view = this.volume();
    view?.setOrientation(Enums.OrientationAxis[ORIENTATIONS[plane]]);
    view?.setProperties({ ...(range && { voiRange: range }), invert: this.state.isInverted });
    this.change({ plane, isMirrored: false, point });
    if (point) this.lookAt(point);
  }

  /** Go through a point of the patient, in mm. */
  lookAt(point: Vector): void {
    this.change({ point });
    const view = this.volume();
    if (!view) return void this.goTo(nearest(this.slices, point));
    view.jumpToWorld(point);
    view.render();
    this.follow();
  }

  /** Let all planes go through a point of the patient from now on. */
  pointAt(point: Vector | null): void {
    if (point) this.change({ point });
  }

  /** The point of the patient at a place of the picture, in pixels from its upper left corner. */
  pointOf(x: number, y: number): Vector | null {
    return (this.isDrawn && (this.viewport()?.canvasToWorld([x, y]) as Vector | undefined)) || null;
  }

  /** Ask once more for what could not be had. */
  retry(): void {
    this.change({ faults: new Map() });
    void this.goTo(this.state.wanted).then(() => this.fetchAll(this.slices));
  }

  setWindow(window: Window): void {
    const view = this.viewport();
    // Of the slice that is seen: the one that is wanted may not have come yet.
    const range = window ? rangeOf(window) : this.wholeRange(this.slices[this.state.shown ?? this.state.wanted]);
    if (!view || !range) return;
    if (!this.isDrawn) {
      this.look = { ...this.look, range };
      return;
    }
    view.setProperties({ voiRange: range });
    view.render();
    this.follow();
  }

  private wholeRange(slice: Slice | undefined): Types.VOIRange | undefined {
    const image = cache.getImage(slice?.imageId ?? "");
    return image && { lower: image.minPixelValue, upper: image.maxPixelValue };
  }

  invert(): void {
    const isInverted = !this.state.isInverted;
    this.viewport()?.setProperties({ invert: isInverted });
    this.viewport()?.render();
    this.change({ isInverted });
  }

  mirror(): void {
    // A plane that was made is turned as the field draws it; mirrored, its cut would be told wrongly.
    if (this.state.made) return;
    const isMirrored = !this.state.isMirrored;
    this.viewport()?.setCamera({ flipHorizontal: isMirrored });
    this.viewport()?.render();
    this.change({ isMirrored });
  }

  reset(): void {
    if (!this.isDrawn) return;
    const view = this.viewport();
    view?.resetCamera();
    view?.resetProperties();
    view?.setCamera({ flipHorizontal: false });
    view?.render();
    this.change({ isInverted: false, isMirrored: false });
    if (this.state.made && this.state.point) this.lookAt(this.state.point);
    this.follow();
  }

  zoomBy(factor: number): void {
    const view = this.viewport();
    view?.setZoom(view.getZoom() * factor);
    view?.render();
    this.follow();
  }

  setTool(tool: Tool): void {
    const { Primary, Secondary, Auxiliary } = ToolEnums.MouseBindings;
    for (const each of Object.values(TOOLS)) this.group?.setToolPassive(each.toolName, { removeAllBindings: true });
    const bound = new Map<string, { mouseButton?: number; numTouchPoints?: number }[]>([
      [PanTool.toolName, [{ mouseButton: Auxiliary }]],
      [ZoomTool.toolName, [{ mouseButton: Secondary }, { numTouchPoints: 2 }]],
    ]);
    if (tool !== "scroll") {
      const { toolName } = TOOLS[tool];
      bound.set(toolName, [...(bound.get(toolName) ?? []), { mouseButton: Primary }, { numTouchPoints: 1 }]);
    }
    for (const [name, bindings] of bound) this.group?.setToolActive(name, { bindings: bindings as never });
    this.change({ tool });
  }

  /** Say in which words areas are told. */
  setWords(words: MeasureWords): void {
    this.words = words;
    if (this.isDrawn) this.viewport()?.render();
  }

  /** The library tells of an ellipse with one target, of a box with a list of them. */
  private readonly areaLines = ({ cachedStats }: { cachedStats: Record<string, AreaStats> }, target: string | string[]): string[] => {
    const stats = cachedStats[Array.isArray(target) ? (target[0] ?? "") : target];
    const slice = this.slices[this.state.shown ?? this.state.wanted];
    if (!stats || !slice || !this.words) return [];
    const isScaled = cache.getImage(slice.imageId)?.preScale?.scaled === true;
    return linesOf(stats, unitOf(slice.told, isScaled, this.words), this.words);
  };

  clearMeasures(): void {
    annotation.state.removeAllAnnotations();
    this.viewport()?.render();
  }

  /** As large beside the whole picture as before, and on the same place: what was whole stays so on a phone that is turned. */
  resize(): void {
    const view = this.isDrawn ? this.viewport() : undefined;
    const zoom = view?.getZoom() ?? 1;
    this.engine.resize(true, true);
    view?.setZoom(zoom);
    view?.render();
    this.follow();
  }

  /** Where a point of the patient stands in the picture, in pixels of the page from its upper left corner. */
  readonly place = (point: Vector): [number, number] => this.viewport()?.worldToCanvas(point) ?? [0, 0];

  close(): void {
    this.isClosed = true;
    this.element.removeEventListener(Enums.Events.VOI_MODIFIED, this.follow);
    this.element.removeEventListener(Enums.Events.CAMERA_MODIFIED, this.follow);
    ToolGroupManager.destroyToolGroup(this.name);
    annotation.state.removeAllAnnotations();
    this.engine.destroy();
    // What was seen of one person does not stay in the memory of the page.
    cache.purgeCache();
    wadors.metaDataManager.purge();
    this.watchers.clear();
  }

  private enable(type: Enums.ViewportType): void {
    if (this.engine.getViewport(this.name)) this.engine.disableElement(this.name);
    this.engine.enableElement({ viewportId: this.name, type, element: this.element });
    // With the focus on it, the tools' own listener would swallow every key, Tab too.
    this.element.removeAttribute("tabindex");
    this.group?.addViewport(this.name, this.name);
  }

  /** Put all slices into one volume and show that. */
  private async makeVolume(): Promise<void> {
    const volumeId = `${this.name}-${slicesName(this.slices)}`;
    const imageIds = this.slices.map(({ imageId }) => imageId);
    const volume = await volumeLoader.createAndCacheVolume(volumeId, { imageIds });
    if (this.isClosed) return;
    this.enable(Enums.ViewportType.ORTHOGRAPHIC);
    volume.load();
    await this.volume()?.setVolumes([{ volumeId }]);
  }

  private async draw(at: number): Promise<void> {
    const view = this.stack();
    if (!view) return;
    const ids = this.slices.map(({ imageId }) => imageId);
    const isOther = this.state.shown === null;
    await (isOther ? view.setStack(ids, at) : view.setImageIdIndex(at));
    const slice = this.slices[at];
    if (this.isClosed || !slice || slice.imageId !== ids[at]) return;
    view.render();
    this.change({ shown: at });
    const begin = isOther ? firstWindow(slice.told) : undefined;
    if (isOther && this.look) this.lookAs(this.look);
    else if (begin) this.setWindow(begin);
    this.follow();
  }

  private lookNow(): Look | null {
    const view = this.stack();
    return view ? { range: view.getProperties().voiRange, zoom: view.getZoom(), pan: view.getPan() } : null;
  }

  private lookAs({ range, zoom, pan }: Look): void {
    const view = this.stack();
    view?.setProperties({ ...(range && { voiRange: range }), invert: this.state.isInverted });
    view?.setCamera({ flipHorizontal: this.state.isMirrored });
    if (zoom !== undefined) view?.setZoom(zoom);
    if (pan) view?.setPan(pan);
    view?.render();
    this.look = null;
  }

  private async fetchAll(slices: Slice[]): Promise<void> {
    const waiting = outwards(slices.length, this.state.wanted);
    const fetchSome = async () => {
      for (let next = waiting.shift(); next !== undefined && this.slices === slices; next = waiting.shift()) {
        if (this.isClosed) return;
        const wasMissed = this.state.faults.has(next);
        const isThere = await this.fetch(next, slices);
        // Who asked for it was told that it could not be had.
        if (isThere && wasMissed && next === this.state.wanted && this.slices === slices) await this.draw(next);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, fetchSome));
  }

  private async fetch(at: number, slices: Slice[]): Promise<boolean> {
    const imageId = slices[at]?.imageId;
    if (imageId === undefined || this.isClosed) return false;
    const isWanted = at === this.state.wanted;
    const requestType = isWanted ? Enums.RequestType.Interaction : Enums.RequestType.Prefetch;
    const options = { useRGBA: false, requestType, priority: isWanted ? -5 : 5 };
    try {
      await imageLoader.loadAndCacheImage(imageId, options);
    } catch (error) {
      if (slices === this.slices) this.change({ faults: new Map(this.state.faults).set(at, faultOf(error)) });
      return false;
    }
    const { loaded, faults } = this.state;
    if (slices === this.slices && (!loaded.has(at) || faults.has(at))) {
      this.change({ loaded: new Set(loaded).add(at), faults: new Map([...faults].filter(([index]) => index !== at)) });
    }
    return true;
  }

  private viewport(): View | undefined {
    return this.isClosed ? undefined : (this.engine.getViewport(this.name) as View | undefined);
  }

  private stack(): Types.IStackViewport | undefined {
    const view = this.viewport();
    return view?.type === Enums.ViewportType.STACK ? (view as Types.IStackViewport) : undefined;
  }

  private volume(): Types.IVolumeViewport | undefined {
    const view = this.viewport();
    return view?.type === Enums.ViewportType.ORTHOGRAPHIC ? (view as Types.IVolumeViewport) : undefined;
  }

  private get isDrawn(): boolean {
    return this.state.made !== null || this.state.shown !== null;
  }

  private readonly follow = () => {
    const view = this.viewport();
    const volume = this.state.plane === "slices" ? undefined : this.volume();
    if (!view || !(volume || this.state.shown !== null)) return;
    const range = view.getProperties()?.voiRange;
    this.change({ window: range ? windowOf(range) : null, zoom: view.getZoom(), ...(volume && this.lies(volume)) });
  };

  /** Where a plane that was made lies, and the point moved into it. */
  private lies(view: Types.IVolumeViewport): Pick<StageState, "made" | "point"> {
    const { viewUp, viewPlaneNormal: normal, focalPoint } = view.getCamera() as Required<Types.ICamera>;
    const column = viewUp.map((part) => -part) as Vector;
    const row = cross(viewUp, normal);
    const at = along(focalPoint, normal);
    const thick = spacingAlong(view, normal);
    const point = moved(this.state.point ?? focalPoint, normal, at);
    return { point, made: { at: view.getSliceIndex(), count: view.getNumberOfSlices(), cut: { row, column, normal, at, thick } } };
  }

  private change(part: Partial<StageState>): void {
    if (this.isClosed) return;
    this.state = { ...this.state, ...part };
    for (const watcher of this.watchers) watcher();
  }
}

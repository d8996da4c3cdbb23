/** The pictures of one series: slices, windows, tools.  A chunk of its own, for what draws them is large. */
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { MouseEvent, PointerEvent, ReactNode, RefObject, WheelEvent } from "react";
import { useKeys } from "../../app/keys";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { edges, edgesOf, isColour, presetsOf } from "../../imaging/dicom";
import type { Preset, SeriesTold, Slice, Stack } from "../../imaging/dicom";
import { stackOfSeries } from "../../imaging/dicomweb";
import type { Filed } from "../../imaging/dicomweb";
import { cutOf, meets, slicesOf } from "../../imaging/marks";
import type { Mark } from "../../imaging/marks";
import { MEASURES, Stage } from "../../imaging/stage";
import type { StageState, Tool } from "../../imaging/stage";
import { noVolume } from "../../imaging/volume";
import { Fault, Pending } from "../../state/Small";
import { Icon } from "../../state/Icon";
import type { Pointed } from "./Findings";
import { Marks } from "./Marks";
import { DrawnMasks, MaskRow } from "./Masks";
import { Planes, nextPlane } from "./Planes";
import { Ruler } from "./Ruler";
import { useMasks } from "./useMasks";

interface Shown {
  study: Filed;
  series: SeriesTold;
  /** Of the study. */
  all: SeriesTold[];
  /** True while nothing but a preview has come: it is looked at, never measured. */
  isPreview: boolean;
  /** Where Escape leads to. */
  leave: string;
  /** The image that was pointed to last, of this series or of another one. */
  pointed: Pointed | null;
  /** What models point to in this series. */
  marks: Mark[];
}

const JUMP = 10;
const SWIPE_PX = 14;
const TOOLS: [Tool, string][] = [
  ["scroll", "S"],
  ["window", "W"],
  ["pan", "P"],
  ["zoom", "Z"],
  ["length", "L"],
  ["ellipse", "C"],
  ["box", "B"],
  ["angle", "A"],
];
const isMeasure = (tool: Tool) => (MEASURES as readonly string[]).includes(tool);
const isTouch = () => window.matchMedia("(pointer: coarse)").matches;

/** The stage on an element, for as long as the element stands. */
function useStage(box: RefObject<HTMLDivElement | null>): Stage | null {
  const [stage, setStage] = useState<Stage | null>(null);
  useEffect(() => {
    if (!box.current) return undefined;
    const made = new Stage(box.current);
    if (isTouch()) made.setTool("scroll");
    const sizes = new ResizeObserver(() => made.resize());
    sizes.observe(box.current);
    setStage(made);
    return () => {
      sizes.disconnect();
      made.close();
    };
  }, [box]);
  return stage;
}

const NO_STAGE = () => () => undefined;
const NO_STATE = () => null;

function useStageState(stage: Stage | null): StageState | null {
  return useSyncExternalStore<StageState | null>(stage?.subscribe ?? NO_STAGE, stage?.get ?? NO_STATE);
}

/** Areas are told in the words of the page, also those that were measured before it changed its language. */
function useMeasureWords(stage: Stage | null): void {
  const { t, language } = useWords();
  useEffect(() => {
    stage?.setWords({
      area: t("measure.area"),
      mean: t("measure.mean"),
      deviation: t("measure.deviation"),
      least: t("measure.least"),
      most: t("measure.most"),
      stored: t("measure.stored"),
      rescaled: t("measure.rescaled"),
      beyond: t("measure.beyond"),
    });
  }, [stage, language]);
}

interface Acts {
  presets: Preset[];
  mayMeasure: boolean;
  leave: string;
  onHide: () => void;
  onMasks: () => void;
  /** To the next plane. */
  onTurn: () => void;
}

function useViewerKeys(stage: Stage | null, { presets, mayMeasure, leave, onHide, onMasks, onTurn }: Acts): void {
  const step = (by: number) => () => stage?.step(by);
  const windows = presets.slice(0, 9).map(({ window }, index) => [String(index + 1), () => stage?.setWindow(window)]);
  useKeys({
    ...(Object.fromEntries(windows) as Record<string, () => void>),
    ArrowDown: step(1),
    ArrowRight: step(1),
    ArrowUp: step(-1),
    ArrowLeft: step(-1),
    PageDown: step(JUMP),
    PageUp: step(-JUMP),
    Home: () => void stage?.goTo(0),
    End: step(Number.MAX_SAFE_INTEGER),
    ...Object.fromEntries(TOOLS.map(([tool, key]) => [key.toLowerCase(), () => (mayMeasure || !isMeasure(tool)) && stage?.setTool(tool)])),
    i: () => stage?.invert(),
    m: () => stage?.mirror(),
    r: () => stage?.reset(),
    h: onHide,
    o: onMasks,
    v: onTurn,
    " ": onHide,
    "+": () => stage?.zoomBy(1.25),
    "-": () => stage?.zoomBy(0.8),
    Escape: () => {
      location.hash = leave;
    },
  });
}

/** Go to the image that is pointed to, once for each time: what comes of the series later leaves the slice. */
function usePointed(stage: Stage | null, slices: Slice[] | undefined, pointed: Pointed | null, marks: Mark[]): void {
  const followed = useRef<Pointed | null>(null);
  const isOpen = stage?.holds(slices) ?? false;
  useEffect(() => {
    if (!stage || !slices || !isOpen || !pointed?.image || followed.current === pointed) return;
    const at = slices.findIndex(({ imageId }) => imageId.includes(`/instances/${pointed.image}/`));
    if (at < 0) return;
    followed.current = pointed;
    const mark = marks.find(({ uid }) => uid === pointed.finding);
    const { made } = stage.get();
    if (mark) stage.pointAt(mark.centre);
    if (made && mark) stage.lookAt(mark.centre);
    else void stage.goTo(at);
  }, [stage, slices, isOpen, pointed, marks]);
}

/** Swipes of one finger, or drags where scrolling is the tool. */
function useSwipe(stage: Stage | null, tool: Tool | undefined) {
  const from = useRef<number | null>(null);
  return {
    onPointerDown: (event: PointerEvent) => {
      from.current = tool === "scroll" && event.isPrimary && event.button === 0 ? event.clientY : null;
    },
    onPointerMove: (event: PointerEvent) => {
      if (from.current === null || !event.isPrimary) return;
      const by = Math.trunc((event.clientY - from.current) / SWIPE_PX);
      if (by === 0) return;
      from.current += by * SWIPE_PX;
      stage?.step(by);
    },
    onPointerUp: () => {
      from.current = null;
    },
    onPointerCancel: () => {
      from.current = null;
    },
  };
}

function Corners({ slice, state, count }: { slice: Slice; state: StageState; count: number }) {
  const { t } = useWords();
  const { made } = state;
  const around = made ? edgesOf(made.cut, false) : edges(slice.told, state.isMirrored);
  const at = (made?.at ?? state.shown ?? 0) + 1;
  return (
    <>
      <p className="corner left">
        <span data-testid="slice-number">{t("viewer.slice", { k: at, n: made?.count ?? count })}</span>
        {made && <span data-testid="made-plane">{t("viewer.made", { plane: t(`plane.${state.plane}`) })}</span>}
        {state.window && !isColour(slice.told) && (
          <span data-testid="window-values">
            {t("viewer.window", { centre: state.window.centre, width: state.window.width })}
          </span>
        )}
      </p>
      <p className="corner right">
        <span>{t("viewer.zoom", { n: state.zoom.toFixed(2) })}</span>
        {state.isInverted && <span>{t("viewer.inverted")}</span>}
        {state.isMirrored && <span>{t("viewer.mirrored")}</span>}
        {slice.isLossy && <span>{t("viewer.lossy")}</span>}
        {state.loaded.size + state.faults.size < count && (
          <span data-testid="fetched">{t("viewer.fetched", { n: state.loaded.size, m: count })}</span>
        )}
        {state.faults.size > 0 && <span>{t("viewer.missing", { n: state.faults.size })}</span>}
      </p>
      {around ? (
        (["top", "left", "right", "bottom"] as const).map((side) => (
          <span key={side} className={`edge at-${side}`} data-testid={`edge-${side}`}>
            {around[side]}
          </span>
        ))
      ) : (
        <span className="edge at-bottom small">{t("viewer.noDirections")}</span>
      )}
    </>
  );
}

function Words({ state, count, retry }: { state: StageState; count: number; retry: () => void }) {
  const { t } = useWords();
  const fault = state.faults.get(state.wanted);
  if (fault) {
    return (
      <div className="viewer-words fault-cover" role="alert" data-testid="image-fault" data-fault={fault}>
        <Icon name="warn" />
        <p>
          {t("viewer.slice", { k: state.wanted + 1, n: count })}: {t(`fault.image.${fault}` as Key)}
        </p>
        {fault === "away" && (
          <button type="button" className="btn" onClick={retry}>
            {t("retry")}
          </button>
        )}
      </div>
    );
  }
  if (state.shown === state.wanted) return null;
  return (
    <p className="viewer-words" role="status">
      {t("viewer.fetching", { k: state.wanted + 1 })}
    </p>
  );
}

/** What models point to, and whether it is to be seen. */
function useMarks(marks: Mark[], slices: Slice[] | undefined, state: StageState | null) {
  const [isHidden, setHidden] = useState(false);
  const seen = isHidden ? [] : marks;
  const slice = slices?.[state?.shown ?? -1];
  const cut = state?.made?.cut ?? (slice ? cutOf(slice) : null);
  const open = seen.filter(({ verdict }) => verdict !== "rejected");
  return {
    cut,
    here: cut ? seen.filter((mark) => meets(cut, mark)) : [],
    marked: [...new Set(open.flatMap((mark) => slicesOf(slices ?? [], mark)))],
    isHidden,
    setHidden,
  };
}

function Tools({ stage, state, stack, presets, mayMeasure, children }: {
  children: ReactNode;
  stage: Stage;
  state: StageState;
  stack: Stack;
  presets: Preset[];
  mayMeasure: boolean;
}) {
  const { t } = useWords();
  const isSet = ({ window }: Preset) =>
    window !== null && state.window?.centre === window.centre && state.window.width === window.width;
  return (
    <>
      <div role="group" aria-label={t("viewer.windows")} className="tool-row" hidden={presets.length === 0}>
        {presets.map((preset, index) => (
          <button
            key={`${preset.name}-${index}`}
            type="button"
            className="btn"
            aria-pressed={isSet(preset)}
            data-testid={`window-${index + 1}`}
            onClick={() => stage.setWindow(preset.window)}
          >
            {t(`window.${preset.name}` as Key)} <span className="key">{index + 1}</span>
          </button>
        ))}
      </div>
      <div role="group" aria-label={t("viewer.tools")} className="tool-row">
        {TOOLS.map(([tool, key]) => (
          <button
            key={tool}
            type="button"
            className="btn"
            aria-pressed={state.tool === tool}
            disabled={isMeasure(tool) && !mayMeasure}
            data-testid={`tool-${tool}`}
            onClick={() => stage.setTool(tool)}
          >
            {t(`tool.${tool}`)} <span className="key">{key}</span>
          </button>
        ))}
        <button type="button" className="btn" aria-pressed={state.isInverted} data-testid="invert" onClick={() => stage.invert()}>
          {t("tool.invert")} <span className="key">I</span>
        </button>
        <button type="button" className="btn" aria-pressed={state.isMirrored} disabled={state.made !== null} data-testid="mirror" onClick={() => stage.mirror()}>
          {t("tool.mirror")} <span className="key">M</span>
        </button>
        {children}
        <button type="button" className="btn" data-testid="tool-clear" onClick={() => stage.clearMeasures()}>
          {t("tool.clear")}
        </button>
        <button type="button" className="btn" data-testid="view-reset" onClick={() => stage.reset()}>
          {t("tool.reset")} <span className="key">R</span>
        </button>
        {!mayMeasure && <span className="dense t2">{t("viewer.noMeasure")}</span>}
        {stack.total > stack.slices.length && (
          <span className="dense strong" data-testid="frames-cut">
            {t("viewer.cut", { n: stack.slices.length, m: stack.total })}
          </span>
        )}
      </div>
    </>
  );
}

/** Where one is: in the slices, or in the planes that were made of them, of which nothing is missing. */
function placeOf({ made, loaded, faults, shown, wanted }: StageState, count: number) {
  return made
    ? { loaded: new Set(Array.from({ length: made.count }, (_, at) => at)), faults: new Map(), shown: made.at, wanted: made.at, count: made.count }
    : { loaded, faults, shown, wanted, count };
}

export default function Viewer({ study, series, all, isPreview, leave, pointed, marks }: Shown) {
  const { t } = useWords();
  const box = useRef<HTMLDivElement>(null);
  const stage = useStage(box);
  const state = useStageState(stage);
  const found = useQuery({
    // Of a series that grows, whatever has come since.
    queryKey: ["slices", study.study_key, series.uid, series.images],
    queryFn: () => stackOfSeries(study, series.uid),
    placeholderData: (before) => before,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const slices = found.data?.slices;
  useEffect(() => {
    if (stage && slices && slices.length > 0) void stage.open(slices);
  }, [stage, slices]);
  useMeasureWords(stage);
  usePointed(stage, slices, pointed, marks);
  const slice = slices?.[(state?.made ? state.wanted : state?.shown) ?? -1];
  const presets = slices?.[0] ? presetsOf(slices[0].told) : [];
  const { cut, here, marked, isHidden, setHidden } = useMarks(marks, slices, state);
  const onHide = () => setHidden((before) => !before);
  const seen = state?.made || isHidden ? null : (state?.shown ?? null);
  const masks = useMasks({ study, series: series.uid, all, slices, at: seen, marks });
  const onMasks = () => {
    if (!masks.isThere) return;
    // Who asks for them wants to see them.
    if (!masks.isOn) setHidden(false);
    masks.onSwitch();
  };
  const isWhole = state !== null && slices !== undefined && state.loaded.size === slices.length;
  const why = noVolume(slices ?? []) ?? (state?.cannotTurn ? "failed" : isWhole ? null : "fetching");
  const onTurn = () => {
    if (stage && state && why === null) void stage.setPlane(nextPlane(state));
  };
  useViewerKeys(stage, { presets, mayMeasure: !isPreview, leave, onHide, onMasks, onTurn });
  const swipe = useSwipe(stage, state?.tool);
  const onWheel = (event: WheelEvent) => stage?.step(Math.sign(event.deltaY));
  // In the slices themselves the point is shown once somebody has set it: that of a finding has its ring.
  const [isAimed, setAimed] = useState(false);
  const onDoubleClick = (event: MouseEvent) => {
    setAimed(true);
    const { left = 0, top = 0 } = box.current?.getBoundingClientRect() ?? {};
    stage?.pointAt(stage.pointOf(event.clientX - left, event.clientY - top));
  };
  const point = (state?.made || isAimed ? state?.point : null) ?? null;
  const isAsked = slices !== undefined && slices.length > 0;
  return (
    <section className="viewer" aria-label={series.description || series.modality}>
      <Pending active={found.isFetching} />
      <div
        className="viewer-picture"
        data-testid="viewer"
        data-shown={state?.shown ?? ""}
        data-loaded={state?.loaded.size ?? 0}
        data-plane={state?.plane ?? ""}
        onWheel={onWheel}
        onDoubleClick={onDoubleClick}
        {...swipe}
      >
        <div ref={box} className="viewer-canvas" onContextMenu={(event) => event.preventDefault()} />
        {slice && stage && seen !== null && <DrawnMasks stage={stage} slice={slice} drawn={masks.drawn} picked={pointed?.finding ?? ""} />}
        {cut && stage && <Marks stage={stage} cut={cut} marks={here} picked={pointed?.finding ?? ""} point={point} />}
        {slice && state && <Corners slice={slice} state={state} count={slices?.length ?? 0} />}
        {state && isAsked && !state.made && <Words state={state} count={slices.length} retry={() => stage?.retry()} />}
        {slices?.length === 0 && <p className="viewer-words">{t(series.modality === "SEG" ? "segments.elsewhere" : "viewer.noPictures")}</p>}
        <Fault error={found.error} onRetry={() => void found.refetch()} />
        {state && isAsked && slices.length > 1 && <Ruler {...placeOf(state, slices.length)} marked={state.made ? [] : marked} onGo={(index) => void stage?.goTo(index)} />}
      </div>
      {stage && state && found.data && isAsked && (
        <div className="viewer-tools">
          <Planes stage={stage} state={state} why={why} />
          <Tools stage={stage} state={state} stack={found.data} presets={presets} mayMeasure={!isPreview}>
            {masks.isThere && (
              <button type="button" className="btn" aria-pressed={masks.isOn} data-testid="masks" onClick={onMasks}>
                {t("tool.masks")} <span className="key">O</span>
              </button>
            )}
            {(marks.length > 0 || masks.isOn) && (
              <button type="button" className="btn" aria-pressed={isHidden} data-testid="hide-ai" onClick={onHide}>
                {t("tool.hideAi")} <span className="key">H</span>
              </button>
            )}
          </Tools>
          {masks.isOn && <MaskRow masks={masks} isMade={state.made !== null} />}
        </div>
      )}
    </section>
  );
}

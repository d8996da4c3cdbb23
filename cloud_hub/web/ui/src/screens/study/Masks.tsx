/** Areas of segmentations, drawn over a slice and never into it; and the words about them beside it. */
import { useEffect, useRef } from "react";
import { useWords } from "../../i18n";
import type { Slice } from "../../imaging/dicom";
import { gridOf } from "../../imaging/marks";
import { heatColour } from "../../imaging/segments";
import type { Stage } from "../../imaging/stage";
import type { Drawn, Masks, Other } from "./useMasks";

/** A heat map, as large as the image and laid over it by the matrix. */
function Heat({ drawn: { picture, rows, columns, segment }, matrix }: { drawn: Drawn; matrix: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (picture) canvas.current?.getContext("2d")?.putImageData(new ImageData(picture, columns, rows), 0, 0);
  }, [picture, columns, rows]);
  return <canvas ref={canvas} width={columns} height={rows} style={{ transform: matrix }} data-testid="heat-drawn" data-segment={segment.label} />;
}

function Area({ drawn: { path, segment, mark }, isPicked }: { drawn: Drawn; isPicked: boolean }) {
  // A place that a physician changed is no longer that of the model's own area.
  const isJudged = mark ? mark.verdict === "accepted" : segment.isByHand;
  const colour = mark ? undefined : segment.colour || undefined;
  return (
    <g style={{ color: colour }} data-testid="mask-drawn" data-segment={segment.label} data-judged={isJudged} data-picked={isPicked}>
      <path className="under" d={path} />
      <path d={path} />
    </g>
  );
}

/** What lies on a slice; `picked`: the finding that was pressed last. */
export function DrawnMasks({ stage, slice, drawn, picked }: { stage: Stage; slice: Slice; drawn: Drawn[]; picked: string }) {
  const grid = gridOf(slice, stage.place);
  if (!grid || drawn.length === 0) return null;
  const matrix = `matrix(${grid.join(",")})`;
  return (
    <>
      <div className="heats" aria-hidden="true">
        {drawn.map((each) => each.picture && <Heat key={each.segment.key} drawn={each} matrix={matrix} />)}
      </div>
      <svg className="marks masks" aria-hidden="true">
        <g transform={matrix}>
          {drawn.map((each) => each.path && <Area key={each.segment.key} drawn={each} isPicked={each.mark !== null && each.mark.uid === picked} />)}
        </g>
      </svg>
    </>
  );
}

const STOPS = [0, 0.25, 0.5, 0.75, 1];

/** From 0 to 1, in the colours of the heat map. */
function Legend({ means }: { means: "probability" | "occupancy" }) {
  const { t } = useWords();
  const stops = STOPS.map((share) => `rgb(${heatColour(share).join(" ")}) ${100 * share}%`);
  return (
    <span className="heat-legend" data-testid="heat-legend">
      {t(`segments.${means}`)} 0 <span className="bar" style={{ background: `linear-gradient(to right, ${stops.join(", ")})` }} /> 1
    </span>
  );
}

function reach({ from, to }: Other): string {
  return from === to ? `${from + 1}` : `${from + 1}–${to + 1}`;
}

/** Segments that no report here speaks of, to be seen one by one. */
function Others({ others, onSee }: Pick<Masks, "others" | "onSee">) {
  const { t } = useWords();
  return (
    <div role="group" aria-label={t("tool.masks")} className="tool-row">
      {others.map((other) => (
        <button key={other.segment.key} type="button" className="btn" aria-pressed={other.isSeen} data-testid="segment" onClick={() => onSee(other)}>
          {!other.heat && <span className="swatch" style={{ background: other.segment.colour || undefined }} />}
          {other.segment.label}{" "}
          <span className="dense">
            {t(other.segment.isByHand ? "segments.byHand" : "segments.byMachine")} · {t("segments.on", { k: reach(other) })}
          </span>
        </button>
      ))}
    </div>
  );
}

/** What one may see beside the areas of findings, and what is not drawn, and why. */
export function MaskRow({ masks, isMade }: { masks: Masks; isMade: boolean }) {
  const { t } = useWords();
  const { others, untold, count, isFetching, onSee } = masks;
  const heat = others.find((one) => one.isSeen && one.heat)?.heat;
  return (
    <>
      {others.length > 0 && <Others others={others} onSee={onSee} />}
      <p className="mask-words dense t2" data-testid="mask-words">
        {heat && <Legend means={heat.means} />}
        {isFetching && <span>{t("segments.fetching")}</span>}
        {!isFetching && count === 0 && untold.length === 0 && <span>{t("segments.none")}</span>}
        {isMade && <span>{t("segments.made")}</span>}
        {untold.map(({ why, name, count: n }, at) => (
          <span key={`${why}-${name}-${at}`} className="strong" data-testid="segments-untold">
            {name}: {t(`segments.${why}`, { n })}
          </span>
        ))}
      </p>
    </>
  );
}

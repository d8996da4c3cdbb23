/** What a model points to, drawn over the picture and never into it. */
import { useWords } from "../../i18n";
import type { Vector } from "../../imaging/dicom";
import { ringOf } from "../../imaging/marks";
import type { Cut, Mark } from "../../imaging/marks";
import type { Stage } from "../../imaging/stage";

interface Drawn {
  stage: Stage;
  cut: Cut;
  /** Those that this picture meets. */
  marks: Mark[];
  /** The one that was pressed last. */
  picked: string;
  /** What the other planes go through, where there are any. */
  point: Vector | null;
}

const ARM_PX = 9;

/** Where the other planes cut this one. */
function Cross({ at: [x, y] }: { at: [number, number] }) {
  const path = `M${x - ARM_PX} ${y}h${2 * ARM_PX}M${x} ${y - ARM_PX}v${2 * ARM_PX}`;
  return <path className="cross" d={path} data-testid="plane-point" data-x={x} data-y={y} />;
}

export function Marks({ stage, cut, marks, picked, point }: Drawn) {
  const { t } = useWords();
  // What a physician called none is out of the way, unless it is what one asks for.
  const drawn = marks
    .filter(({ uid, verdict }) => verdict !== "rejected" || uid === picked)
    .map((mark) => ({ mark, ring: ringOf(cut, mark, stage.place) }));
  const at = point && stage.place(point);
  // Nothing covers what a ring stands around.
  const isInRing = at && drawn.some(({ ring }) => Math.hypot(ring.x - at[0], ring.y - at[1]) < ring.radius);
  return (
    <svg className="marks" aria-hidden="true">
      {at && !isInRing && <Cross at={at} />}
      {drawn.map(({ mark, ring }) => {
        const isPicked = mark.uid === picked;
        return (
          <g key={mark.uid} data-testid="finding-drawn" data-verdict={mark.verdict} data-picked={isPicked}>
            <circle className="under" cx={ring.x} cy={ring.y} r={ring.radius} />
            <circle cx={ring.x} cy={ring.y} r={ring.radius} />
            <text x={ring.x} y={isPicked ? ring.y - ring.radius - 7 : ring.y + ring.radius + 16}>
              {isPicked ? t(`mark.${mark.verdict || "open"}` as "mark.open", { n: mark.label }) : mark.label}
            </text>
          </g>
        );
      })}
    </svg>
  );
}

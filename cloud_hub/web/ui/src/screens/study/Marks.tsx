/** What a model points to, drawn over the picture and never into it. */
import { useWords } from "../../i18n";
import type { Slice } from "../../imaging/dicom";
import { ringOf } from "../../imaging/marks";
import type { Mark } from "../../imaging/marks";
import type { Stage } from "../../imaging/stage";

interface Drawn {
  stage: Stage;
  slice: Slice;
  /** Those that this slice meets. */
  marks: Mark[];
  /** The one that was pressed last. */
  picked: string;
}

export function Marks({ stage, slice, marks, picked }: Drawn) {
  const { t } = useWords();
  return (
    <svg className="marks" aria-hidden="true">
      {marks.map((mark) => {
        const ring = ringOf(slice, mark, stage.place);
        const isPicked = mark.uid === picked;
        // What a physician called none is out of the way, unless it is what one asks for.
        if (!ring || (mark.verdict === "rejected" && !isPicked)) return null;
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

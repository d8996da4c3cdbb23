/** Which plane of a series is drawn: as it was taken, or made of all its slices. */
import { useWords } from "../../i18n";
import { PLANES } from "../../imaging/stage";
import type { Plane, Stage, StageState } from "../../imaging/stage";
import type { NoVolume } from "../../imaging/volume";

/** As taken, or through all slices in another plane; why not, where that cannot be. */
export function Planes({ stage, state, why }: { stage: Stage; state: StageState; why: NoVolume | "fetching" | "failed" | null }) {
  const { t } = useWords();
  return (
    <div role="group" aria-label={t("viewer.planes")} className="tool-row">
      {PLANES.map((plane) => (
        <button
          key={plane}
          type="button"
          className="btn"
          aria-pressed={state.plane === plane}
          disabled={why !== null && plane !== "slices"}
          data-testid={`plane-${plane}`}
          onClick={() => void stage.setPlane(plane)}
        >
          {t(`plane.${plane}`)} {plane === nextPlane(state) && why === null && <span className="key">V</span>}
        </button>
      ))}
      {why && <span className="dense t2" data-testid="no-volume">{t(`volume.${why}`)}</span>}
      {!why && <span className="dense t2 hide-phone">{t("viewer.pointing")}</span>}
    </div>
  );
}

export function nextPlane({ plane }: StageState): Plane {
  return PLANES[(PLANES.indexOf(plane) + 1) % PLANES.length] ?? "slices";
}

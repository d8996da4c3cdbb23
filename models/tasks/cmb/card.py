"""What is written beside the weights: how they came about, and the model card for people."""

from dataclasses import asdict
from typing import Any

from models.tasks.cmb.training import Schedule, Trained
from models.tasks.cmb.weights import About

INTENDED_USE = (
    "Points a physician to places on susceptibility-weighted MR of the head that may be cerebral microbleeds. "
    "It decides nothing, and what it does not point to may be there all the same."
)
LIMITS = (
    "Trained on made-up heads of 48 mm only, never on a patient. Not for diagnosis. "
    "Needs magnitude and filtered phase of one series; without phase, calcium is taken for blood."
)


def training_record(trained: Trained, schedule: Schedule) -> dict[str, Any]:
    """Return how weights came about, as JSON has it."""
    return {
        "schedule": asdict(schedule),
        "steps": trained.steps,
        "machine": trained.machine,
        "wall_s": round(trained.wall_s, 1),
        "processor_s": round(trained.processor_s, 1),
        "losses": [round(loss, 4) for loss in trained.losses],
        "suspects": [{"subject": subject, "voxel": list(place)} for subject, place in trained.suspects],
    }


def card(about: About, metrics: dict[str, Any]) -> str:
    """Return the model card."""
    settings = about.settings()
    grid = f"resampled to {settings.grid.spacing_mm:g} mm, windows of {settings.window_shape[0]} voxels"
    test, validation, trained = metrics["test"], metrics["validation"], metrics["trained"]
    schedule = trained["schedule"]
    kinds = ", ".join(f"{kind} {count:g}" for kind, count in test["false_by_kind"].items()) or "none"
    return f"""# Cerebral microbleeds, {about.config.size} {about.config.arm}, {about.version}

**Training data: {about.training_data}.** {LIMITS}

Intended use: {INTENDED_USE}

| | |
| --- | --- |
| input | SWI and phase, 2 channels, {grid} |
| recipes | `cmb-prepare-1`, `cmb-decode-1` |
| trained on | {metrics["heads"]} heads of preset `{about.preset}`, seed {about.seed}, {trained["steps"]} steps of \
{schedule["batch"]} crops |
| trained by | {trained["machine"]} |
| threshold | {about.threshold:g}, set for 0.90 sensitivity on {validation["subjects"]} validation heads |
| weights | SHA-256 `{metrics["weights_sha256"]}` |

## Measured on {test["subjects"]} test heads with {test["lesions"]} bleeds

95 % intervals by bootstrap over heads. A finding counts if its centre lies in the lesion's box widened by 2 mm;
a second one in the same lesion is false.

| figure | value | 95 % |
| --- | --- | --- |
| false findings a head at 0.90 sensitivity | {_cells(test["false_at_90"])} |
| sensitivity at the threshold | {_cells(test["sensitivity"])} |
| false findings a head at the threshold | {_cells(test["false"])} |

False findings a head at the threshold lie at: {kinds}.

Made with `{command(about, metrics)}`.
These figures are of made-up heads and say nothing about patients.
"""


def command(about: About, metrics: dict[str, Any]) -> str:
    """Return what made weights, as it is typed."""
    schedule = metrics["trained"]["schedule"]
    told = f"python -m models train cmb --preset {about.preset} --arm {about.config.arm} --seed {about.seed}"
    for name in ("heads", "steps", "batch", "crop_voxels", "prototype_weight", "device"):
        told += f" --{name.replace('_', '-')} {schedule[name]}"
    return told + (" --without-phase" if metrics["distortion"] == "no-phase" else "")


def _cells(record: dict[str, float | None]) -> str:
    value, low, high = (record[name] for name in ("value", "low", "high"))
    return f"{_told(value)} | {_told(low)} to {_told(high)}"


def _told(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f}"

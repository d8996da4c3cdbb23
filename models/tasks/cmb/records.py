"""What is written of a detector's figures, for machines."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.detection.froc import Interval
from models.tasks.cmb.evaluation import Figures


def figures_record(figures: Figures) -> dict[str, Any]:
    """Return figures as JSON has them; null where a sensitivity was not reached."""
    record = asdict(figures)
    for name in ("false_at_90", "sensitivity", "false"):
        record[name] = _interval_record(getattr(figures, name))
    return record


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record with its keys in order, so that two of them can be compared line by line."""
    path.write_text(json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _interval_record(interval: Interval) -> dict[str, float | None]:
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in asdict(interval).items()}

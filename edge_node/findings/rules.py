"""The file that says which series of a study a model is given, and what they must be like; read once."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_node.errors import ConfigRefused

DEFAULT = Path(__file__).with_name("rules") / "swi.toml"
Word = Annotated[str, Field(min_length=1, max_length=64)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(_Part):
    """How a series of one kind is known."""

    image_type: list[list[Word]]
    """Values of Image Type; all of one list must be there."""
    description: list[Word]
    """Or a part of Series Description."""
    not_image_type: list[Word] = Field(default_factory=list)
    not_description: list[Word] = Field(default_factory=list)


class GeometryLimits(_Part):
    """What slices a model was made for."""

    fewest_slices: Annotated[int, Field(ge=2)]
    largest_gap_mm: Annotated[float, Field(gt=0)]
    largest_pixel_mm: Annotated[float, Field(gt=0)]
    gap_variation_pct: Annotated[float, Field(gt=0, le=50)]
    largest_tilt_deg: Annotated[float, Field(ge=0, le=45)]


class PhaseScale(_Part):
    """What one maker's phase images mean."""

    manufacturer: Word
    half_turn: Annotated[float, Field(gt=0)]
    """Value, after slope and intercept, of a phase of pi."""
    sign: Literal[1, -1]
    """Of the phase of what is paramagnetic."""
    is_raw: bool
    """Whether the slow background is still in it."""


class TaskRules(_Part):
    """What one task is given."""

    task: Word
    modality: Word
    magnitude: Role
    phase: Role
    geometry: GeometryLimits
    phase_scales: list[PhaseScale]


class SeriesRules(_Part):
    """The whole file."""

    id: Word
    version: Word
    effective: date
    source: str
    tasks: list[TaskRules]

    def of(self, task: str) -> TaskRules | None:
        """Return the rules of a task; None where it has none, and no study is given to it."""
        return next((each for each in self.tasks if each.task == task), None)


def load(path: Path = DEFAULT) -> SeriesRules:
    """Return the rules of a file.

    Raises:
        ConfigRefused: it cannot be read, or is not as it must be.
    """
    try:
        return SeriesRules.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigRefused(f"findings.rules_file: {path} cannot be read: {error.strerror}") from error
    except (ValueError, ValidationError) as error:
        raise ConfigRefused(f"findings.rules_file: {path}: {error}") from error

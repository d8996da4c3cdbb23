"""The early warning score of one person at one instant, as rules hand it to screens and alarms."""

from dataclasses import dataclass
from typing import Literal

from telemed.news2 import PartScore, Scale


@dataclass(frozen=True, slots=True)
class News2:
    """The score, or why there is none."""

    total: int
    """Sum of the known parts; a lower bound unless `complete`."""
    complete: bool
    single_three: bool
    risk: Literal["low", "low-medium", "medium", "high", "unknown"]
    scale: Scale
    parts: tuple[PartScore, ...]
    """The seven parts; none where the score is refused."""
    at_ns: int
    refused: str | None = None
    """"under-16" or "pregnancy": the score does not apply."""

"""What every kind of relay offers to whoever controls it while it runs."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

from tests.faults.relay.pace import Lateness, Timing
from tests.faults.relay.settings import Settings
from tests.faults.relay.shape import Counts

Direction = Literal["up", "down"]
"""Up leads to the hub (the target), down to the edge (the client)."""
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True, slots=True)
class Report:
    """What a link did so far."""

    up: Counts
    down: Counts
    timing: Timing


class Paced(Protocol):
    """One direction of a running relay."""

    @property
    def settings(self) -> Settings:
        """What is in force."""

    def change(self, settings: Settings) -> None:
        """Put other settings in force; raises ValueError for what this kind of relay cannot do."""

    def counts(self) -> Counts:
        """Return what happened so far."""


class Carrier:
    """Both directions of a running relay; a kind of relay adds how bytes get in and out."""

    def __init__(self, up: Paced, down: Paced, lateness: Lateness) -> None:
        self._paths: dict[Direction, Paced] = {"up": up, "down": down}
        self._lateness = lateness

    def change(self, direction: Direction, settings: Settings) -> None:
        """Put other settings in force in one direction."""
        self._paths[direction].change(settings)

    def cut(self, direction: Direction, *, is_cut: bool) -> None:
        """Cut or heal one direction and leave its other settings as they are."""
        path = self._paths[direction]
        path.change(replace(path.settings, cut=is_cut))

    def report(self) -> Report:
        """Return what happened so far."""
        return Report(self._paths["up"].counts(), self._paths["down"].counts(), self._lateness.timing())

    def reset(self) -> None:
        """Break the connections that exist; raises ValueError where a relay knows of none."""
        raise ValueError("only the byte-stream relay has connections to reset")

    async def close(self) -> None:
        """End it and leave nothing behind."""

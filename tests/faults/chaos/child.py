"""What a child is told to do to itself before it becomes the actor: die at a step, live faster, see another time.

Runs in the child alone, after the fork; the code of the product is imported and untouched until here.
"""

import functools
import importlib
import inspect
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.chaos import clock, plants
from tests.faults.chaos.steps import BY_NAME, Step

FAILPOINTS = {"edge": "edge_node.buffer.failpoint", "send": "edge_node.buffer.failpoint",
              "hub": "cloud_hub.ingest.failpoint"}  # fmt: skip
VARIABLE = "YUANZHEN_FAILPOINT"


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a child differs from the program as shipped; nothing of it: as shipped."""

    step: str = ""
    """Step at which it dies."""
    nth: int = 1
    """The time it is reached at which it dies."""
    paces: dict[str, float] = field(default_factory=dict)
    """`module:NAME` -> value: intervals of the product, scaled so that they pass within a run."""
    plant: str = ""
    """A bug of `plants` to put in."""
    clock: str = ""
    """File that holds by how many nanoseconds the wall clock is wrong."""
    commit_takes_s: float = 0.0
    """How long each commit of the hub takes longer, as on a disk that is worn or shared."""
    peaks: str = ""
    """File that is told the highest number of records under way, and the window, as it grows."""

    def as_order(self) -> dict[str, object]:
        """Return it as the zygote takes it."""
        return asdict(self)


def prepare(order: Mapping[str, Any]) -> None:
    """Do what is wished."""
    wishes = Wishes(**order)
    for place, value in wishes.paces.items():
        owner, name, _ = find(place)
        setattr(owner, name, value)
    if wishes.clock:
        clock.follow(Path(wishes.clock))
    if wishes.commit_takes_s:
        wrap("cloud_hub.store.engine:Database._commit", before=lambda: time.sleep(wishes.commit_takes_s))
    if wishes.peaks:
        _note_peaks(Path(wishes.peaks))
    if wishes.plant:
        plants.put_in(wishes.plant)
    if wishes.step:
        arm(BY_NAME[wishes.step], wishes.nth)


def warm(role: str) -> None:
    """Import, before any fork, what each child would import at its first use."""
    if role == "hub":
        # Alembic loads its environment and versions by path; what they import is what takes time.
        from sqlalchemy import create_engine  # noqa: PLC0415

        create_engine("sqlite://").dispose()


def arm(step: Step, nth: int) -> None:
    """Let this process be killed when it comes to a step for the n-th time."""
    if step.when == "at":
        os.environ[VARIABLE] = f"{step.place}:kill:{nth}"
        # Who has imported `reach` by name has this module's own function, which reads the module's names.
        importlib.reload(importlib.import_module(FAILPOINTS[step.actor]))
        return
    hits = iter(range(1, nth + 1))

    def reach() -> None:
        if next(hits, nth) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    wrap(step.place, **{step.when: reach})


def find(place: str) -> tuple[Any, str, Any]:
    """Return owner, name and value of `module:Class.attribute`; raises AttributeError where there is none."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    return owner, name, getattr(owner, name)


def wrap(place: str, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None) -> None:
    """Call something before or after a function of the product, each time that it is called."""
    owner, name, inner = find(place)

    def call(hook: Callable[[], None] | None) -> None:
        if hook is not None:
            hook()

    if inspect.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def outer_async(*args: Any, **kwargs: Any) -> Any:
            call(before)
            result = await inner(*args, **kwargs)
            call(after)
            return result

        setattr(owner, name, outer_async)
        return

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        call(before)
        result = inner(*args, **kwargs)
        call(after)
        return result

    setattr(owner, name, outer)


def _note_peaks(path: Path) -> None:
    """Write down the highest number of records under way of any stream, with the window of that moment."""
    from edge_node.buffer.delivery import Delivery  # noqa: PLC0415 - the hub's child has no edge

    inner = Delivery.sent
    peaks: dict[int, int] = {}

    def sent(self: Delivery, seqs: Any, now_s: float) -> None:
        inner(self, seqs, now_s)
        if len(self.flying) > peaks.get(self.window, 0):
            peaks[self.window] = len(self.flying)
            with path.open("a") as file:
                file.write(f"{len(self.flying)} {self.window}\n")

    Delivery.sent = sent  # type: ignore[method-assign]

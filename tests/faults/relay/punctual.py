"""How long something takes on a machine that others use too: what the machine itself kept waiting is told beside it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LOOK_EVERY_S = 0.005
WORTH_TELLING_S = 0.005


@dataclass(slots=True)
class Span:
    """How long a block took, in seconds, and how much later than it wanted somebody who slept meanwhile woke up."""

    took_s: float = 0.0
    late_s: float = 0.0

    def is_about(self, seconds: float, within_s: float) -> bool:
        """Whether it took so long; longer by no more than the machine was late besides."""
        return seconds - within_s <= self.took_s <= seconds + within_s + self.late_s

    def __str__(self) -> str:
        """Return both, for whoever reads why a test failed."""
        return f"{self.took_s:.3f} s, of which the machine was late for {self.late_s:.3f} s at most"


@contextmanager
def timed() -> Iterator[Span]:
    """Time a block; what is yielded is filled in at its end."""
    span, ended = Span(), threading.Event()

    def sleep_and_look() -> None:
        while not ended.is_set():
            slept_from_s = time.monotonic()
            time.sleep(LOOK_EVERY_S)
            over_s = time.monotonic() - slept_from_s - LOOK_EVERY_S
            span.late_s += over_s if over_s > WORTH_TELLING_S else 0.0

    sleeper = threading.Thread(target=sleep_and_look, name="late", daemon=True)
    sleeper.start()
    began_s = time.monotonic()
    try:
        yield span
    finally:
        span.took_s = time.monotonic() - began_s
        ended.set()
        sleeper.join()

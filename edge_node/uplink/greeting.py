"""What a greeting tells the hub, and when one that it has not answered is said again (pure).

A greeting that came before the hub listened is lost without a trace, and measurements wait for its answer.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from telemed.topics import STORED, Up

from edge_node.buffer.outbox import StreamKey, StreamState

PART_STREAMS = 400
"""In one greeting: as many as a hub answers, with room to spare.  Each start of a node begins each stream anew."""

FIRST_S = 0.5
STEADY_SHARE = 0.5
"""Of a wait; the rest is drawn, so that a thousand nodes that greet a new hub together do not repeat together."""


def wait_s(unanswered: int, longest_s: float, draw: Callable[[], float]) -> float:
    """Return how long to wait after so many repeats (0, 1, ...): 0.5, 1, 2 s and so on up to the longest, less a share.

    `draw` gives a number from 0 to 1.
    """
    bound_s = min(longest_s, FIRST_S * (1 << min(unanswered, 30)))
    return bound_s * (STEADY_SHARE + (1 - STEADY_SHARE) * draw())


@dataclass(slots=True)
class Roll:
    """Which streams the hub is still to be told of, in parts: one that goes on from a backup may lack any of them."""

    _left: dict[StreamKey, None] = field(default_factory=dict)
    _told_run: int = 0
    """The run of the hub that answered for all of them: while it runs it loses none."""

    @property
    def is_open(self) -> bool:
        """Whether an answer is missing."""
        return bool(self._left)

    def begin(self, known: Mapping[Up, Mapping[StreamKey, StreamState]]) -> None:
        """Begin anew: what waits comes first, then what goes on, then what is over, of each the newest first."""
        newest = [state for up in STORED for state in reversed(list(known[up].values()))]
        newest.sort(key=lambda state: (state.waiting <= 0, state.is_closed))
        self._left = {state.key: None for state in newest}

    def part(self) -> list[StreamKey]:
        """Return what the next greeting names."""
        return list(islice(self._left, PART_STREAMS))

    def answered(self, keys: Iterable[StreamKey], run: int) -> bool:
        """Take the answer that a run of the hub gave; return whether it is to be told of more, once for each part."""
        before = len(self._left)
        for key in keys:
            self._left.pop(key, None)
        if run == self._told_run:
            self._left.clear()
        elif not self._left:
            self._told_run = run
        return 0 < len(self._left) < before

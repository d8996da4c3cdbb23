"""How long the hub has had what it acknowledged: copies go only after a whole grace of that (reliability 2.2.4).

What waited for days is old when it is acknowledged, and still the only copy for a hub that goes on from yesterday's
backup.  Time counts on CLOCK_BOOTTIME and only while the node runs, and what is written down is never ahead of what
was seen: a clock that is set, a restart or a lost file can only make copies stay longer.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_node.buffer.clock import NodeClock
from edge_node.buffer.file import LogFile
from edge_node.buffer.outbox import Batch, StreamKey

NAME = "grace"
SELECT_GRACE = "SELECT value FROM meta WHERE key = ?"
UPSERT_GRACE = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


@dataclass(slots=True)
class Grace:
    """Up to which number the hub has had each stream for a whole grace (pure)."""

    floors: dict[StreamKey, int] = field(default_factory=dict)
    """Up to here copies may go."""
    marks: dict[StreamKey, int] = field(default_factory=dict)
    """Up to here it was acknowledged when the grace under way began."""
    age_s: float = 0.0
    """How much of the grace under way has passed."""

    def go_on(self, by_s: float, grace_s: float, acked: Mapping[StreamKey, int]) -> None:
        """Let time pass; when a grace is over its marks are the floors, and the next begins with what is acknowledged.

        Args:
            by_s: how long it is since the last call, at least.
            grace_s: how long copies stay.
            acked: how far the hub has each stream now.
        """
        if not self.marks:
            self.marks, self.age_s = dict(acked), 0.0
            return
        self.age_s += by_s
        if self.age_s >= grace_s:
            self.floors, self.marks, self.age_s = self.marks, dict(acked), 0.0

    def lower(self, key: StreamKey, acked: int) -> None:
        """The hub lost what it had over a number: if it gets that again, its grace begins anew."""
        for numbers in (self.floors, self.marks):
            if key in numbers:
                numbers[key] = min(numbers[key], acked)

    def text(self) -> str:
        """Return it as it is written down."""
        streams = [[*key, self.floors.get(key, 0), mark] for key, mark in self.marks.items()]
        return json.dumps({"age_s": self.age_s, "streams": streams})

    @classmethod
    def of(cls, text: str) -> "Grace":
        """Return what was written down."""
        said = json.loads(text)
        rows = [(StreamKey(stream, epoch), floor, mark) for stream, epoch, floor, mark in said["streams"]]
        return cls({key: floor for key, floor, _ in rows}, {key: mark for key, _, mark in rows}, said["age_s"])


class GraceOfFile:
    """The grace of the streams of one file, kept in that file; used on the event loop alone."""

    def __init__(self, file: LogFile, clock: NodeClock) -> None:
        """Read nothing yet.

        Args:
            file: whose streams, and where it is written down.
            clock: of the node; its steady half is used.
        """
        self._file = file
        self._clock = clock
        self._grace: Grace | None = None
        self._seen_ns = 0

    async def go_on(self, grace_s: float) -> None:
        """Let the time since the last call pass, and write down how it stands; raises BufferFailure."""
        grace, now_ns = await self._known(), self._clock.steady()
        grace.go_on(max(0, now_ns - self._seen_ns) / 1e9, grace_s, self._acked())
        self._seen_ns = now_ns
        await self._save(grace)

    async def lower(self, key: StreamKey, acked: int) -> None:
        """Note that the hub has less of a stream than it had; raises BufferFailure."""
        grace = await self._known()
        grace.lower(key, acked)
        await self._save(grace)

    def floor(self, key: StreamKey) -> int:
        """Return up to which number copies may go; 0 until the first `go_on`."""
        return self._grace.floors.get(key, 0) if self._grace else 0

    async def _known(self) -> Grace:
        if self._grace is None:
            row = await self._file.read(_select)
            self._grace, self._seen_ns = Grace.of(row[0]) if row else Grace(), self._clock.steady()
            for key, acked in self._acked().items():
                # The hub may have lost something just before the node was killed.
                self._grace.lower(key, acked)
        return self._grace

    def _acked(self) -> dict[StreamKey, int]:
        return {key: state.acked for states in self._file.streams.values() for key, state in states.items()}

    async def _save(self, grace: Grace) -> None:
        text = grace.text()

        def work(batch: Batch) -> None:
            batch.connection.execute(UPSERT_GRACE, (NAME, text))

        await self._file.write(work, may_use_reserve=True)


def _select(connection: sqlite3.Connection) -> tuple[str] | None:
    row: tuple[str] | None = connection.execute(SELECT_GRACE, (NAME,)).fetchone()
    return row

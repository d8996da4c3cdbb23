"""What a drain looks like from outside: how much still waits, and how old the physician's values are meanwhile."""

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

LOOK_S = 0.2
MOMENT_S = 5.0
"""How far apart the points of the time line are."""
PROGRESS_S = 15.0

Mark = tuple[int, list[tuple[int, int]]]
"""Highest number of a stream at the hub, and the runs that are missing below it."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of the time line."""

    at_s: float
    """Since the link was there again."""
    waiting_records: int
    """Of the outage, not yet at the hub."""
    live_worst_s: float
    """Oldest of the newest values of the beds, in the time since the point before."""
    link_share: float
    """Of the link's rate, in that time."""
    slowest_sync_s: float
    """How long a page of a file of its own took to be synced to the disk that all share, in that time."""


@dataclass(slots=True)
class Screen:
    """What the physician's screen knows of each bed."""

    newest_ms: dict[str, float] = field(default_factory=dict)
    """Bed -> when its newest values were measured, wall clock."""
    ages_s: list[float] = field(default_factory=list)

    def listen(self, live: ClientConnection) -> None:
        """Take in what comes until the socket is closed."""
        with suppress(ConnectionClosed):
            for text in live:
                message = json.loads(text)
                if message["type"] == "readings" and message["readings"]:
                    newest_ms = max(reading["measured_at_ms"] for reading in message["readings"])
                    bed = message["bed_key"]
                    self.newest_ms[bed] = max(newest_ms, self.newest_ms.get(bed, 0.0))

    def is_live(self, beds: int, since_ms: float) -> bool:
        """Whether so many beds show values measured since then."""
        return len(self.newest_ms) == beds and min(self.newest_ms.values()) > since_ms

    def look(self) -> None:
        """Note how old the values of each bed are; the second that they are of is taken off."""
        now_s = time.time()
        self.ages_s += [now_s - newest_ms / 1000 - 1 for newest_ms in list(self.newest_ms.values())]


@dataclass(slots=True)
class Disk:
    """How long the disk takes for a page, whoever else writes to it."""

    slowest_s: float = 0.0
    _began_s: float | None = None

    @contextmanager
    def watched(self, folder: Path) -> Iterator[None]:
        """Write and sync a page again and again meanwhile."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(folder / "page", stop), name="disk")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def take(self) -> float:
        """Return the slowest since the last time, one that is not through yet with it."""
        under_way_s = 0.0 if self._began_s is None else time.monotonic() - self._began_s
        slowest_s, self.slowest_s = max(self.slowest_s, under_way_s), 0.0
        return slowest_s

    def _run(self, file: Path, stop: threading.Event) -> None:
        with file.open("wb", buffering=0) as page:
            while not stop.wait(LOOK_S):
                self._began_s = began_s = time.monotonic()
                os.pwrite(page.fileno(), os.urandom(4096), 0)
                os.fdatasync(page.fileno())
                self._began_s = None
                self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)


@dataclass(slots=True)
class Watch:
    """Looks at the drain while it goes on."""

    store: Path
    """The hub's database of measurements."""
    screen: Screen
    disk: Disk
    streams: int
    most: int
    """Records of each stream that the outage left."""
    rate_bps: float
    """Of the link."""
    timeline: list[Moment] = field(default_factory=list)
    _read_bytes: Callable[[], int] = lambda: 0
    _began_bytes: int = 0
    _began_s: float = 0.0
    _noted_s: float = 0.0
    _noted_bytes: int = 0
    _noted_looks: int = 0
    _shown_s: float = 0.0

    def begin(self, wire_bytes: Callable[[], int]) -> None:
        """The link is there again; `wire_bytes` counts what it carries."""
        self._read_bytes, self._began_bytes, self._began_s = wire_bytes, wire_bytes(), time.monotonic()

    @property
    def for_s(self) -> float:
        """How long the link has been there again."""
        return time.monotonic() - self._began_s

    @property
    def used_bytes(self) -> int:
        """What the link carried since."""
        return self._read_bytes() - self._began_bytes

    def is_drained(self) -> bool:
        """Look once; whether the hub has all that was written during the outage."""
        self.screen.look()
        time.sleep(LOOK_S)
        left, at_s = waiting(self._marks(), self.streams, self.most), self.for_s
        if not left or at_s >= self._noted_s + MOMENT_S:
            self.note(at_s, left)
        return left == 0

    def note(self, at_s: float, left: int) -> None:
        """Add a point to the time line, and show it now and then."""
        used_bytes, looks = self.used_bytes, len(self.screen.ages_s)
        share = (used_bytes - self._noted_bytes) * 8 / (self.rate_bps * (at_s - self._noted_s))
        worst_s = max(self.screen.ages_s[self._noted_looks :], default=0.0)
        sync_s = round(self.disk.take(), 2)
        self.timeline.append(Moment(round(at_s, 1), left, round(worst_s, 2), round(share, 3), sync_s))
        self._noted_s, self._noted_bytes, self._noted_looks = at_s, used_bytes, looks
        if at_s - self._shown_s >= PROGRESS_S or not left:
            self._shown_s = at_s
            slowest = f"live at most {worst_s:.2f} s old, a page synced in {sync_s} s at most"
            say(f"draining: {at_s:.0f} s, {left} records wait, {slowest}, link {share:.0%}")

    def _marks(self) -> list[Mark]:
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT max, gaps FROM watermark").fetchall()
        return [(highest, json.loads(gaps)) for highest, gaps in rows]


def waiting(marks: Sequence[Mark], streams: int, most: int) -> int:
    """Return how many of the first `most` numbers of so many streams are not at the hub, by its watermarks."""
    absent = streams * most
    for highest, gaps in marks:
        gone = sum(max(0, min(last, most) - first + 1) for first, last in gaps)
        absent -= min(highest, most) - gone
    return absent


def say(line: str) -> None:
    """Show how far it is."""
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)

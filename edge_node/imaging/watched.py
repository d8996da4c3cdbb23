"""A folder in which files of the DICOM format are laid, by a person or a program, to be taken in like those of senders.

A file is taken once it has not changed for a moment, and is gone from the folder when it is stored, unless it changed
meanwhile; what is no such file, or is refused, is moved into the folder `refused` beside the others.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import uuid4

from edge_node.imaging import part10, reading
from edge_node.imaging.content import CUT, MALFORMED, NO_PIXELS, NotUnderstood
from edge_node.imaging.intake import Arrived, Intake
from edge_node.imaging.judged import COERCED, NOT_UNDERSTOOD, OUT_OF_RESOURCES, SUCCESS

LOOK_EVERY_S = 2.0
SETTLED_S = 2.0
"""A file that did not change for so long is whole."""
UNSURE_S = 60.0
"""So long what does not read as a whole object must not have changed: a copier may pause."""
FIRST_AGAIN_S, LONGEST_AGAIN_S = 60.0, 3600.0
"""Wait for a file that cannot be read or moved out of the folder."""
MOST_FILES = 1000
"""Taken at one look."""
MOST_SEEN = 100_000
"""Whose memory is kept."""
REFUSED = "refused"
SENDER = "FOLDER"

_State = tuple[int, int, int]
"""File, size and time of change."""


@dataclass(slots=True)
class _Seen:
    """What is known of one file."""

    state: _State
    since_s: float
    """When it was first seen in this state."""
    due_s: float
    """When it is to be looked into."""
    again_s: float = FIRST_AGAIN_S


@dataclass(slots=True)
class WatchedFolder:
    """One folder; used in one thread."""

    folder: Path
    intake: Intake
    clock_s: Callable[[], float] = time.monotonic
    _seen: dict[Path, _Seen] = field(default_factory=dict)

    def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            time.sleep(LOOK_EVERY_S)

    def look(self) -> int:
        """Take in what has settled, and return how many files were stored; no file holds up another."""
        now_s = self.clock_s()
        self._seen = {path: self._known(path, state, now_s) for path, state in islice(self._files(), MOST_SEEN)}
        due = [path for path, seen in self._seen.items() if seen.due_s <= now_s]
        # What waits for room comes after what was not tried yet.
        due.sort(key=lambda path: self._seen[path].due_s)
        return sum(self._attempt(path, self._seen[path], now_s) for path in due[:MOST_FILES])

    def _known(self, path: Path, state: _State, now_s: float) -> _Seen:
        before = self._seen.get(path)
        return before if before is not None and before.state == state else _Seen(state, now_s, now_s + SETTLED_S)

    def _files(self) -> Iterator[tuple[Path, _State]]:
        for place, folders, names in os.walk(self.folder):
            if Path(place) == self.folder and REFUSED in folders:
                folders.remove(REFUSED)
            for name in sorted(names):
                with contextlib.suppress(OSError):
                    told = (Path(place) / name).lstat()
                    if stat.S_ISREG(told.st_mode):
                        yield Path(place) / name, _state(told)

    def _attempt(self, path: Path, seen: _Seen, now_s: float) -> bool:
        """Take one file, and say when it is due again if it stays; True where it was stored."""
        seen.due_s = now_s
        try:
            status = self._status(path, seen, now_s)
            if status in (SUCCESS, COERCED):
                self._drop(path, seen.state)
            elif status is None:
                # Not read again and again until then.
                seen.due_s = seen.since_s + UNSURE_S
            elif status != OUT_OF_RESOURCES:
                self._set_aside(path)
        except FileNotFoundError:
            return False
        except (OSError, MemoryError):
            self.intake.refused("file-failed")
            seen.due_s, seen.again_s = now_s + seen.again_s, min(2 * seen.again_s, LONGEST_AGAIN_S)
            return False
        return status in (SUCCESS, COERCED)

    def _drop(self, path: Path, state: _State) -> None:
        """Delete a file that is stored as it was in a state; what was written to it since is not stored yet."""
        with contextlib.suppress(FileNotFoundError):
            if _state(path.lstat()) == state:
                path.unlink()

    def _set_aside(self, path: Path) -> None:
        aside = self.folder / REFUSED / path.name
        aside.parent.mkdir(exist_ok=True)
        path.replace(aside if not aside.exists() else aside.with_name(f"{uuid4().hex[:8]}-{path.name}"))

    def _status(self, path: Path, seen: _Seen, now_s: float) -> int | None:
        """Return what a sender would be told; None for what may still be on its way.

        Raises:
            OSError: it cannot be read.
            MemoryError: not now.
        """
        # Not through a link, which may have come since it was looked at.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            is_as_seen = _state(os.fstat(file.fileno())) == seen.state
            content = file.read(self.intake.limit_bytes + 1)
        found = self._arrived(content)
        is_sure = now_s - seen.since_s >= UNSURE_S or (found is not None and self._is_whole(found))
        if not (is_as_seen and is_sure):
            return None
        if found is None:
            self.intake.refused("no-file")
            return NOT_UNDERSTOOD
        return self.intake.take(found)

    def _arrived(self, content: bytes) -> Arrived | None:
        """Return what a file brings; None for what is no file of this format, or larger than an object may be."""
        if len(content) > self.intake.limit_bytes:
            return None
        try:
            found = part10.parted(content)
        except ValueError:
            return None
        return Arrived(found.sop_class_uid, found.sop_instance_uid, found.transfer_syntax, SENDER, found.data)

    def _is_whole(self, arrived: Arrived) -> bool:
        try:
            found = reading.read(arrived.data, arrived.transfer_syntax, self.intake.limit_bytes)
        except NotUnderstood:
            return False
        # What is cut between two elements reads as one that has no pixels.
        return found.fault not in (CUT, MALFORMED, NO_PIXELS)


def _state(told: os.stat_result) -> _State:
    return told.st_ino, told.st_size, told.st_mtime_ns

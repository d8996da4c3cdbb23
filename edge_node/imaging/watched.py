"""A folder in which files of the DICOM format are laid, by a person or a program, to be taken in like those of senders.

A file is taken once it has not changed for a moment, and is gone from the folder when it is stored; what is no such
file, or is refused, is moved into the folder `refused` beside the others.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from edge_node.imaging import part10
from edge_node.imaging.intake import Arrived, Intake
from edge_node.imaging.judged import COERCED, OUT_OF_RESOURCES, SUCCESS

LOOK_EVERY_S = 2.0
SETTLED_S = 2.0
"""A file that did not change for so long is whole."""
MOST_FILES = 1000
"""Of one look."""
REFUSED = "refused"
SENDER = "FOLDER"


@dataclass(slots=True)
class WatchedFolder:
    """One folder; used in one thread."""

    folder: Path
    intake: Intake
    clock_s: Callable[[], float] = time.monotonic
    _seen: dict[Path, tuple[tuple[int, int], float]] = field(default_factory=dict)
    """Size and time of change of each file, and since when they are so."""

    def run(self) -> None:
        """Look for ever."""
        while True:
            with contextlib.suppress(OSError):
                self.look()
            time.sleep(LOOK_EVERY_S)

    def look(self) -> int:
        """Take in what has settled, and return how many files were stored.

        Raises:
            OSError: the folder cannot be read.
        """
        found, stored = dict(self._files()), 0
        now_s = self.clock_s()
        self._seen = {
            path: (state, self._seen[path][1] if path in self._seen and self._seen[path][0] == state else now_s)
            for path, state in found.items()
        }
        for path, (_, since_s) in self._seen.items():
            if now_s - since_s >= SETTLED_S:
                stored += self._take(path)
        return stored

    def _files(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        count = 0
        for place, folders, names in os.walk(self.folder):
            if Path(place) == self.folder and REFUSED in folders:
                folders.remove(REFUSED)
            for name in sorted(names):
                told = (Path(place) / name).lstat()
                count += 1
                if count > MOST_FILES:
                    return
                if stat.S_ISREG(told.st_mode):
                    yield Path(place) / name, (told.st_size, told.st_mtime_ns)

    def _take(self, path: Path) -> bool:
        """Store one file; True where it is stored and gone from the folder."""
        status = self._status(path)
        if status in (SUCCESS, COERCED):
            path.unlink(missing_ok=True)
        elif status != OUT_OF_RESOURCES:
            aside = self.folder / REFUSED / path.name
            aside.parent.mkdir(exist_ok=True)
            path.replace(aside if not aside.exists() else aside.with_name(f"{uuid4().hex[:8]}-{path.name}"))
        return status in (SUCCESS, COERCED)

    def _status(self, path: Path) -> int | None:
        """Return what a sender would be told; None for what is no file of this format."""
        try:
            # Not through a link, which may have come since it was looked at.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                content = file.read(self.intake.limit_bytes + 1)
            if len(content) > self.intake.limit_bytes:
                raise ValueError("larger than an object may be")
            found = part10.parted(content)
        except OSError:
            return OUT_OF_RESOURCES
        except ValueError:
            self.intake.refused("no-file")
            return None
        return self.intake.take(
            Arrived(found.sop_class_uid, found.sop_instance_uid, found.transfer_syntax, SENDER, found.data)
        )

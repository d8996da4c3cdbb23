"""A folder in which files lie that are to be imported, each with what is said about it beside it.  All block.

What is said lies in a file of the same name with `.toml` behind it, and comes last: it says that the others are whole.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import uuid4

from edge_node.importing import asking

SETTLED_S = 2.0
"""What did not change for so long is whole."""
MISSING_S = 60.0
"""So long a file may come after what is said about it."""
AGAIN_S = 60.0
"""Wait for what cannot be imported now."""
MOST_SEEN = 10_000
DONE, REFUSED = "done", "refused"
ANSWER = ".txt"
"""Behind the name of a file, in one of these two folders: what became of it, in both languages."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file that is to be imported."""

    path: Path
    said: Path
    """What is said about it."""


@dataclass(slots=True)
class Inbox:
    """One folder, with those in it; used by one task."""

    folder: Path
    settled_s: float = SETTLED_S
    keeps: bool = True
    """Whether files are kept in the folder `done` once they are imported; else they are deleted, also when refused."""
    clock_s: Callable[[], float] = time.monotonic
    _seen: dict[Path, tuple[object, float]] = field(default_factory=dict)
    """State of each, and when it is due."""

    def due(self) -> list[Job]:
        """Return what may be imported now, in the order in which it came."""
        now_s, before = self.clock_s(), self._seen
        self._seen = {}
        for job in islice(self._jobs(), MOST_SEEN):
            state = (_state(job.path), _state(job.said))
            known = before.get(job.said)
            if known is not None and known[0] == state:
                self._seen[job.said] = known
            else:
                wait_s = self.settled_s if state[0] is not None else MISSING_S
                self._seen[job.said] = (state, now_s + wait_s)
        found = [said for said, (_, due_s) in self._seen.items() if due_s <= now_s]
        return [_job(said) for said in sorted(found, key=lambda each: self._seen[each][1])]

    def later(self, job: Job) -> None:
        """Leave a file for another time."""
        self._seen[job.said] = ((_state(job.path), _state(job.said)), self.clock_s() + AGAIN_S)

    def finish(self, job: Job, names: tuple[str, ...], where: str, text: str) -> None:
        """Take a file out of the folder, and leave word of what became of it.

        Args:
            job: it was this.
            names: of the file and of the one that it names; both go.
            where: DONE or REFUSED.
            text: for people.

        Raises:
            OSError: it stays, or what became of it cannot be written.
        """
        aside = job.path.parent / where
        aside.mkdir(exist_ok=True)
        label = uuid4().hex[:8]
        for path in (*(job.path.with_name(name) for name in names), job.said):
            with contextlib.suppress(FileNotFoundError):
                if self.keeps:
                    path.replace(_free(aside / path.name, label))
                else:
                    path.unlink()
        half_way = aside / f".{label}"
        half_way.write_text(f"{text}\n", encoding="utf-8")
        half_way.replace(_free(aside / f"{job.path.name}{ANSWER}", label))
        self._seen.pop(job.said, None)

    def sweep(self) -> None:
        """Delete answers that nobody fetched; only where files are not kept."""
        if self.keeps:
            return
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if (folder / DONE).is_dir() or (folder / REFUSED).is_dir():
                shutil.rmtree(folder, ignore_errors=True)

    def _jobs(self) -> Iterator[Job]:
        for place, folders, names in os.walk(self.folder):
            folders[:] = sorted(set(folders) - {DONE, REFUSED})
            said = (Path(place) / name for name in sorted(names) if _is_said(name))
            yield from (_job(path) for path in said if not path.is_symlink())


def _is_said(name: str) -> bool:
    return name.endswith(asking.ENDING) and not name.startswith(".") and name != asking.ENDING


def _job(said: Path) -> Job:
    return Job(said.with_name(said.name.removesuffix(asking.ENDING)), said)


def _free(path: Path, label: str) -> Path:
    return path.with_name(f"{label}-{path.name}") if path.exists() else path


def _state(path: Path) -> object:
    try:
        told = path.lstat()
    except OSError:
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns

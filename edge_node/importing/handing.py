"""Files that are handed to a running node to be imported: by the command line, and piece by piece by the page.

Each lies in a folder of its own, whose name is by what it is asked for later; what is said about it comes last and says
that it is whole.
"""

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, sync_folder, write_whole

from edge_node.importing import asking, inbox
from edge_node.importing.asking import Ask

NAME = "file"
"""What a file is called here: no name that came from outside is part of a path."""
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Became:
    """What became of a file."""

    is_imported: bool
    text: str
    """For people: Chinese, " / ", English."""


def new_folder(jobs: Path) -> Path:
    """Make the folder of a file that is to come, on disk when this returns.  Blocking.

    Raises:
        OSError: it cannot be made.
    """
    folder = jobs / uuid4().hex
    folder.mkdir(parents=True, mode=FOLDER_MODE)
    sync_folder(jobs)
    return folder


def say(path: Path, said: Ask) -> None:
    """Lay what is said beside a file, whole and synced with it: from then on the node takes it.  Blocking.

    Raises:
        OSError: it is not said.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())
    write_whole(path.with_name(path.name + asking.ENDING), asking.dump(said), OWNER_ONLY)


def became(path: Path) -> Became | None:
    """Return what became of a file, None while nothing has.  Blocking."""
    for where in (inbox.DONE, inbox.REFUSED):
        told = path.parent / where / f"{path.name}{inbox.ANSWER}"
        if told.is_file():
            return _read(told)
    return None


def _read(told: Path) -> Became:
    return Became(told.parent.name == inbox.DONE, told.read_text(encoding="utf-8").strip())


@dataclass(slots=True)
class Arriving:
    """A file that comes piece by piece; it is dropped by whoever opened it, whatever became of it."""

    jobs: Path
    ending: str
    limit_bytes: int
    _file: BinaryIO | None = None
    _path: Path | None = None
    _size_bytes: int = 0

    async def write(self, data: bytes) -> bool:
        """Take the next piece; False where the file is larger than it may be.

        Raises:
            OSError: it cannot be written.
        """
        self._size_bytes += len(data)
        if data and self._size_bytes <= self.limit_bytes:
            await asyncio.to_thread(self._write, data)
        return self._size_bytes <= self.limit_bytes

    async def keep(self, patient: str, issuer: str, description: str) -> str:
        """Have it imported for whoever has that identifier; return its id, empty where nothing came.

        Raises:
            OSError: it cannot be kept.
        """
        said = Ask(patient=patient, issuer=issuer, description=description)
        return await asyncio.to_thread(self._keep, said)

    async def drop(self) -> None:
        """Delete what was written and not kept; idempotent."""
        await asyncio.to_thread(self._drop)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._path = new_folder(self.jobs) / f"{NAME}{self.ending}"
            self._file = self._path.open("xb")
        self._file.write(data)

    def _keep(self, said: Ask) -> str:
        if self._file is None or self._path is None:
            return ""
        self._file.close()
        say(self._path, said)
        kept, self._path = self._path.parent.name, None
        return kept

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            shutil.rmtree(self._path.parent, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Hand:
    """Takes files of the bedside page."""

    jobs: Path
    """In the folder of the images."""

    def arriving(self, ending: str, limit_bytes: int) -> Arriving:
        """Return a file that is to come; `ending` is that of its kind, ".jpg" for instance."""
        return Arriving(self.jobs, ending, limit_bytes)

    async def became(self, import_id: str) -> Became | None:
        """Return what became of a file, None while nothing has.

        Raises:
            KeyError: there is no such file, or its answer was cleared away at a start of the node.
        """
        return await asyncio.to_thread(self._became, import_id)

    def _became(self, import_id: str) -> Became | None:
        folder = self.jobs / import_id
        if not _ID.fullmatch(import_id) or not folder.is_dir():
            raise KeyError(import_id)
        told = next(folder.glob(f"*/{NAME}.*{inbox.ANSWER}"), None)
        return None if told is None else _read(told)

"""A zip that is written while it is read: nothing is kept but what the reader has not taken yet."""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from cloud_hub.fhir.json_text import Json, dumps

QUICK = 1
"""Level of compression: text of this kind shrinks to a tenth already."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive, as its list names it."""

    name: str
    count: int
    sha256: str


class _Outlet(io.RawIOBase):
    """Takes what the zip writes, to be drawn off; cannot be rewound, so the zip writes its sizes behind each file."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._held += data
        return len(data)

    def draw(self) -> bytes:
        drawn = bytes(self._held)
        self._held.clear()
        return drawn


@dataclass(slots=True)
class Archive:
    """A zip of NDJSON, one kind of resource a file, and of files as they came; one reader, one call after the other."""

    made_at: datetime
    members: list[Member] = field(default_factory=list)
    _outlet: _Outlet = field(default_factory=_Outlet)
    _zip: zipfile.ZipFile = field(init=False)
    _open: "IO[bytes] | None" = None
    _name: str = ""
    _count: int = 0
    _sum: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        """Begin."""
        self._zip = zipfile.ZipFile(self._outlet, "w", zipfile.ZIP_DEFLATED, compresslevel=QUICK)

    def begin(self, name: str) -> None:
        """Begin a file."""
        info = zipfile.ZipInfo(name, self.made_at.timetuple()[:6])
        info.compress_type = zipfile.ZIP_DEFLATED
        self._name, self._count, self._sum = name, 0, hashlib.sha256()
        self._open = self._zip.open(info, "w", force_zip64=True)

    def add(self, resources: Iterable[Json]) -> bytes:
        """Write resources, a line each; return what can be sent."""
        lines = [dumps(one) for one in resources]
        return self._write("".join(f"{line}\n" for line in lines).encode(), len(lines))

    def add_bytes(self, data: bytes) -> bytes:
        """Write a piece of a file that is no text; return what can be sent."""
        return self._write(data, 0)

    def note(self, count: int) -> None:
        """Note how many things the file holds, where its lines do not say."""
        self._count = count

    def end(self) -> bytes:
        """End the file; return what can be sent.  An empty one is listed too: that there is nothing is an answer."""
        assert self._open is not None
        self._open.close()
        self.members.append(Member(self._name, self._count, self._sum.hexdigest()))
        return self._outlet.draw()

    def whole(self, name: str, text: str) -> bytes:
        """Write a file at once; return what can be sent."""
        self.begin(name)
        return self._write(text.encode(), 1) + self.end()

    def close(self) -> bytes:
        """End the archive; return its last bytes."""
        self._zip.close()
        return self._outlet.draw()

    def _write(self, data: bytes, count: int) -> bytes:
        assert self._open is not None
        self._open.write(data)
        self._sum.update(data)
        self._count += count
        return self._outlet.draw()


def manifest(members: Sequence[Member]) -> Json:
    """Return the list of files, each with how many resources it has and its hash."""
    return [{"file": one.name, "count": one.count, "sha256": one.sha256} for one in members]

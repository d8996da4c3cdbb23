"""Bundles as a node must take them, and as nobody may: cut off, altered, out of date, forged, of another root."""

import itertools
import json
import zipfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random

from telemed.bundle import Refusal

from tests.fakes.bundles import Maker

KERNEL_AT_BYTES = 30
"""So far behind the name of a weight its numbers lie."""
FORGED_BY = 1000
"""Versions that a forged time stamp is ahead."""


class Kind(StrEnum):
    """What a bundle is."""

    GOOD = "good"
    TRUNCATED = "truncated"
    ALTERED = "altered"  # signed, and a byte of a graph is another one
    OLDER = "older"  # signed, and never released before one that is newer
    FORGED = "forged time stamp"  # an older one with a time stamp that claims to be newer
    STRANGE = "of another root"


REASONS = {
    Kind.TRUNCATED: Refusal.ARCHIVE_UNREADABLE,
    Kind.ALTERED: Refusal.HASH_WRONG,
    Kind.OLDER: Refusal.NOT_CURRENT,
    Kind.FORGED: Refusal.SIGNATURE_WRONG,
    Kind.STRANGE: Refusal.SIGNATURE_WRONG,
}
"""Why a node must refuse which, once it has seen all good ones that were made before."""


@dataclass(slots=True)
class Forge:
    """Makes bundles below a folder, each under a version of its own."""

    folder: Path
    _honest: Maker = field(init=False)
    _stranger: Maker = field(init=False)
    _older: list[tuple[str, Path]] = field(default_factory=list)
    """Version and file of those that were signed before a good one and not given out."""
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        """Make the keys of two roots."""
        self._honest, self._stranger = Maker(self.folder / "honest"), Maker(self.folder / "stranger")

    @property
    def root(self) -> bytes:
        """What the node pins."""
        return self._honest.root

    def can_make(self, kind: Kind) -> bool:
        """Whether there is one that is out of date, where one is needed: one comes with each good one."""
        return bool(self._older) or kind not in (Kind.OLDER, Kind.FORGED)

    def made(self, kind: Kind, draw: Random) -> tuple[str, Path]:
        """Return the version and the file of a bundle."""
        match kind:
            case Kind.OLDER | Kind.FORGED:
                version, path = self._older.pop()
                if kind is Kind.FORGED:
                    _forge(path)
                return version, path
            case Kind.STRANGE:
                return self._packed(self._stranger)
            case Kind.GOOD:
                self._older.append(self._packed(self._honest))
        version, path = self._packed(self._honest)
        if kind is Kind.TRUNCATED:
            with path.open("r+b") as file:
                file.truncate(int(path.stat().st_size * draw.uniform(0.1, 0.95)))
        if kind is Kind.ALTERED:
            _alter(path)
        return version, path

    def _packed(self, maker: Maker) -> tuple[str, Path]:
        version = f"1.0.{next(self._numbers)}"
        return version, maker.pack(version)


def _alter(path: Path) -> None:
    """Change one byte of a weight."""
    content = bytearray(path.read_bytes())
    content[content.rindex(b"kernel") + KERNEL_AT_BYTES] ^= 1
    path.write_bytes(content)


def _forge(path: Path) -> None:
    """Let a bundle's time stamp claim to be newer than all others, under the signature that it had."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, _ahead(content) if entry.filename.endswith("/timestamp.json") else content)


def _ahead(stamp: bytes) -> bytes:
    told = json.loads(stamp)
    told["signed"]["version"] += FORGED_BY
    return json.dumps(told).encode()

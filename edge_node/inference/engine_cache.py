"""Engines that were built on this node: a file for each, named by everything that it depends on.

Whatever changes of that, another name is looked for, nothing is found, and the engine is built anew.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from telemed.bundle import Precision
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, write_whole

DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What a built engine depends on."""

    bundle_id: str
    graph: str
    model_sha256: str
    library: str
    version: str
    """Of the library; another one reads no engine of this one."""
    device: str
    """Name of the card, its compute capability, and its driver."""
    precision: Precision

    @property
    def file_name(self) -> str:
        """Name of the file that keeps it."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return f"{hashlib.sha256(text.encode()).hexdigest()}.engine"


def read(folder: Path, name: str) -> bytes | None:
    """Return what was kept under a name; None where there is nothing, or the disk damaged it.  Blocking."""
    try:
        raw = (folder / name).read_bytes()
    except OSError:
        return None
    digest, kept = raw[:DIGEST_BYTES], raw[DIGEST_BYTES:]
    return kept if hashlib.sha256(kept).digest() == digest else None


def keep(folder: Path, name: str, content: bytes) -> None:
    """Keep something under a name, with a hash in front of it.  Blocking.

    Raises:
        OSError: it cannot be kept.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    write_whole(folder / name, hashlib.sha256(content).digest() + content, OWNER_ONLY)

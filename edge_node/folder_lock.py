"""One process at a time on a node's store: numbers are given out in memory, so a second writer would double them."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from edge_node.errors import ConfigRefused

LOCK_FILE = "in-use"


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the store of a node; the lock ends with the process, whatever it dies of.

    Raises:
        ConfigRefused: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigRefused(f"buffer.folder: {folder} is in use by a running node; stop it first") from error
        yield

"""A file that holds room for what is taken when everything else is refused: alarms, care, declarations.

Given up step by step, so that nobody else on the disk can take all of it at once, and taken back when there is room.
"""

import os
import threading
from pathlib import Path

import structlog

from edge_node.buffer import retention

NAME = "reserve"
STEP_BYTES = 256 * 1024

log = structlog.get_logger(__name__)


class Reserve:
    """The room that is held back; may be asked from any thread."""

    def __init__(self, folder: Path, room_bytes: int) -> None:
        """Hold nothing yet.

        Args:
            folder: of the store.
            room_bytes: of the store as a whole.
        """
        self._path = folder / NAME
        self._lock = threading.Lock()
        share_bytes = int(room_bytes * retention.RESERVE_SHARE) // STEP_BYTES * STEP_BYTES
        # On a disk that others have filled meanwhile, what is held already is held on.
        self.goal_bytes = max(STEP_BYTES, share_bytes, self.size_bytes)

    @property
    def size_bytes(self) -> int:
        """What it holds now."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def fill(self, room_bytes: int) -> None:
        """Take back up to `room_bytes`, as far as its goal; as much as there is, where that is less."""
        with self._lock:
            size = self.size_bytes
            wanted = min(self.goal_bytes, size + room_bytes // STEP_BYTES * STEP_BYTES)
            if wanted <= size:
                return
            try:
                with self._path.open("ab") as file:
                    os.posix_fallocate(file.fileno(), 0, wanted)
            except OSError as error:
                # Somebody else was quicker; what was there before is held all the same.
                log.info("reserve.not-filled", reason=error.strerror)

    def give(self) -> bool:
        """Give up one step; False where nothing is left."""
        with self._lock:
            size = self.size_bytes
            if size == 0:
                return False
            try:
                os.truncate(self._path, max(0, size - STEP_BYTES))
            except OSError as error:
                log.error("reserve.not-given", reason=error.strerror)
                return False
        log.warning("reserve.given", left_bytes=self.size_bytes)
        return True

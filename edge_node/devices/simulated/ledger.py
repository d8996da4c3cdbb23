"""A journal of what was sent and what was answered, one JSON object a line; tests of durability read it."""

import json
import time
from pathlib import Path
from typing import TextIO


class Ledger:
    """Appends to a file and flushes each line; without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None

    def note(self, event: str, control_id: str, **more: str | int | float) -> None:
        """Write one line: event ("sent", "ack", "lost"), control id, time and what else is known."""
        if self._file is None:
            return
        line = {"event": event, "id": control_id, "at_ns": time.time_ns(), **more}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

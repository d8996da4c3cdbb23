"""What a node remembers of its comparisons, and what a command line asks of it: two small files beside the buffer."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULT, ASKED = "reconcile.json", "reconcile.asked"


@dataclass(frozen=True, slots=True)
class Entry:
    """How the last comparison ended."""

    ended_ns: int
    """Node's clock; of a node that never compared, when it was first started."""
    began_ns: int = 0
    code: str = ""
    """Why it did not come to its end; empty where it did."""
    counts: dict[str, int] = field(default_factory=dict)
    """The hub's report."""


class Diary:
    """All methods block shortly; damaged files are taken for none."""

    def __init__(self, folder: Path) -> None:
        self._result, self._asked = folder / RESULT, folder / ASKED

    def last(self) -> Entry | None:
        """Return the last comparison, None where there was none."""
        try:
            return Entry(**json.loads(self._result.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, entry: Entry) -> None:
        """Remember a comparison.

        Raises:
            OSError: the disk takes it not.
        """
        fresh = self._result.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(entry)) + "\n", encoding="utf-8")
        fresh.replace(self._result)

    def ask(self) -> None:
        """Ask the running node for a comparison of everything.

        Raises:
            OSError: the disk takes it not.
        """
        self._asked.touch()

    def is_asked(self) -> bool:
        """Whether somebody asked."""
        return self._asked.exists()

    def answered(self, began_ns: int) -> None:
        """Forget who asked before a comparison began that has ended now; who asked later waits for another."""
        if self.is_asked() and self._asked.stat().st_mtime_ns <= began_ns:
            self._asked.unlink(missing_ok=True)

"""What a target of the fuzzers is, and the bounds within which each of its runs must stay."""

import atexit
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROCESSOR_LIMIT_S = 2.0
"""Of one run; the slowest honest one needs some hundredths, ten times as much under coverage."""
TRIES = 3
"""A run beyond that limit is tried again: in a process full of other tests a sweep of the garbage collector alone may
take two seconds, and what the input itself costs comes back each time."""
MEMORY_LIMIT_KIB = 64 * 1024
"""By how much one run may raise the highest memory that this process ever had."""
CAPTURES = Path(__file__).parent / "captures"
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


class Unbounded(AssertionError):
    """A run took far more time or memory than its input is worth."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of foreign bytes."""

    name: str
    promise: str
    """What holds for every input, in a sentence."""
    check: Callable[[bytes], None]
    """Read an input; raises only where the promise is broken."""
    seeds: Callable[[], Iterable[bytes]]
    """Inputs as they should be, from which the fuzzers begin."""
    longest_bytes: int = 4096

    def run(self, data: bytes) -> None:
        """Read an input within bounds.

        Raises:
            Unbounded: it took too long, or too much memory.
            Exception: whatever the reader should not have raised.
        """
        began_kib = _peak_kib()
        took_s = self._took_s(data)
        took_kib = _peak_kib() - began_kib
        for _ in range(TRIES - 1):
            if took_s <= PROCESSOR_LIMIT_S:
                break
            took_s = self._took_s(data)
        if took_s > PROCESSOR_LIMIT_S or took_kib > MEMORY_LIMIT_KIB:
            raise Unbounded(f"{self.name}: {took_s:.2f} s and {took_kib} KiB for {len(data)} bytes")

    def _took_s(self, data: bytes) -> float:
        began_s = time.process_time()
        self.check(data)
        return time.process_time() - began_s

    def captures(self) -> list[Path]:
        """Inputs that once broke the promise."""
        return sorted((CAPTURES / self.name).glob("*"))

    def warm_up(self) -> list[bytes]:
        """Run the seeds and return them; what is imported and remembered then is counted to no input."""
        found = [seed[: self.longest_bytes] for seed in self.seeds()]
        for seed in found:
            self.check(seed)
        return found


def scratch() -> Path:
    """Return a folder in memory, if there is such, that goes with this process."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="yuanzhen-fuzz-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

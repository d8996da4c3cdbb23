"""The controller's end of a zygote: starts children, knows when each is ready and how it ended."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.chaos.child import Wishes

ROOT = Path(__file__).resolve().parents[3]
READY_WORD = "ready"
STOP_WITHIN_S = 10.0


def catches(process: int, number: signal.Signals) -> bool:
    """Whether a process handles a signal itself; before, the signal would end it (proc(5), SigCgt)."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


class Unhealthy(Exception):
    """A process did not do in time what it has to do; the text says which and what."""


@dataclass(slots=True)
class Life:
    """One child from its fork to its end; times are the machine's steady clock."""

    number: int
    asked_s: float
    pid: int = 0
    ready_s: float = 0.0
    """When it said that it can serve; 0 = not yet."""
    ended_s: float = 0.0
    """0 = it lives."""
    status: int | None = None
    """Exit status, negative for a signal."""
    lines: list[str] = field(default_factory=list)
    """What it printed."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status is not None

    @property
    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL."""
        return self.status == -signal.SIGKILL


class Nursery:
    """A zygote and its children; may be used from any thread."""

    def __init__(
        self,
        role: str,
        environment: Mapping[str, str] | None = None,
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Start the zygote; it imports meanwhile.

        Args:
            role: edge, hub or broker.
            environment: more variables, for it and its children.
            within: entered while it is started: it lives where that leads.
        """
        self.role = role
        self._lives: dict[int, Life] = {}
        self._changed = threading.Condition()
        self._is_ready = False
        added = {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with within():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.chaos.zygote", role],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
                env=os.environ | added | dict(environment or {}),
            )
        self._reader = threading.Thread(target=self._read, name=f"zygote-{role}", daemon=True)
        self._reader.start()

    def until_ready(self, limit_s: float = 60) -> None:
        """Wait until it can fork."""
        self._wait(lambda: self._is_ready, limit_s, f"{self.role}: the zygote has imported its program")

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        wishes: Wishes | None = None,
        *,
        log: Path,
        program: Sequence[str] = (),
    ) -> Life:
        """Fork a child; returns at once.

        Args:
            arguments: of the actor's command line.
            folder: where it lives.
            wishes: how it differs from the program as shipped.
            log: its standard error is added there.
            program: another program with its arguments, run in place of the imported one.
        """
        with self._changed:
            life = Life(len(self._lives) + 1, time.monotonic())
            self._lives[life.number] = life
        order = {
            "number": life.number,
            "arguments": list(arguments),
            "program": list(program),
            "folder": str(folder),
            "log": str(log),
            "environment": {},
            "wishes": (wishes or Wishes()).as_order(),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return life

    def until_serving(self, life: Life, limit_s: float) -> bool:
        """Wait until a child says that it can serve; False where it ended before.

        Raises:
            Unhealthy: neither within the limit.
        """
        self._wait(lambda: bool(life.ready_s) or life.is_over, limit_s, f"{self.role}: ready")
        return bool(life.ready_s)

    def until_over(self, life: Life, limit_s: float) -> bool:
        """Wait until a child has ended, at most so long; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: life.is_over, limit_s)

    def send(self, life: Life, number: signal.Signals) -> None:
        """Send a signal to a child that lives; nothing happens to one that has ended."""
        with self._changed:
            self._changed.wait_for(lambda: bool(life.pid), STOP_WITHIN_S)
            if life.is_over:
                return
            with suppress(ProcessLookupError):
                os.kill(life.pid, number)

    def process_of(self, life: Life) -> int:
        """Return the process of a child, waiting until the zygote has told it; raises Unhealthy where it does not."""
        self._wait(lambda: bool(life.pid), STOP_WITHIN_S, f"{self.role}: forked")
        return life.pid

    def kill(self, life: Life) -> None:
        """Kill a child and wait until it is gone."""
        self.send(life, signal.SIGKILL)
        if not self.until_over(life, STOP_WITHIN_S):
            raise Unhealthy(f"{self.role}: cannot even be killed")

    def close(self) -> None:
        """End the zygote and with it its children."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(STOP_WITHIN_S)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            with self._changed:
                self._take(told)
                self._changed.notify_all()

    def _take(self, told: dict[str, object]) -> None:
        if "number" not in told:
            self._is_ready = True
            return
        life = self._lives[int(str(told["number"]))]
        at_s = float(str(told["at_s"]))
        if "pid" in told:
            life.pid = int(str(told["pid"]))
        elif "ended" in told:
            life.status, life.ended_s = int(str(told["ended"])), at_s
        else:
            life.lines.append(str(told["line"]))
            if READY_WORD in life.lines[-1] and not life.ready_s:
                life.ready_s = at_s

    def _wait(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, limit_s):
                raise Unhealthy(f"not within {limit_s:g} s: {what}")

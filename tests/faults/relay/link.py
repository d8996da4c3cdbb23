"""The link as a test or a bench holds it: a relay in a process of its own, with its controls.

It is a process so that no Python of the caller's delays a packet.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.relay.carrier import DIRECTIONS, Direction, Report
from tests.faults.relay.namespaces import Unavailable
from tests.faults.relay.pace import Timing
from tests.faults.relay.profile import described
from tests.faults.relay.settings import Settings
from tests.faults.relay.shape import Counts

ROOT = Path(__file__).resolve().parents[3]
STOP_WITHIN_S = 10


class RelayRefused(Exception):
    """The relay did not do what it was told; the text is its reason."""


class Link:
    """A running relay; its methods may be called from any thread, and return when the relay has done it."""

    def __init__(self, up: Settings, down: Settings, seed: int, control: Path | None, **place: str) -> None:
        """Start the process and wait until it relays.

        Raises Unavailable where this machine cannot, and RelayRefused for settings that this kind cannot follow.
        """
        self._settings: dict[Direction, Settings] = {"up": up, "down": down}
        self._lock = threading.Lock()
        command = [sys.executable, "-m", "tests.faults.relay", "-"]
        self._process = subprocess.Popen(
            [*command, *(("--control", str(control)) if control else ())],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            first = self._exchange({"seed": seed, "up": described(up), "down": described(down), **place})
            if "unavailable" in first:
                raise Unavailable(first["unavailable"])
            if "ready" not in first:
                raise RelayRefused(first.get("refused", "the relay did not start"))
        except BaseException:
            self.close()
            raise
        self.ready: dict[str, Any] = first["ready"]

    @property
    def pid(self) -> int:
        """The process that relays."""
        return self._process.pid

    def settings(self, direction: Direction) -> Settings:
        """Return what was set last, with `cut` as it is now."""
        return self._settings[direction]

    def set(self, direction: Direction, settings: Settings) -> None:
        """Put other settings in force in one direction, all of them at once."""
        self._order(do="set", direction=direction, settings=described(settings))
        self._settings[direction] = settings

    def cut(self, *directions: Direction) -> None:
        """Let nothing pass any more, both ways unless one is named."""
        self._cut(directions, is_cut=True)

    def heal(self, *directions: Direction) -> None:
        """Let everything pass again as it was set, both ways unless one is named."""
        self._cut(directions, is_cut=False)

    def reset(self) -> None:
        """Break the connections that exist (byte-stream relay only)."""
        self._order(do="reset")

    def report(self) -> Report:
        """Return the counts of both directions and how punctual the relay was."""
        told = self._order(do="counts")
        return Report(Counts(**told["up"]), Counts(**told["down"]), Timing(**told["timing"]))

    @contextmanager
    def flapping(self, up_s: float, down_s: float) -> Iterator[None]:
        """Cut and heal both ways in turn while the block runs, beginning with the cut; healed at its end."""
        ended = threading.Event()

        def flap() -> None:
            while not ended.is_set():
                self.cut()
                ended.wait(down_s)
                self.heal()
                ended.wait(up_s)

        thread = threading.Thread(target=flap, name="flapping link")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def close(self) -> None:
        """End the process; harmless when it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            # The end of its input ends it.
            self._process.stdin.close()
            self._process.wait(STOP_WITHIN_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        finally:
            self._process.stdout.close()

    def _cut(self, directions: tuple[Direction, ...], *, is_cut: bool) -> None:
        for direction in directions or DIRECTIONS:
            self._order(do="cut" if is_cut else "heal", direction=direction)
            self._settings[direction] = replace(self._settings[direction], cut=is_cut)

    def _order(self, **order: Any) -> dict[str, Any]:
        answer = self._exchange(order)
        if "done" not in answer:
            raise RelayRefused(answer.get("refused", "the relay has ended"))
        return answer

    def _exchange(self, said: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(said).encode() + b"\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                return {}
            answer: dict[str, Any] = json.loads(self._process.stdout.readline() or b"{}")
            return answer


class Proxy(Link):
    """A running datagram or byte-stream relay; clients use its address in place of the target's."""

    @property
    def address(self) -> tuple[str, int]:
        """Where clients find it."""
        host, port = self.ready["address"]
        return str(host), int(port)


@contextmanager
def datagram(
    target: tuple[str, int],
    *,
    up: Settings | None = None,
    down: Settings | None = None,
    seed: int = 1,
    control: Path | None = None,
) -> Iterator[Proxy]:
    """Hold a UDP relay to a target open while the block runs; a direction that is left out is perfect."""
    yield from _proxy("datagram", target, up, down, seed, control)


@contextmanager
def stream(
    target: tuple[str, int],
    *,
    up: Settings | None = None,
    down: Settings | None = None,
    seed: int = 1,
    control: Path | None = None,
) -> Iterator[Proxy]:
    """Hold a TCP relay to a target open while the block runs; a direction that is left out is perfect.

    Raises RelayRefused for loss, reordering, duplication and corruption, which a TCP relay cannot do.
    """
    yield from _proxy("stream", target, up, down, seed, control)


def _proxy(
    kind: str, target: tuple[str, int], up: Settings | None, down: Settings | None, seed: int, control: Path | None
) -> Iterator[Proxy]:
    host, port = target
    link = Proxy(up or Settings(), down or Settings(), seed, control, kind=kind, target=f"{host}:{port}")
    try:
        yield link
    finally:
        link.close()

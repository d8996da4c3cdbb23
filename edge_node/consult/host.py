"""The node's side of the consult process: starts it, restarts it, and carries lines both ways."""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable

import structlog

from edge_node import child
from edge_node.consult.pipe import (
    LINE_LIMIT_BYTES,
    Configure,
    Forget,
    Line,
    Permit,
    Pressed,
    Step,
    Vitals,
    pack,
    unpack,
)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 1.0
"""Back-off of restarts; a consult must not wait longer (decision 14)."""
STEADY_S = 10.0
"""A child that lived this long is started again without a longer wait."""
IDLE_S = 60.0
"""Without a consult for this long the child is ended: a small node needs its memory (about 90 MiB)."""
WAITING_LIMIT = 200
"""Steps kept while the child starts."""
BACKLOG_LIMIT_BYTES = 1024 * 1024
"""Vitals are dropped while this much is unread by the child."""

_log = structlog.get_logger(__name__)


class ConsultHost:
    """Runs the consult process for as long as `run` runs.

    Nothing here waits for the child: whatever happens to it, vitals and alarms are unaffected.
    """

    def __init__(self, settings: Configure, say: Callable[[Step], None]) -> None:
        """Make a host that hands what the camera says to `say` (on the event loop)."""
        self._settings = settings
        self._say = say
        self._permits: dict[str, Permit] = {}
        self._wanted = asyncio.Event()
        self._is_pressed = False
        self._used_s = 0.0
        self._waiting: deque[Step] = deque(maxlen=WAITING_LIMIT)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child while it runs."""
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Keep the child running while there are consults, until cancelled."""
        wait_s = FIRST_WAIT_S
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            started_s = loop.time()
            try:
                await self._run_once()
            except OSError as error:
                _log.warning("consult process cannot be started", reason=error.strerror)
            if not self._wanted.is_set():
                continue
            for consult_id in list(self._permits):
                self._say(_restarting(consult_id))
            wait_s = FIRST_WAIT_S if loop.time() - started_s >= STEADY_S else min(wait_s * 2, LONGEST_WAIT_S)
            await asyncio.sleep(wait_s)

    def prepare(self) -> None:
        """It rings: have the child ready by the time that somebody accepts."""
        self._used_s = time.monotonic()
        self._wanted.set()

    def permit(self, consult_id: str, bed: str) -> None:
        """The consult was accepted: the camera may answer its offers."""
        self.prepare()
        permit = self._permits[consult_id] = Permit(consult_id, bed)
        self._send(permit)

    def forget(self, consult_id: str) -> None:
        """The consult is over: the camera is let go."""
        if self._permits.pop(consult_id, None) is not None:
            self._used_s = time.monotonic()
            self._send(Forget(consult_id))

    def step(self, step: Step) -> None:
        """Hand a step of signalling to the camera; kept for a moment while the child starts."""
        if self._process is None:
            self._waiting.append(step)
        else:
            self._send(step)

    def wants_vitals(self, bed: str) -> bool:
        """True while a consult of this bed is accepted: cheap to ask before a message is made."""
        return any(permit.bed == bed for permit in self._permits.values())

    def vitals(self, bed: str, message: str) -> None:
        """Send a `readings` or `wave` message (JSON text) to the browsers that watch this bed; dropped if none."""
        if self.wants_vitals(bed):
            self._send(Vitals(bed, message))

    def press(self, is_pressed: bool) -> None:
        """Say whether the measurements find too little room on the link: then the pictures give way."""
        if is_pressed != self._is_pressed:
            self._is_pressed = is_pressed
            self._send(Pressed(is_pressed))

    def _send(self, line: Line) -> None:
        stdin = self._process.stdin if self._process else None
        if stdin is None or stdin.is_closing():
            return
        if isinstance(line, Vitals) and stdin.transport.get_write_buffer_size() > BACKLOG_LIMIT_BYTES:
            return
        stdin.write(pack(line))

    async def _run_once(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edge_node.consult",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT_BYTES,
        )
        self._process = process
        try:
            self._send(self._settings)
            self._send(Pressed(self._is_pressed))
            for permit in self._permits.values():
                self._send(permit)
            while self._waiting:
                self._send(self._waiting.popleft())
            async with asyncio.TaskGroup() as group:
                idle = group.create_task(self._end_when_idle(process))
                await self._read(process)
                idle.cancel()
            if self._wanted.is_set():
                _log.warning("consult process ended", exit_code=await process.wait())
        finally:
            self._process = None
            await child.stop(process)

    async def _end_when_idle(self, process: asyncio.subprocess.Process) -> None:
        while True:
            await asyncio.sleep(IDLE_S / 10)
            if not self._permits and time.monotonic() - self._used_s >= IDLE_S:
                break
        self._wanted.clear()
        if process.stdin is not None:
            process.stdin.close()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                raw = await process.stdout.readline()
                line = unpack(raw) if raw else None
            except ValueError:
                continue
            if line is None:
                return
            if isinstance(line, Step):
                self._say(line)
            else:
                _log.info("consult process is ready", pid=process.pid)


def _restarting(consult_id: str) -> Step:
    report = {
        "camera": "restarting",
        "reason": {
            "zh": "会诊程序正在重启，画面马上恢复",
            "en": "Restarting; the picture comes back",
        },
        "rung": None,
        "top": None,
        "why": None,
        "fps": 0,
        "microphone": False,
    }
    return Step(consult_id, "state", json.dumps(report, ensure_ascii=False))

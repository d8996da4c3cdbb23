"""The node's side of the receivers: starts and restarts them, commits what they stored, and answers.

One connection commits for all receivers: what is a duplicate or a conflict is then decided in one transaction however
many receivers there are, commits are shared among them, and a receiver, which strangers speak to, writes no database.
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from edge_node import child
from edge_node.errors import CatalogueFailure
from edge_node.imaging import rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.judged import OUT_OF_RESOURCES, Verdict
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import (
    LINE_LIMIT_BYTES,
    Configure,
    Judged,
    Line,
    Look,
    Ready,
    Refused,
    Stored,
    Taken,
    pack,
    unpack,
)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 1.0
STEADY_S = 10.0
"""A receiver that lived this long is started again without a longer wait."""
COMMIT_MOST = 64
"""Objects of one commit."""
LOOK_WITHIN_S = 120.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Receiver:
    """One child process while it runs."""

    process: asyncio.subprocess.Process
    looks: "dict[int, asyncio.Future[Taken]]" = field(default_factory=dict)
    """Files that it takes in, by number."""

    def say(self, line: Line) -> None:
        stdin = self.process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(pack(line))


@dataclass(slots=True)
class ImagingHost:
    """Receives images for as long as `run` runs."""

    settings: Configure
    receivers: int
    port: Callable[[], socket.socket]
    """Returns the listening socket, which stays open after `run`."""
    catalog: Catalog
    metrics: ImagingMetrics
    clock_ns: Callable[[], int] = time.time_ns
    is_listening: asyncio.Event = field(default_factory=asyncio.Event)
    pids: set[int] = field(default_factory=set)
    """Of the receivers that are up."""
    _up: list[_Receiver] = field(default_factory=list)
    _looks: int = 0
    _stored: "asyncio.Queue[tuple[_Receiver, Stored]]" = field(default_factory=asyncio.Queue)
    _refusals: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Receive until cancelled; the processes are ended before this returns.

        Raises:
            OSError: the folder of the objects cannot be used.
        """
        await asyncio.to_thread(Objects(Path(self.settings.folder)).sweep_incoming)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._commit_all(), name="imaging-commit")
            for number in range(self.receivers):
                # A folder is watched by one alone.
                settings = self.settings if number == 0 else replace(self.settings, watched="")
                group.create_task(self._keep(settings), name="imaging-receiver")

    async def look(self, path: Path, sender: str, study_uid: str = "") -> Taken:
        """Have a receiver take a file in, and return what became of it.

        It is out of resources where no receiver is up, or one ends or is silent meanwhile: the file may be brought
        again, whatever was done of it.

        Args:
            path: of the file, which stays.
            sender: who brought it.
            study_uid: the study that it must be of; empty: any.
        """
        self._looks += 1
        number = self._looks
        if not self._up:
            return Taken(number, OUT_OF_RESOURCES)
        receiver = min(self._up, key=lambda each: len(each.looks))
        answer: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        receiver.looks[number] = answer
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                receiver.say(Look(number, str(path), sender, study_uid))
                return await answer
        except TimeoutError:
            return Taken(number, OUT_OF_RESOURCES)
        finally:
            receiver.looks.pop(number, None)

    async def _keep(self, settings: Configure) -> None:
        wait_s, is_failing, loop = FIRST_WAIT_S, False, asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            try:
                reason = await self._run_once(settings)
            except OSError as error:
                reason = error.strerror or type(error).__name__
            if loop.time() - started_s >= STEADY_S:
                wait_s, is_failing = FIRST_WAIT_S, False
            else:
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            # Once until it is steady again.
            if not is_failing:
                log.warning("imaging-receiver-ended", reason=reason)
            is_failing = True
            await asyncio.sleep(wait_s)

    async def _run_once(self, settings: Configure) -> str:
        """Run a receiver until it ends, or says what none may say; return why."""
        port = self.port()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edge_node.imaging",
            str(port.fileno()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[port.fileno()],
            # Else each thread reserves 64 MiB of the address space that a receiver may have.
            env={**os.environ, "MALLOC_ARENA_MAX": "2"},
            limit=LINE_LIMIT_BYTES,
        )
        receiver = _Receiver(process)
        try:
            receiver.say(settings)
            await self._listen(receiver)
            return f"exit status {await process.wait()}"
        except ValueError:
            return "it said what no receiver says"
        finally:
            self._set_down(receiver)
            await child.stop(process)

    async def _listen(self, receiver: _Receiver) -> None:
        """Take what a receiver says until it ends.

        Raises:
            ValueError: a line that is none; what it says afterwards is not believed either.
        """
        assert receiver.process.stdout is not None
        while raw := await receiver.process.stdout.readline():
            line = unpack(raw)
            if isinstance(line, Stored):
                self._stored.put_nowait((receiver, line))
            elif isinstance(line, Refused):
                self._count_refused(line.reason)
            elif isinstance(line, Ready):
                self.pids.add(receiver.process.pid)
                self._up.append(receiver)
                self._tell_up()
            elif isinstance(line, Taken) and line.number in receiver.looks:
                receiver.looks.pop(line.number).set_result(line)

    def _set_down(self, receiver: _Receiver) -> None:
        """Send nothing more to a receiver that ends, and answer for it."""
        self.pids.discard(receiver.process.pid)
        self._up = [each for each in self._up if each is not receiver]
        for number, answer in receiver.looks.items():
            if not answer.done():
                answer.set_result(Taken(number, OUT_OF_RESOURCES))
        self._tell_up()

    def _tell_up(self) -> None:
        self.metrics.receivers.set(len(self.pids))
        if self.pids:
            self.is_listening.set()
        else:
            self.is_listening.clear()

    def _count_refused(self, reason: str) -> None:
        reason = reason if reason in REASONS else "other"
        self.metrics.refused.labels(reason).inc()
        times = self._refusals[reason] = self._refusals.get(reason, 0) + 1
        # A hostile peer must not fill the log: powers of two only.
        if times & (times - 1) == 0:
            log.warning("imaging-refused", reason=reason, times=times)

    async def _commit_all(self) -> None:
        while True:
            batch = [await self._stored.get()]
            while len(batch) < COMMIT_MOST and not self._stored.empty():
                batch.append(self._stored.get_nowait())
            verdicts = await self._commit([stored for _, stored in batch])
            for (receiver, stored), verdict in zip(batch, verdicts, strict=True):
                receiver.say(Judged(stored.number, verdict))
                self.metrics.objects.labels(verdict).inc()
                if verdict in (Verdict.NEW, Verdict.CONFLICT):
                    self.metrics.bytes.inc(stored.size_bytes)

    async def _commit(self, batch: Iterable[Stored]) -> list[Verdict]:
        now_ns, batch = self.clock_ns(), list(batch)
        try:
            return await self.catalog.write(lambda c: [rows.take(c, stored, now_ns) for stored in batch])
        except CatalogueFailure as failure:
            log.error("store-failed", file="imaging.db", reason=str(failure))
            return [Verdict.FAILED] * len(batch)


REASONS = frozenset(
    {
        "association-aborted", "association-rejected", "deflated", "disk-failed", "disk-full", "no-uid",
        "file-failed", "move-refused", "no-file", "other-object", "other-study", "query-refused", "too-deep",
        "too-many-calls",
    }
)  # fmt: skip
"""What receivers may give as a reason."""

"""The node's side of a worker process: starts it with one bundle, hands it arrays, and ends it when it is late."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog
from telemed.bundle import Bundle, Graph, Refusal
from telemed.bundle_golden import Array, Arrays

from edge_node import child
from edge_node.errors import EngineFailed, EngineLate
from edge_node.inference import arena
from edge_node.inference.arena import Arena
from edge_node.inference.confinement import Unconfined, shield
from edge_node.inference.engine import BUILT, Choice
from edge_node.inference.pipe import LINE_LIMIT_BYTES, Done, Failed, Line, Load, Loaded, Run, pack, unpack

LOAD_LIMIT_S = 50.0
BUILD_LIMIT_S = 1800.0
"""An engine that is built may take half an hour; another one serves meanwhile."""
END_LIMIT_S = 5.0
"""How long a worker that was killed may take to be gone."""
HANDED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG")
"""What of this process's environment a worker sees."""
PROGRAM = (sys.executable, "-B", "-m", "edge_node.inference")
DETAIL_LIMIT = 500
"""Of what a worker says went wrong, in characters."""
L = TypeVar("L", bound=Line)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What a worker may use."""

    threads: int
    memory_mib: int
    cache: Path
    """Folder of the engines that were built."""
    may_build: bool = False
    """Whether it may take minutes to build an engine: not while somebody waits for a result."""


class Worker:
    """One process with one bundle; runs one graph at a time, others wait for their turn."""

    def __init__(self, bundle: Bundle, choice: Choice, process: asyncio.subprocess.Process, memory: Arena) -> None:
        """Take over a process; use `start`."""
        self.bundle = bundle
        self.choice = choice
        self.loaded = Loaded("", "")
        self._process = process
        self._memory = memory
        self._turn = asyncio.Lock()
        self._is_closed = self._is_at_fault = False

    @classmethod
    async def start(cls, bundle: Bundle, folder: Path, choice: Choice, means: Means) -> "Worker":
        """Return a worker that is ready to run.

        Raises:
            EngineFailed: it does not take the bundle, or could not be started.
            EngineLate: it was not ready in time.
        """
        try:
            memory = Arena.of_size(arena.size_bytes(bundle.manifest))
            process = await _launched(memory)
        except (OSError, Unconfined) as error:
            raise EngineFailed(Refusal.ENGINE_FAILED, f"no worker: {error}") from error
        worker = cls(bundle, choice, process, memory)
        load = Load(
            str(folder), bundle.bundle_id, choice.library, choice.precision, means.threads, means.memory_mib,
            str(means.cache), means.may_build, memory.descriptor,
        )  # fmt: skip
        limit_s = BUILD_LIMIT_S if means.may_build and choice.library in BUILT else LOAD_LIMIT_S
        async with worker._ended_unless_done():
            worker.loaded = await worker._ask(load, Loaded, limit_s)
        return worker

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked to run something."""
        return not self._is_closed and self._process.returncode is None

    @property
    def is_dismissed(self) -> bool:
        """Whether this process ended it for no fault of its own: what fails from then on says nothing of it."""
        return self._is_closed and not self._is_at_fault

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def run(self, graph_name: str, inputs: Arrays) -> dict[str, Array]:
        """Return the outputs of one run of a graph.

        Whoever is cancelled while it runs ends the worker: an answer that comes late must not be taken for the next.

        Raises:
            EngineFailed: it died, ran out of memory, or gave what is no number.
            EngineLate: it did not answer within the graph's deadline, and is ended.
            Misfit: the inputs are not those that the graph takes.
        """
        graph = self.bundle.manifest.graphs[graph_name]
        async with self._turn:
            if not self.is_alive:
                raise EngineFailed(Refusal.ENGINE_FAILED, "the worker is gone")
            await asyncio.to_thread(self._memory.put, graph, inputs)
            async with self._ended_unless_done():
                await self._ask(Run(graph_name), Done, graph.deadline_s)
            return await asyncio.to_thread(self._outputs, graph)

    async def close(self) -> None:
        """End it; idempotent.  It holds nothing that would have to be saved.

        It is not waited for without end: a process that hangs inside of a driver dies when the driver lets it.
        """
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(ProcessLookupError):
            self._process.kill()
        try:
            async with asyncio.timeout(END_LIMIT_S):
                await self._process.wait()
        except TimeoutError:
            log.warning("worker-hangs", pid=self.pid)
        finally:
            self._memory.close()

    def _outputs(self, graph: Graph) -> dict[str, Array]:
        found = self._memory.take(graph)
        for name, array in found.items():
            if not np.isfinite(array).all():
                raise EngineFailed(Refusal.NOT_FINITE, name)
        return found

    @asynccontextmanager
    async def _ended_unless_done(self) -> AsyncIterator[None]:
        """End the worker where what is inside did not get its answer, also when it is cancelled."""
        is_answered = is_at_fault = False
        try:
            yield
            is_answered = True
        except _Said as said:
            is_answered, is_at_fault = said.is_ready, True
            raise EngineFailed(said.reason, said.detail) from said
        except TimeoutError as error:
            is_at_fault = True
            raise EngineLate("no answer within its deadline") from error
        finally:
            if not is_answered:
                self._is_at_fault |= is_at_fault and not self._is_closed
                await self.close()

    async def _ask(self, line: Line, expected: type[L], limit_s: float) -> L:
        assert self._process.stdout is not None
        async with asyncio.timeout(limit_s):
            try:
                child.tell(self._process, pack(line))
                answer = _believed(unpack(await self._process.stdout.readline()))
            except (ValueError, OSError) as error:
                raise _Said(
                    Refusal.ENGINE_FAILED, f"the worker died: {type(error).__name__}", is_ready=False
                ) from error
        if isinstance(answer, expected):
            return answer
        if isinstance(answer, Failed):
            raise _Said(Refusal(answer.reason), answer.detail[:DETAIL_LIMIT], is_ready=isinstance(line, Run))
        raise _Said(Refusal.ENGINE_FAILED, f"an answer of another kind: {type(answer).__name__}", is_ready=False)


def _believed(line: Line) -> Line:
    """Return what a worker said, where it is of the kinds that it should be: a model's maker may have written it.

    Raises:
        ValueError: it is not.
    """
    if isinstance(line, Failed):
        Refusal(line.reason)
    texts = [getattr(line, each.name) for each in fields(line) if each.type is str]
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("a text that is none")
    return line


class _Said(Exception):
    def __init__(self, reason: Refusal, detail: str, *, is_ready: bool) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail
        self.is_ready = is_ready
        """Whether the worker can be asked again."""


async def _launched(memory: Arena) -> asyncio.subprocess.Process:
    # Of the same user: without this a worker could open the node's memory as a file.
    shield()
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT_BYTES,
        pass_fds=(memory.descriptor,),
        env=environment(),
    )


def environment() -> dict[str, str]:
    """Return what a worker sees of this process's environment; its libraries for linear algebra get one thread."""
    kept = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

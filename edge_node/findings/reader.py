"""The node's side of a reader: one study in, what a model says of it out; the node runs the graphs in between."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from telemed.bundle import Manifest, Tensor
from telemed.bundle_golden import Array

from edge_node import child
from edge_node.errors import ModelAbsent, NotForPatients
from edge_node.findings.pipe import LINE_LIMIT_BYTES, Ask, Fits, Go, Line, Ran, Refused, Run, Told, Unfit, pack, unpack
from edge_node.findings.reasons import NotRead, Reason
from edge_node.inference.arena import Misfit
from edge_node.inference.confinement import Unconfined
from edge_node.inference.launch import launched
from edge_node.inference.provenance import Provenance, Subject
from edge_node.inference.runtime import Inference, Model

PROGRAM = (sys.executable, "-B", "-m", "edge_node.findings")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model said of a study, and of which images."""

    fits: Fits
    told: Told
    manifest: Manifest
    provenance: Provenance


async def read(ask: Ask, models: Inference, task: str, limit_s: float) -> Reading | None:
    """Have a study read; None where it is not of the task's kind.

    Whoever is cancelled meanwhile ends the reader.

    Raises:
        NotRead: it is of that kind and cannot be read.
        InferenceError: the model gave nothing that can be used; another attempt may.
    """
    try:
        async with asyncio.timeout(limit_s), _started() as reader:
            return await _conversation(reader, ask, models, task)
    except TimeoutError as error:
        raise NotRead(Reason.TOO_LATE) from error
    except NotForPatients as error:
        raise NotRead(Reason.NOT_FOR_PATIENTS) from error
    except ModelAbsent as error:
        raise NotRead(Reason.MODEL_ABSENT) from error
    except (ValueError, EOFError, OSError, Unconfined) as error:
        raise NotRead(Reason.READER_FAILED, type(error).__name__) from error


@dataclass(frozen=True, slots=True)
class _Reader:
    process: asyncio.subprocess.Process

    async def say(self, line: Line, *arrays: Array) -> None:
        assert self.process.stdin is not None
        child.tell(self.process, pack(line), *(each.tobytes() for each in arrays))
        await self.process.stdin.drain()

    async def hear(self) -> Line:
        """Return the next line.

        Raises:
            ValueError: it is none, or longer than it may be.
        """
        assert self.process.stdout is not None
        line = unpack(await self.process.stdout.readline())
        if isinstance(line, Refused):
            raise NotRead(Reason(line.reason), line.detail)
        return line

    async def array(self, tensor: Tensor) -> Array:
        """Return the array that stands behind the last line.

        Raises:
            EOFError: the reader is gone.
        """
        assert self.process.stdout is not None
        raw = await self.process.stdout.readexactly(tensor.size_bytes)
        return np.frombuffer(raw, tensor.dtype).reshape(tensor.shape)


@contextlib.asynccontextmanager
async def _started() -> AsyncIterator[_Reader]:
    async with launched(PROGRAM, LINE_LIMIT_BYTES) as process:
        yield _Reader(process)


async def _conversation(reader: _Reader, ask: Ask, models: Inference, task: str) -> Reading | None:
    await reader.say(ask)
    try:
        fits = await reader.hear()
    except NotRead:
        # Where the model would not have been run anyway, what ails the images is nobody's affair.
        models.check(task, Subject.PATIENT)
        raise
    if isinstance(fits, Unfit):
        return None
    if not isinstance(fits, Fits):
        raise ValueError("the reader says something else than what it reads")
    if not {*fits.magnitude, *fits.phase} <= {uid for _, uid in ask.files}:
        raise ValueError("the reader names images that it was not given")
    async with models.model(task, Subject.PATIENT) as model:
        await reader.say(Go(model.manifest.model_dump_json()))
        told = await reader.hear()
        while isinstance(told, Run):
            await _run(reader, model, told.graph)
            told = await reader.hear()
        if not isinstance(told, Told):
            raise ValueError("the reader says something else than what was found")
        return Reading(fits, told, model.manifest, model.provenance)


async def _run(reader: _Reader, model: Model, name: str) -> None:
    graph = model.manifest.graphs.get(name)
    if graph is None:
        raise ValueError("the reader asks for a graph that there is not")
    inputs = {tensor.name: await reader.array(tensor) for tensor in graph.inputs}
    try:
        outputs = await model.run(name, inputs)
    except Misfit as error:
        raise ValueError("the reader gives what the graph does not take") from error
    await reader.say(Ran(), *(outputs[tensor.name] for tensor in graph.outputs))

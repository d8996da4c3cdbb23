"""The reader processes as the hub sees them: started when needed, killed when they take too long, never trusted."""

import asyncio
import contextlib
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from cloud_hub.config import ImagingConfig
from cloud_hub.errors import ImageUnreadable, ReaderAway

LENGTH_BYTES = 4
LARGEST_HEAD_BYTES = 4 * 1024 * 1024
START_LIMIT_S = 60.0
TOO_HEAVY, TOO_SLOW = "too-heavy", "too-slow"
_CODE = re.compile(r"[a-z-]{0,20}")
PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader says."""

    told: dict[str, Any]
    body: bytes = field(default=b"", repr=False)


class _Reader:
    """One process, or none yet."""

    def __init__(self, config: ImagingConfig) -> None:
        self._config = config
        self._process: Process | None = None

    async def ask(self, asked: dict[str, Any]) -> Answer:
        """Return the answer; the process is gone where there is none.

        Raises:
            ImageUnreadable: the file cannot be read, is too heavy, or took too long.
            ReaderAway: the process does not start.
        """
        is_whole = False
        try:
            process = await self._running()
            async with asyncio.timeout(self._config.reader_limit_s):
                answer, code = await self._exchange(process, asked)
            is_whole = code != TOO_HEAVY
        except TimeoutError as error:
            raise ImageUnreadable(TOO_SLOW) from error
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            # It was killed, most often for memory; what a decoder of another's code did is not told.
            raise ImageUnreadable(TOO_HEAVY) from error
        finally:
            if not is_whole:
                await self.close()
        if code:
            raise ImageUnreadable(code)
        return answer

    async def close(self) -> None:
        """Kill the process; idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cloud_hub.imaging.reader", str(self._config.reader_memory_mib),
                stdin=PIPE, stdout=PIPE, env=environment | {"OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
            await self._ready(self._process)
        return self._process

    async def _ready(self, process: Process) -> None:
        """Wait until a process is ready: the limit of a file does not begin before there is somebody to read it."""
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await self._heard(process)
        except (TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            raise ReaderAway("the process that reads images does not start") from error

    async def _exchange(self, process: Process, asked: dict[str, Any]) -> tuple[Answer, str]:
        assert process.stdin is not None
        # Told apart here, for uvloop raises RuntimeError where asyncio says nothing.
        if process.stdin.is_closing():
            raise BrokenPipeError("the reader is gone")
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        await process.stdin.drain()
        return await self._heard(process)

    async def _heard(self, process: Process) -> tuple[Answer, str]:
        assert process.stdout is not None
        length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
        if length > LARGEST_HEAD_BYTES:
            raise ValueError("the head is too long")
        size_bytes, told, code = _of_head(await process.stdout.readexactly(length))
        if size_bytes > self._config.reader_memory_mib << 20:
            raise ValueError("the answer is too long")
        return Answer(told, await process.stdout.readexactly(size_bytes)), code


class Readers:
    """A few reader processes; used on one event loop."""

    def __init__(self, config: ImagingConfig) -> None:
        """Start nothing yet."""
        self._all = [_Reader(config) for _ in range(config.readers)]
        self._free = asyncio.Semaphore(config.readers)
        self._idle = list(self._all)

    async def ask(self, do: str, path: Path, **more: Any) -> Answer:
        """Have a file read; waits for its turn.

        Args:
            do: what, as `cloud_hub.imaging.reader.work` knows it.
            path: of the file, made by the hub.
            more: what else it needs.

        Raises:
            ImageUnreadable: the file cannot be read so.
            ReaderAway: no reader starts.
            FileNotFoundError: there is no such file.
        """
        if not await asyncio.to_thread(path.is_file):
            raise FileNotFoundError(path.name)
        async with self._free:
            reader = self._idle.pop()
            try:
                return await reader.ask({"do": do, "path": str(path), **more})
            finally:
                self._idle.append(reader)

    async def close(self) -> None:
        """End all processes; idempotent."""
        for reader in self._all:
            await reader.close()


def _of_head(text: bytes) -> tuple[int, dict[str, Any], str]:
    """Return the length of a body in bytes, what is told, and the code of a refusal, empty where there is none.

    Raises:
        ValueError: it has another shape, as that of a process that a file took over may.
    """
    try:
        match json.loads(text):
            case {"bytes": int(size_bytes), "told": dict(told), "code": str(code)}:
                is_sound = not isinstance(size_bytes, bool) and size_bytes >= 0 and _CODE.fullmatch(code) is not None
            case _:
                is_sound = False
    except RecursionError as error:
        raise ValueError("the head is too deep") from error
    if not is_sound:
        raise ValueError("the head is not of the agreed shape")
    return size_bytes, told, code

"""What the node and its child processes share: an end that is bounded in time, and lines of JSON over pipes."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STOP_LIMIT_S = 3.0


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a child by closing its standard input; one that does not end of itself within STOP_LIMIT_S is killed.

    It is killed at once where whoever waits here is cancelled: no child outlives what started it.
    """
    if process.stdin is not None:
        process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT_S):
                await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def tell(process: asyncio.subprocess.Process, *pieces: bytes) -> None:
    """Write to a child's standard input.

    Raises:
        BrokenPipeError: the child is gone.
    """
    assert process.stdin is not None
    for each in pieces:
        # Told apart here, for uvloop raises RuntimeError where asyncio says nothing.
        if process.stdin.is_closing():
            raise BrokenPipeError("the child is gone")
        process.stdin.write(each)


def named(*kinds: type[Any]) -> dict[str, type[Any]]:
    """Return dataclasses by the names that they have in lines."""
    return {kind.__name__.lower(): kind for kind in kinds}


def pack(line: "DataclassInstance") -> bytes:
    """Return one line with its end; what no text can hold, as in the name of a file, is a question mark."""
    said = {"type": type(line).__name__.lower(), **_said(line)}
    return json.dumps(said, ensure_ascii=False, default=_said).encode(errors="replace") + b"\n"


def _said(line: "DataclassInstance") -> dict[str, Any]:
    """Return the fields as they are: `asdict` would copy each value for nothing."""
    return {each.name: getattr(line, each.name) for each in fields(line)}


def unpack(raw: bytes, kinds: Mapping[str, type[Any]]) -> Any:
    """Return the dataclass that a line names, with what it says in its fields, of whatever type that is.

    Raises:
        ValueError: it names none of these kinds, or other fields.
    """
    try:
        said = json.loads(raw)
        return kinds[said.pop("type")](**said)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a line between node and child") from error

"""What the node and its child processes share: a child ends in bounded time, a line is what it names."""

import asyncio
import sys
import time
from dataclasses import dataclass, field

import pytest
import uvloop

from edge_node import child


@dataclass(frozen=True, slots=True)
class Told:
    """A line."""

    text: str
    numbers: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Over:
    """Another."""


KINDS = child.named(Told, Over)


@pytest.mark.parametrize("line", [Told("会诊\n", [1]), Told(""), Over()])
def test_a_line_is_read_as_it_was_written_and_is_one_line(line: Told | Over) -> None:
    raw = child.pack(line)
    assert raw.count(b"\n") == 1
    assert child.unpack(raw, KINDS) == line


def test_the_name_of_a_file_that_is_no_text_ends_nobody() -> None:
    assert child.unpack(child.pack(Told("no /mnt/\udcff.dcm")), KINDS) == Told("no /mnt/?.dcm")


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"7", b'{"type": "else"}', b'{"type": []}', b'{"type": "over", "x": 1}', b"[" * 100_000, b"\xff"],
)
def test_anything_else_is_no_line(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a line between node and child"):
        child.unpack(raw, KINDS)


async def started(program: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    return process


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_child_that_ends_with_its_input_ends_of_itself() -> None:
    process = await started("import sys; print('up', flush=True); sys.stdin.read(); sys.exit(5)")
    await child.stop(process)
    assert process.returncode == 5
    await child.stop(process)


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_child_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "STOP_LIMIT_S", 0.2)
    process = await started("import time; print('up', flush=True); time.sleep(60)")
    began_s = time.monotonic()
    await child.stop(process)
    assert process.returncode == -9
    assert time.monotonic() - began_s < 10


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_child_is_not_left_behind_by_whoever_is_cancelled_while_it_waits_for_its_end() -> None:
    process = await started("import time; print('up', flush=True); time.sleep(60)")
    stopping = asyncio.create_task(child.stop(process))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    assert stopping.cancelled()
    assert process.returncode == -9


@pytest.mark.slow
def test_who_speaks_to_a_child_that_is_gone_is_told_so_as_of_a_broken_pipe() -> None:
    async def speaks() -> None:
        process = await started("import time; print('up', flush=True); time.sleep(60)")
        process.kill()
        await process.wait()
        child.tell(process, b"anybody there?\n")

    with pytest.raises(BrokenPipeError):
        uvloop.run(speaks())

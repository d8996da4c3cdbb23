"""No `durable` and no `complete` leaves before data and row are synced, seen from the kernel (decision 12).

kill -9 keeps the page cache and so cannot show this; the system calls can.  One chunk is under way at a time, so that
whatever was written and not synced when a message leaves is that chunk or the row that speaks for it.
"""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
import pytest
from telemed.transfer import CHUNK_BYTES
from telemed.v1 import transfer_pb2, transfer_pb2_grpc

from tests.fakes import rpc_process
from tests.fakes.bare_node import BareNode, Content, Heard
from tests.fakes.ports import free_port
from tests.fakes.strace import calls

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
CALLS = "fdatasync,fsync,pwrite64,rename,renameat,renameat2,write,writev,sendto,sendmsg"
SENDS = ("sendto(", "write(", "writev(", "sendmsg(")
CHUNKS = 4
FILE = Content(os.urandom((CHUNKS - 1) * CHUNK_BYTES + 100))

_FILE = re.compile(r"<([^>]*(?:-wal|/incoming/[0-9a-f-]{36}|/blobs/blobs/[0-9a-f/]+))>")
_FOLDER = re.compile(r"<([^>]*/blobs/[0-9a-f]{2})>")


@dataclass(slots=True)
class Verdict:
    """What a trace shows."""

    told: int = 0
    """Messages about the transfer that left: the answer to the offer, each durable, complete."""
    early: list[str] = field(default_factory=list)
    """Those that left while something written was not synced, and what that was."""
    synced: set[str] = field(default_factory=set)
    """Kinds of what was synced."""


def kind_of(name: str) -> str:
    return "row" if name.endswith("-wal") else "data"


def judge(trace: str, transfer_id: str) -> Verdict:
    """Walk the lines in order; a write is unsynced from its start, a sync counts when it has returned 0."""
    verdict, unsynced = Verdict(), set[str]()
    for rest, begins, ends in calls(trace):
        file, folder = _FILE.search(rest), _FOLDER.search(rest)
        if file and rest.startswith("pwrite64(") and begins:
            unsynced.add(file[1])
        elif rest.startswith("rename") and "/incoming/" in rest and begins:
            unsynced.add("name")
        elif rest.startswith(("fdatasync(", "fsync(")) and ends and rest.endswith("= 0"):
            if file:
                unsynced.discard(file[1])
                verdict.synced.add(kind_of(file[1]))
            if folder:
                unsynced.discard("name")
                verdict.synced.add("name")
        elif rest.startswith(SENDS) and "TCP" in rest and transfer_id in rest and begins:
            verdict.told += 1
            if unsynced:
                verdict.early.append(", ".join(sorted(unsynced)))
    return verdict


def find_strace() -> str:
    """Return the program; the test is skipped by name where it is absent or may not trace."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace is not installed or may not trace here")
    return strace


async def send_one_by_one(port: int) -> tuple[str, Heard]:
    """Offer the file and send chunk after chunk, each once the one before is durable."""
    heard = Heard()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        node = BareNode(transfer_pb2_grpc.TransferStub(channel))
        transfer_id = await node.transfer_id(FILE)
        async with node.sending() as call:
            for index in range(CHUNKS):
                await call.write(
                    transfer_pb2.Piece(
                        transfer_id="" if index else transfer_id, offset=index * CHUNK_BYTES, data=FILE.chunk(index)
                    )
                )
                while index not in heard.durable:
                    progress = await call.read()
                    assert isinstance(progress, transfer_pb2.Progress)
                    heard.take(progress)
            await call.done_writing()
            while isinstance(progress := await call.read(), transfer_pb2.Progress):
                heard.take(progress)
    return transfer_id, heard


async def trace(folder: Path, *options: str) -> Verdict:
    """Send a file to a traced hub; return what the kernel saw."""
    out, port = folder / "trace", free_port()
    program = await asyncio.create_subprocess_exec(
        find_strace(), "-f", "-yy", "-s", "400", "--seccomp-bpf", "-o", str(out), "-e", f"trace={CALLS}",
        rpc_process.PYTHON, rpc_process.__file__, str(folder), str(port), *options,
        stdout=asyncio.subprocess.PIPE, env=rpc_process.environment(),
    )  # fmt: skip
    try:
        assert program.stdout is not None
        async with asyncio.timeout(60):
            assert await program.stdout.readline() == b"ready\n"
            skip = len(out.read_bytes())
            transfer_id, heard = await send_one_by_one(port)
        assert (heard.durable, heard.complete) == (list(range(CHUNKS)), [transfer_id])
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(program.pid).children():
                child.kill()
        await program.wait()
    return judge(out.read_bytes()[skip:].decode(errors="replace"), transfer_id)


async def test_all_that_is_told_of_a_file_leaves_after_the_sync_of_its_data_its_row_and_its_name(
    tmp_path: Path,
) -> None:
    verdict = await trace(tmp_path)
    assert verdict.early == []
    # The offer's answer and each durable; the last durable and complete may share a message.
    assert verdict.told >= CHUNKS + 1
    assert verdict.synced == {"row", "data", "name"}


@pytest.mark.parametrize(("option", "what"), [("rows-unsynced", "-wal"), ("data-unsynced", "/incoming/")])
async def test_the_same_check_fails_without_either_sync(tmp_path: Path, option: str, what: str) -> None:
    verdict = await trace(tmp_path, option)
    assert len([each for each in verdict.early if what in each]) >= CHUNKS

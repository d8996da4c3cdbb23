"""The last steps of a file: the whole verified, the file named, the row committed; each may be done again."""

import asyncio
import contextlib
from dataclasses import dataclass

from sqlalchemy import Connection
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.transfer import chunk_count

from cloud_hub.ingest.failpoint import reach
from cloud_hub.rpc.parts import Parts
from cloud_hub.store import transfers
from cloud_hub.store.transfers import State, Transfer


@dataclass(frozen=True, slots=True)
class Finished:
    """How it ended: whole where both are empty."""

    code: str = ""
    """Why the file is refused."""
    wrong: tuple[int, ...] = ()
    """Chunks that are damaged on the hub's disk and must come again."""


async def finish(parts: Parts, address: NodeAddress, transfer_id: str) -> Finished:
    """Verify a file of which every chunk is stored, give it its name, and commit that it is complete.

    Raises:
        OSError: the disk failed; may be tried again.
        StoreFailure: the row was not committed; may be tried again.
    """
    async with parts.lock_of(transfer_id):
        row = await parts.care.read(lambda c: transfers.find(c, address, transfer_id))
        if row is None or row.state in (State.REFUSED, State.WITHDRAWN):
            return Finished(Code.TRANSFER_UNKNOWN)
        if row.state is State.COMPLETE:
            return Finished()
        blobs, sha256 = parts.disk.blobs, row.facts.sha256
        whole = await parts.disk.call(blobs.whole_hash, transfer_id, sha256)
        reach("whole-verified")
        if whole != sha256:
            return await _not_whole(parts, row, is_there=whole is not None)
        await parts.disk.call(blobs.publish, transfer_id, sha256)
        reach("blob-named")
        await _commit(parts, row)
        reach("complete-committed")
    return Finished()


async def _commit(parts: Parts, row: Transfer) -> None:
    """Commit that a file is complete; whoever waits for it is told even where the call ends meanwhile."""
    now_ns, loop, done = parts.clock(), asyncio.get_running_loop(), list[Transfer]()

    def work(connection: Connection) -> None:
        transfers.complete(connection, row.address, row.transfer_id, now_ns)
        found = transfers.find(connection, row.address, row.transfer_id)
        done.extend([found] if found else [])

    def kept() -> None:
        for found in done:
            tell_complete(parts, loop, found)

    await parts.care.write(work, kept)
    parts.metrics.files.labels(row.facts.kind, "complete").inc()


def tell_complete(parts: Parts, loop: asyncio.AbstractEventLoop, row: Transfer) -> None:
    """Have the rest of the hub told of a complete file; called in the writer's thread right after the commit."""
    # A loop that is closed has nobody left to tell: they ask after the restart.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(parts.on_complete, row)


async def _not_whole(parts: Parts, row: Transfer, *, is_there: bool) -> Finished:
    """Find the chunks that are damaged; where there is none, the node's own hash of the whole is wrong."""
    count = chunk_count(row.facts.size_bytes)
    wrong = tuple(await _wrong_chunks(parts, row)) if is_there else tuple(range(count))
    now_ns = parts.clock()
    if wrong:
        await parts.care.write(lambda c: transfers.drop_chunks(c, row.address, row.transfer_id, wrong, now_ns))
        return Finished(wrong=wrong)
    await refuse(parts, row, Code.FILE_MISMATCH)
    return Finished(Code.FILE_MISMATCH)


async def refuse(parts: Parts, row: Transfer, code: str) -> None:
    """Refuse a file for good and delete what was received of it."""
    now_ns = parts.clock()
    await parts.care.write(lambda c: transfers.refuse(c, row.address, row.transfer_id, code, now_ns))
    await parts.disk.call(parts.disk.blobs.drop, row.transfer_id)
    parts.metrics.files.labels(row.facts.kind, "refused").inc()


async def _wrong_chunks(parts: Parts, row: Transfer) -> list[int]:
    incoming = await parts.disk.call(parts.disk.blobs.incoming, row.transfer_id)
    try:
        return await parts.disk.call(incoming.wrong_chunks, row.facts.size_bytes, row.chunk_hashes)
    finally:
        parts.disk.later(incoming.close)

"""One Send call: pieces in, progress out.

`received` is told as soon as a piece is read.  `durable` is told after the data were synced and the row that says so
was committed, `complete` after the last of the steps in `finishing`.  Chunks are synced together with whatever else
arrived while the sync before was running.
"""

import asyncio
import errno
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.transfer import CHUNK_BYTES, CORRUPT_LIMIT, chunk_bytes, chunk_hash, refusal, unpacked
from telemed.v1 import transfer_pb2

from cloud_hub.errors import PieceMisplaced
from cloud_hub.ingest.failpoint import reach
from cloud_hub.rpc import finishing, limits
from cloud_hub.rpc.assembly import Arrived, Assembly
from cloud_hub.rpc.outbox import Outbox, Write
from cloud_hub.rpc.parts import Parts
from cloud_hub.store import transfers
from cloud_hub.store.blobs import Incoming
from cloud_hub.store.transfers import State, Transfer

UNSYNCED_LIMIT_BYTES = 4 * 1024 * 1024
"""More than this is not read while earlier chunks wait for their sync."""
LOOK_AT_ROOM_S = 1.0
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class _Upload:
    """One file on this call."""

    row: Transfer
    incoming: Incoming
    assembly: Assembly
    unsynced: set[int] = field(default_factory=set)
    came: set[int] = field(default_factory=set)
    """Chunks that came right on this call."""
    is_finishing: bool = False


class Receiving:
    """What one Send call does; made for one call, run once."""

    def __init__(self, parts: Parts, address: NodeAddress) -> None:
        self._parts = parts
        self._address = address
        self._uploads: dict[str, _Upload] = {}
        self._closed: set[str] = set()
        """Files of which no more is taken on this call: the node was told why."""
        self._outbox = Outbox()
        self._thrift = limits.Thrift()
        self._current = ""
        self._dirty, self._synced = asyncio.Event(), asyncio.Event()
        self._finishing: set[asyncio.Task[None]] = set()
        self._is_over = False
        self._looked_at_room_s = float("-inf")

    async def run(self, pieces: AsyncIterator[transfer_pb2.Piece], write: Write) -> None:
        """Take pieces until the node has no more, and return once all of them are dealt with and told.

        Raises:
            TransferFault: the node breaks a rule, or does not read; all that was told durable stays so.
            StoreFailure: the database failed.
            OSError: the disk failed.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._outbox.run(write, self._parts.config.write_limit_s))
                keeping = group.create_task(self._keep(group))
                async for piece in _within(self._parts.config.idle_s, pieces):
                    await self._take(piece, group)
                self._is_over = True
                self._dirty.set()
                await keeping
                if self._finishing:
                    await asyncio.wait(self._finishing)
                self._outbox.close()
        finally:
            for upload in self._uploads.values():
                self._parts.disk.later(upload.incoming.close)

    async def _take(self, piece: transfer_pb2.Piece, group: asyncio.TaskGroup) -> None:
        self._thrift.count(len(piece.data))
        self._outbox.received(len(piece.data))
        self._current = piece.transfer_id or self._current
        upload = await self._upload(self._current)
        if upload is None:
            return
        if not piece.data:
            self._finish_if_whole(upload, group)
            return
        arrived = upload.assembly.add(piece.offset, piece.data, piece.packed_bytes)
        if arrived is not None:
            await self._store(upload, arrived)

    async def _upload(self, transfer_id: str) -> _Upload | None:
        """Return a file of this call, opened at its first piece; None where nothing of it is taken."""
        if transfer_id in self._uploads or transfer_id in self._closed:
            return self._uploads.get(transfer_id)
        row = await self._parts.care.read(lambda c: transfers.find(c, self._address, transfer_id))
        if row is not None and row.state is State.COMPLETE:
            self._closed.add(transfer_id)
            self._outbox.complete(transfer_id, row.facts.sha256)
        elif row is None or row.state is not State.RECEIVING or not row.chunk_hashes:
            # Not this node's, or withdrawn meanwhile: which of them is nobody else's business.
            self._closed.add(transfer_id)
            self._outbox.refused(transfer_id, refusal(Code.TRANSFER_UNKNOWN, 1))
        else:
            incoming = await self._parts.disk.call(self._parts.disk.blobs.incoming, transfer_id)
            self._uploads[transfer_id] = _Upload(row, incoming, Assembly(row.facts.size_bytes))
        return self._uploads.get(transfer_id)

    async def _store(self, upload: _Upload, arrived: Arrived) -> None:
        index = arrived.number
        size_bytes = chunk_bytes(index, upload.row.facts.size_bytes)
        right_hash = chunk_hash(upload.row.chunk_hashes, index)

        def write() -> bool:
            data = unpacked(arrived.data, size_bytes) if arrived.is_packed else arrived.data
            return data is not None and upload.incoming.write_if_right(index, data, right_hash)

        try:
            is_right = await self._parts.disk.call(write)
        except OSError as error:
            self._give_up_for_room(upload, error)
            return
        reach("chunk-written")
        self._count(upload, index, size_bytes, is_right=is_right)
        if not is_right:
            await self._ask_again(upload, index)
            return
        if index not in upload.row.chunks and index not in upload.came:
            self._thrift.gained()
        upload.came.add(index)
        upload.unsynced.add(index)
        self._dirty.set()
        while sum(len(each.unsynced) for each in self._uploads.values()) * CHUNK_BYTES > UNSYNCED_LIMIT_BYTES:
            self._synced.clear()
            await self._synced.wait()

    def _count(self, upload: _Upload, index: int, size_bytes: int, *, is_right: bool) -> None:
        outcome = "corrupt" if not is_right else "repeated" if index in upload.row.chunks else "received"
        self._parts.metrics.bytes.labels(upload.row.facts.kind, outcome).inc(size_bytes)

    async def _ask_again(self, upload: _Upload, index: int) -> None:
        row = upload.row
        times = await self._parts.care.write(lambda c: transfers.note_corrupt(c, self._address, row.transfer_id, index))
        if times <= CORRUPT_LIMIT:
            self._outbox.corrupt(row.transfer_id, index)
            return
        await self._refuse(upload, Code.CHUNK_CORRUPT)

    async def _refuse(self, upload: _Upload, code: str) -> None:
        self._drop(upload)
        await finishing.refuse(self._parts, upload.row, code)
        self._outbox.refused(upload.row.transfer_id, refusal(code))

    def _give_up_for_room(self, upload: _Upload, error: OSError) -> None:
        if self._uploads.get(upload.row.transfer_id) is not upload:
            return  # closed while this was under way
        if error.errno not in NO_ROOM:
            raise error
        self._drop(upload)
        self._outbox.refused(upload.row.transfer_id, refusal(Code.STORE_NEARLY_FULL, limits.RETRY_AFTER_S))

    def _drop(self, upload: _Upload) -> None:
        """Take nothing more of a file on this call; what is synced and committed stays."""
        upload.unsynced.clear()
        self._uploads.pop(upload.row.transfer_id, None)
        self._closed.add(upload.row.transfer_id)
        self._parts.disk.later(upload.incoming.close)
        self._synced.set()

    async def _keep(self, group: asyncio.TaskGroup) -> None:
        """Sync and commit what arrived, again and again, until there is no more to come."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            for upload in [each for each in self._uploads.values() if each.unsynced]:
                await self._make_durable(upload, group)
            self._synced.set()
            if self._is_over and not self._dirty.is_set():
                return

    async def _make_durable(self, upload: _Upload, group: asyncio.TaskGroup) -> None:
        chunks, upload.unsynced = upload.unsynced, set()
        transfer_id = upload.row.transfer_id
        try:
            await self._parts.disk.call(upload.incoming.sync)
        except OSError as error:
            self._give_up_for_room(upload, error)
            return
        reach("data-synced")
        now_ns = self._parts.clock()
        have = await self._parts.care.write(
            lambda c: transfers.add_chunks(c, self._address, transfer_id, chunks, now_ns)
        )
        reach("durable-committed")
        if have is None:
            self._drop(upload)
            self._outbox.refused(transfer_id, refusal(Code.TRANSFER_UNKNOWN, 1))
            return
        self._outbox.durable(transfer_id, chunks)
        if have.is_whole:
            self._start_finishing(upload, group)
        else:
            await self._look_at_room(upload)

    async def _look_at_room(self, upload: _Upload) -> None:
        if time.monotonic() - self._looked_at_room_s < LOOK_AT_ROOM_S:
            return
        self._looked_at_room_s = time.monotonic()
        no_room = limits.full(await self._parts.disk.call(self._parts.disk.blobs.room), 0, self._parts.config)
        if no_room is not None:
            self._drop(upload)
            self._outbox.refused(upload.row.transfer_id, no_room)

    def _finish_if_whole(self, upload: _Upload, group: asyncio.TaskGroup) -> None:
        if not upload.row.chunks.is_whole:
            raise PieceMisplaced("an empty piece of a file of which chunks are missing")
        self._start_finishing(upload, group)

    def _start_finishing(self, upload: _Upload, group: asyncio.TaskGroup) -> None:
        if not upload.is_finishing:
            upload.is_finishing = True
            self._finishing.add(group.create_task(self._finish(upload)))

    async def _finish(self, upload: _Upload) -> None:
        facts, transfer_id = upload.row.facts, upload.row.transfer_id
        finished = await finishing.finish(self._parts, self._address, transfer_id)
        upload.is_finishing = False
        for index in finished.wrong:
            await self._ask_again(upload, index)
        if finished.wrong:
            return
        self._drop(upload)
        if finished.code:
            self._outbox.refused(transfer_id, refusal(finished.code))
        else:
            self._outbox.complete(transfer_id, facts.sha256)


async def _within(idle_s: float, pieces: AsyncIterator[transfer_pb2.Piece]) -> AsyncIterator[transfer_pb2.Piece]:
    """Yield what comes; end where nothing comes for so long."""
    while True:
        try:
            async with asyncio.timeout(idle_s):
                piece = await anext(pieces, None)
        except TimeoutError:
            return
        if piece is None:
            return
        yield piece

"""Brings down what the hub has released to this node, chunk by chunk, and says what is here.

A chunk is noted as here only after its bytes are synced; a file is offered to the node only after the whole was
verified, synced under its final name, and the row of that committed.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice

from telemed.errors import Code
from telemed.transfer import (
    CHUNK_BYTES,
    CORRUPT_LIMIT,
    ChunkSet,
    chunk_bytes,
    chunk_count,
    chunk_hash,
    kind_of,
    manifest_hash,
    runs,
)
from telemed.v1 import transfer_pb2

from edge_node.buffer.failpoint import reach
from edge_node.errors import LinkDown
from edge_node.uplink.transfer import releases, room
from edge_node.uplink.transfer.agenda import Agenda
from edge_node.uplink.transfer.budget import Wish
from edge_node.uplink.transfer.channel import HEARD_LIMIT_S, Line, translated
from edge_node.uplink.transfer.metrics import TransferMetrics
from edge_node.uplink.transfer.pace import Pace
from edge_node.uplink.transfer.releases import Fetched, Listed, Release
from edge_node.uplink.transfer.spool import Spool

BATCH_CHUNKS = 16
BATCH_S = 0.5
"""A batch is asked for once so much time went by, however small it is: on a thin link that is one chunk."""


@dataclass(frozen=True, slots=True)
class Means:
    """What the way down works with."""

    agenda: Agenda
    spool: Spool
    pace: Pace
    metrics: TransferMetrics
    on_fetched: Callable[[Release], None]
    """Called on the event loop once a file is here whole."""
    clock_s: Callable[[], float] = time.monotonic


class Downward:
    """The way down; used by one task."""

    def __init__(self, line: Line, means: Means) -> None:
        self._line = line
        self._means = means
        self._ledger = means.agenda.ledger
        self._corrupt: Counter[tuple[str, int]] = Counter()

    async def look(self, sent: list[str]) -> list[str]:
        """Take in the hub's list; return those of the hashes that were sent and that the hub has lost.

        Raises:
            LinkDown: the hub did not answer.
            HubRefuses: it does not take this node's calls.
        """
        held = await self._ledger.read(releases.held)
        asked = transfer_pb2.ListRequest(held=map(bytes.fromhex, held), sent=map(bytes.fromhex, sent))
        hub = await self._line.hub()
        with translated():
            answer = await hub.stub.List(asked, metadata=hub.login.metadata, timeout=HEARD_LIMIT_S)
        listed = list(filter(None, map(_listed, answer.released)))
        await self._ledger.write(lambda c: releases.take_list(c, listed))
        return [each.hex() for each in answer.lost]

    async def fetch_all(self) -> None:
        """Fetch what is released and not here, as far as hours, budget and disk allow, the earliest first.

        Raises:
            LinkDown: the connection ended; chunks that are noted as here stay so.
            HubRefuses: the hub does not take this node's calls.
            OSError: the disk would not take it.
        """
        for release in await self._ledger.read(releases.releases):
            if release.state not in (Fetched.WANTED, Fetched.PAUSED):
                continue
            code = await self._hold(release)
            if code:
                await self._note(release, state=Fetched.PAUSED, code=code)
            else:
                await self._fetch(release)

    async def _hold(self, release: Release) -> str:
        """Return why a file may not be fetched now, empty where it may."""
        if not room.may_fetch(await asyncio.to_thread(self._means.spool.used_share)):
            return Code.STORE_NEARLY_FULL
        return self._means.agenda.judge_kind(release.kind, Wish(min(CHUNK_BYTES, release.size_bytes))).code

    async def _fetch(self, release: Release) -> None:
        hashes = release.chunk_hashes or await self._fetch_hashes(release)
        have = release.chunks
        # Rows are believed only as far as the file reaches.
        length_bytes = await asyncio.to_thread(self._means.spool.half_way_bytes, release.sha256)
        missing = [
            index
            for index in range(have.count)
            if index not in have or index * CHUNK_BYTES + chunk_bytes(index, release.size_bytes) > length_bytes
        ]
        if have.is_whole and not length_bytes:
            missing = []
        while missing and not await self._hold(release):
            got = await self._fetch_batch(release, hashes, missing)
            missing = [index for index in missing if index not in got]
            if any(self._corrupt[release.sha256, index] > CORRUPT_LIMIT for index in missing):
                await self._refuse(release, Code.CHUNK_CORRUPT)
                return
        if not missing:
            await self._finish(release, hashes)

    async def _fetch_hashes(self, release: Release) -> bytes:
        asked, hashes = transfer_pb2.FetchRequest(sha256=bytes.fromhex(release.sha256)), bytearray()

        async def take(part: transfer_pb2.FetchPart) -> None:
            hashes.extend(part.hashes)

        await self._each(asked, take)
        if manifest_hash(bytes(hashes)).hex() != release.manifest_sha256:
            raise LinkDown("the chunk hashes that came are not those of the list")
        await self._note(release, chunk_hashes=bytes(hashes))
        return bytes(hashes)

    async def _fetch_batch(self, release: Release, hashes: bytes, missing: list[int]) -> set[int]:
        """Fetch some of the missing chunks; return those that are synced and noted."""
        granted = await self._turns(release, missing)
        asked = transfer_pb2.FetchRequest(sha256=bytes.fromhex(release.sha256), chunks=runs(granted))
        begun_s, got = self._means.clock_s(), set[int]()

        async def take(part: transfer_pb2.FetchPart) -> None:
            turns = granted.pop(part.chunk.index, [])
            for size_bytes in turns:
                self._means.pace.acked(size_bytes, self._means.clock_s() - begun_s)
            if turns and await self._take(release, hashes, part.chunk):
                got.add(part.chunk.index)

        try:
            await self._each(asked, take)
        finally:
            for size_bytes in (each for turns in granted.values() for each in turns):
                self._means.pace.lost(size_bytes)
        if got:
            await self._make_durable(release, got)
        return got

    async def _make_durable(self, release: Release, chunks: set[int]) -> None:
        await asyncio.to_thread(self._means.spool.sync_fetched, release.sha256)
        reach("fetch-synced")
        spend = self._means.agenda.take_unsaved()
        await self._ledger.write(lambda c: (releases.add_chunks(c, release.sha256, chunks), spend(c)))
        reach("fetch-noted")

    async def _take(self, release: Release, hashes: bytes, chunk: transfer_pb2.Chunk) -> bool:
        right_hash = chunk_hash(hashes, chunk.index)
        is_right = await asyncio.to_thread(
            self._means.spool.write_if_right, release.sha256, chunk.index, chunk.data, right_hash
        )
        reach("fetch-written")
        self._means.agenda.spend(release.kind, len(chunk.data))
        self._means.metrics.bytes.labels(release.kind, "fetched" if is_right else "corrupt").inc(len(chunk.data))
        if not is_right:
            self._corrupt[release.sha256, chunk.index] += 1
        return is_right

    async def _turns(self, release: Release, missing: list[int]) -> dict[int, list[int]]:
        """Wait for the turns of some chunks; return what was granted for each, in bytes."""
        begun_s, granted = self._means.clock_s(), dict[int, list[int]]()
        for index in islice(missing, BATCH_CHUNKS):
            if granted and self._means.clock_s() - begun_s > BATCH_S:
                break
            turns, left_bytes = list[int](), chunk_bytes(index, release.size_bytes)
            while left_bytes > 0:
                turns.append(await self._means.pace.turn(left_bytes))
                left_bytes -= turns[-1]
            granted[index] = turns
        return granted

    async def _finish(self, release: Release, hashes: bytes) -> None:
        spool, sha256 = self._means.spool, release.sha256
        whole = await asyncio.to_thread(spool.fetched_hash, sha256)
        reach("fetch-verified")
        if whole != sha256:
            await self._not_whole(release, hashes, is_there=whole is not None)
            return
        await asyncio.to_thread(spool.name_fetched, sha256)
        reach("fetch-named")
        await self._note(release, state=Fetched.HERE, code="")
        reach("fetch-here")
        self._means.metrics.files.labels(release.kind, "fetched").inc()
        found = await self._ledger.read(lambda c: releases.find(c, sha256))
        if found is not None:
            self._means.on_fetched(found)

    async def _not_whole(self, release: Release, hashes: bytes, *, is_there: bool) -> None:
        """Ask for the chunks again that the disk damaged; where it damaged none, the hub's list is wrong."""
        have = ChunkSet(chunk_count(release.size_bytes))
        if is_there:
            spool = self._means.spool
            wrong = set(await asyncio.to_thread(spool.wrong_fetched, release.sha256, release.size_bytes, hashes))
            if not wrong:
                await self._refuse(release, Code.FILE_MISMATCH)
                return
            for index in set(range(have.count)) - wrong:
                have.add(index)
        await self._note(release, have=have.pack())

    async def _refuse(self, release: Release, code: str) -> None:
        await self._note(release, state=Fetched.REFUSED, code=code, have=b"")
        await asyncio.to_thread(self._means.spool.forget_fetched, release.sha256)
        self._means.metrics.files.labels(release.kind, "refused").inc()

    async def _each(
        self, asked: transfer_pb2.FetchRequest, take: Callable[[transfer_pb2.FetchPart], Awaitable[None]]
    ) -> None:
        """Hand on what the hub sends, until it has no more."""
        hub = await self._line.hub()
        call = hub.stub.Fetch(asked, metadata=hub.login.metadata)
        try:
            while True:
                with translated():
                    async with asyncio.timeout(HEARD_LIMIT_S):
                        part = await call.read()
                if not isinstance(part, transfer_pb2.FetchPart):
                    return
                await take(part)
        finally:
            call.cancel()

    async def _note(self, release: Release, **values: object) -> None:
        await self._ledger.write(lambda c: releases.note(c, release.sha256, values))


def _listed(head: transfer_pb2.FileHead) -> Listed | None:
    """Return a file of the hub's list, None where it is of a kind that only newer software knows."""
    try:
        kind = kind_of(head.kind)
    except ValueError:
        return None
    return Listed(head.sha256.hex(), head.size_bytes, head.manifest_sha256.hex(), kind, head.name)

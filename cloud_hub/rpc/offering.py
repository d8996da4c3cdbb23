"""One Offer call: what a node wants to send, and which chunks of it are missing here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from sqlalchemy import Connection
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.transfer import CHUNK_BYTES, HASH_BYTES, chunk_bytes, chunk_count, manifest_hash, refusal, runs
from telemed.v1 import transfer_pb2

from cloud_hub.ingest.failpoint import reach
from cloud_hub.rpc import limits
from cloud_hub.rpc.finishing import tell_complete
from cloud_hub.rpc.parts import Parts
from cloud_hub.store import transfers
from cloud_hub.store.blobs import Room
from cloud_hub.store.transfers import FileFacts, State, Transfer

PART_LIMIT_S = 60.0
"""How long a node may take for the next part."""

Asked = AsyncIterator[transfer_pb2.OfferPart]
Answer = Callable[[transfer_pb2.OfferAnswer], Awaitable[None]]


class _Refused(Exception):
    """Ends the offer; carries what the node is told."""

    def __init__(self, told: transfer_pb2.Refusal) -> None:
        super().__init__(told.code)
        self.told = told


async def offer(parts: Parts, address: NodeAddress, asked: Asked, answer: Answer) -> None:
    """Answer one offer; everything the answer relies on is committed before it is given.

    Raises:
        CallerElsewhere: the file is said to be another node's.
        StoreFailure: the database failed.
    """
    try:
        first = await _next(asked)
        facts = limits.facts_of(first.head, address)
        now_ns = parts.clock()
        row = await _row(parts, address, facts, now_ns)
        reach("offered")
        if row.state is State.COMPLETE:
            parts.metrics.files.labels(facts.kind, "known").inc()
            await answer(transfer_pb2.OfferAnswer(is_complete=True))
            return
        if not row.chunk_hashes:
            await answer(transfer_pb2.OfferAnswer(hashes_wanted=True))
            row = await _keep_hashes(parts, row, await _hashes(facts, asked, answer))
            reach("hashes-committed")
        missing = runs(await _missing(parts, row))
        lacking = transfer_pb2.Lacking(transfer_id=row.transfer_id, missing=missing, takes_packed=True)
        await answer(transfer_pb2.OfferAnswer(received_bytes=len(row.chunk_hashes), lacking=lacking))
    except ValueError:
        await answer(transfer_pb2.OfferAnswer(refused=refusal(Code.OFFER_REFUSED)))
    except _Refused as no:
        await answer(transfer_pb2.OfferAnswer(refused=no.told))


async def _next(asked: Asked) -> transfer_pb2.OfferPart:
    try:
        async with asyncio.timeout(PART_LIMIT_S):
            return await anext(asked)
    except (StopAsyncIteration, TimeoutError):
        raise ValueError("the offer ends too early") from None


async def _row(parts: Parts, address: NodeAddress, facts: FileFacts, now_ns: int) -> Transfer:
    room = await parts.disk.call(parts.disk.blobs.room)

    loop, fresh = asyncio.get_running_loop(), list[Transfer]()

    def work(connection: Connection) -> Transfer | transfer_pb2.Refusal:
        known = transfers.same(connection, address, facts)
        if known is None or known.state is not State.COMPLETE:
            refused = _refusal(connection, parts, address, facts, known, room)
            if refused is not None:
                return refused
        row = transfers.offer(connection, address, facts, now_ns)
        if row.completed_ns == now_ns:
            # The site had this content already; as a file of this group it is new.
            fresh.append(row)
        return row

    def kept() -> None:
        for row in fresh:
            tell_complete(parts, loop, row)

    found = await parts.care.write(work, kept)
    if isinstance(found, transfer_pb2.Refusal):
        if not found.retry_after_s:
            parts.metrics.files.labels(facts.kind, "refused").inc()
        raise _Refused(found)
    return found


def _refusal(
    connection: Connection, parts: Parts, address: NodeAddress, facts: FileFacts, known: Transfer | None, room: Room
) -> transfer_pb2.Refusal | None:
    is_open = known is not None and known.state is State.RECEIVING
    here_bytes = known.chunks.size_bytes(facts.size_bytes) if known is not None and is_open else 0
    others = transfers.open_count(connection, address) - is_open
    return limits.refusal_of(facts, facts.size_bytes - here_bytes, others, room, parts.config)


async def _hashes(facts: FileFacts, asked: Asked, answer: Answer) -> bytes:
    """Take in the chunk hashes, telling after each part how much was received.

    Raises:
        ValueError: there are too many or too few, or they are not the ones that the head names.
    """
    whole_bytes = chunk_count(facts.size_bytes) * HASH_BYTES
    hashes = bytearray()
    while len(hashes) < whole_bytes:
        part = (await _next(asked)).hashes
        hashes += part
        if not part or len(hashes) > whole_bytes:
            raise ValueError("not as many hashes as the file has chunks")
        await answer(transfer_pb2.OfferAnswer(received_bytes=len(hashes)))
    if manifest_hash(bytes(hashes)).hex() != facts.manifest_sha256:
        raise ValueError("the hashes are not those of the head")
    return bytes(hashes)


async def _keep_hashes(parts: Parts, row: Transfer, hashes: bytes) -> Transfer:
    now_ns = parts.clock()
    kept = await parts.care.write(lambda c: transfers.keep_hashes(c, row.address, row.transfer_id, hashes, now_ns))
    if kept is None:
        raise _Refused(refusal(Code.TRANSFER_UNKNOWN, 1))
    return kept


async def _missing(parts: Parts, row: Transfer) -> list[int]:
    """Return the chunks to ask for; rows are believed only as far as the file reaches."""
    have, size_bytes = row.chunks, row.facts.size_bytes
    blobs = parts.disk.blobs
    length_bytes = await parts.disk.call(blobs.holds_bytes, row.transfer_id)
    if have.is_whole and length_bytes == 0:
        # Named already, and only the row of that is missing: an empty piece brings it about.
        return []
    for index in range(have.count):
        if index in have and index * CHUNK_BYTES + chunk_bytes(index, size_bytes) > length_bytes:
            have.discard(index)
    missing = list(have.missing())
    if missing and len(missing) != len(list(row.chunks.missing())):
        now_ns = parts.clock()
        await parts.care.write(lambda c: transfers.drop_chunks(c, row.address, row.transfer_id, missing, now_ns))
    return missing

"""One Fetch call: chunk hashes or chunks of a file that the hub has released to the node that asks."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice

from telemed.topics import NodeAddress
from telemed.transfer import HASH_BYTES, chunk_count, chunk_hash, indexes
from telemed.v1 import transfer_pb2

from cloud_hub.errors import BlobDamaged, NotFound, ReaderStalled
from cloud_hub.rpc.parts import Parts
from cloud_hub.store import releases
from cloud_hub.store.releases import Released

HASHES_A_PART = 512

Write = Callable[[transfer_pb2.FetchPart], Awaitable[None]]


async def fetch(parts: Parts, address: NodeAddress, asked: transfer_pb2.FetchRequest, write: Write) -> None:
    """Write what is asked for, in the order of the file.

    Raises:
        NotFound: there is no such file, or it is not released to this node.
        BlobDamaged: the hub's own copy no longer matches its hashes.
        ReaderStalled: the node does not read.
    """
    sha256 = asked.sha256.hex()
    found = await parts.care.read(lambda c: releases.find(c, address, sha256))
    if found is None:
        raise NotFound("no such file is released to this node")
    if not asked.chunks:
        await _write_hashes(parts, found, write)
        return
    count = chunk_count(found.size_bytes)
    for index in islice(indexes(asked.chunks, count), count):
        data = await parts.disk.call(
            parts.disk.blobs.read_if_right, sha256, index, found.size_bytes, chunk_hash(found.chunk_hashes, index)
        )
        if data is None:
            raise BlobDamaged(f"{sha256}: chunk {index}")
        await _hand_over(parts, write, transfer_pb2.FetchPart(chunk=transfer_pb2.Chunk(index=index, data=data)))
        parts.metrics.bytes.labels(found.kind, "fetched").inc(len(data))


async def _write_hashes(parts: Parts, found: Released, write: Write) -> None:
    step = HASHES_A_PART * HASH_BYTES
    for at in range(0, len(found.chunk_hashes), step):
        await _hand_over(parts, write, transfer_pb2.FetchPart(hashes=found.chunk_hashes[at : at + step]))


async def _hand_over(parts: Parts, write: Write, part: transfer_pb2.FetchPart) -> None:
    limit_s = parts.config.write_limit_s
    try:
        async with asyncio.timeout(limit_s):
            await write(part)
    except TimeoutError:
        raise ReaderStalled(f"not read for {limit_s:g} s") from None

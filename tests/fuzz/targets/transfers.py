"""The hub's gRPC face: offers of files, pieces of them, and the marks by which records are compared."""

from collections.abc import Iterable, Iterator
from itertools import islice

from google.protobuf.message import DecodeError
from telemed.reconcile import BLOCK_RECORDS, Mark, digest, pack, unpack
from telemed.transfer import (
    CHUNK_BYTES,
    LARGEST_FILE_BYTES,
    ChunkSet,
    chunk_bytes,
    chunk_count,
    indexes,
    packed,
    runs,
    unpacked,
)
from telemed.v1 import reconcile_pb2, transfer_pb2

from cloud_hub.config import RpcConfig
from cloud_hub.errors import CallerElsewhere, PieceMisplaced
from cloud_hub.rpc import limits
from cloud_hub.rpc.assembly import Assembly
from cloud_hub.rpc.differences import is_same, judge
from cloud_hub.store.blobs import Room
from cloud_hub.store.holdings import Holding
from tests.fakes.containers import CLINIC
from tests.fuzz.target import Target

FREE = Room(usable_bytes=10**12, free_bytes=9 * 10**11)
BLOCK = (1, BLOCK_RECORDS)
FILE_BYTES = CHUNK_BYTES + 300
"""A long chunk, which only a packed one fills, and a short one."""


def offer(data: bytes) -> None:
    """Pass where an offer is refused by name, or names a file that the hub can count in chunks."""
    try:
        part = transfer_pb2.OfferPart.FromString(data)
        facts = limits.facts_of(part.head, CLINIC)
    except (DecodeError, ValueError, CallerElsewhere):
        return
    assert facts.name.isprintable()
    refused = limits.refusal_of(facts, facts.size_bytes, 0, FREE, RpcConfig())
    if refused is not None:
        assert refused.zh
        assert refused.en
        return
    count = chunk_count(facts.size_bytes)
    assert 0 < count <= LARGEST_FILE_BYTES // CHUNK_BYTES
    assert (count - 1) * CHUNK_BYTES + chunk_bytes(count - 1, facts.size_bytes) == facts.size_bytes


def lacking(data: bytes) -> None:
    """Pass where runs of chunks name only chunks that a file has, and a stored bitmap is read as it was."""
    try:
        told = transfer_pb2.Lacking.FromString(data)
    except DecodeError:
        return
    count = 1 + len(data) * 7
    named = list(islice(indexes(told.missing, count), 4 * count))
    assert all(0 <= index < count for index in named)
    have = ChunkSet(count, data)
    assert ChunkSet(count, have.pack()).pack() == have.pack()
    assert len(have) + sum(1 for _ in have.missing()) == count
    assert list(indexes(runs(named), count)) == sorted(set(named))


def piece(data: bytes) -> None:
    """Pass where pieces are refused by name, or make chunks that the file has, each of its own length or none."""
    assembly = Assembly(FILE_BYTES)
    try:
        for found in _split(data):
            arrived = assembly.add(found.offset, found.data, found.packed_bytes)
            if arrived is not None:
                size_bytes = chunk_bytes(arrived.number, FILE_BYTES)
                assert size_bytes
                chunk = unpacked(arrived.data, size_bytes) if arrived.is_packed else arrived.data
                assert chunk is None or len(chunk) == size_bytes
    except (DecodeError, PieceMisplaced):
        return


def comparison(data: bytes) -> None:
    """Pass where marks are read as they were packed, and a comparison sorts every number into one finding at most."""
    try:
        asked = reconcile_pb2.SettleRequest.FromString(data)
        theirs = unpack(asked.marks)
    except (DecodeError, ValueError):
        return
    assert pack(theirs) == asked.marks
    ours = Holding({seq: Mark(seq, 1, seq % 3) for seq in range(1, BLOCK_RECORDS, 2)})
    found = judge(BLOCK, theirs, ours, excused={2})
    sorted_numbers = [*found.missing, *found.differing, *found.gone]
    assert len(sorted_numbers) == len(set(sorted_numbers))
    assert all(BLOCK[0] <= seq <= BLOCK[1] for seq in sorted_numbers)
    block = reconcile_pb2.BlockHash(first=1, last=BLOCK_RECORDS, records=len(theirs), sha256=digest(theirs))
    assert not is_same(block, ours)


def offers() -> Iterable[bytes]:
    """A head as a node sends it, and a part with hashes."""
    head = transfer_pb2.FileHead(
        site=CLINIC.site,
        node=CLINIC.node,
        sha256=bytes(32),
        manifest_sha256=bytes(32),
        size_bytes=200_000,
        name="study.zip",
        kind=transfer_pb2.FILE_KIND_STUDY,
    )
    yield transfer_pb2.OfferPart(head=head).SerializeToString()
    yield transfer_pb2.OfferPart(hashes=bytes(96)).SerializeToString()


def lists() -> Iterable[bytes]:
    """Runs of missing chunks."""
    yield transfer_pb2.Lacking(transfer_id="t", missing=runs([0, 1, 2, 9])).SerializeToString()


def pieces() -> Iterable[bytes]:
    """A chunk that comes packed in two pieces, one after it as it is; and a packed one that is damaged."""
    whole = packed(bytes(range(256)) * (CHUNK_BYTES // 256))
    assert whole is not None
    end, middle = len(whole), len(whole) // 2
    packed_pieces = [
        transfer_pb2.Piece(transfer_id="t", offset=0, data=whole[:middle], packed_bytes=end),
        transfer_pb2.Piece(offset=middle, data=whole[middle:], packed_bytes=end),
    ]
    yield _joined([*packed_pieces, transfer_pb2.Piece(offset=CHUNK_BYTES, data=bytes(300))])
    yield _joined([transfer_pb2.Piece(offset=0, data=whole[: end - 4] + bytes(4), packed_bytes=end)])


def _joined(found: Iterable[transfer_pb2.Piece]) -> bytes:
    said = [each.SerializeToString() for each in found]
    return b"".join(len(each).to_bytes(2) + each for each in said)


def _split(data: bytes) -> Iterator[transfer_pb2.Piece]:
    while data:
        end = 2 + int.from_bytes(data[:2])
        yield transfer_pb2.Piece.FromString(data[2:end])
        data = data[end:]


def settlements() -> Iterable[bytes]:
    """Marks of a block."""
    marks = pack(Mark(seq, 1, 1) for seq in (1, 2, 5))
    yield reconcile_pb2.SettleRequest(run_id="r", stream="mon-b01/numeric", marks=marks).SerializeToString()


OFFER = Target("offer", "An offer is refused by name, or names a file the hub can count.", offer, offers)
LACKING = Target("lacking", "Runs name only chunks that a file has.", lacking, lists)
PIECE = Target("piece", "Pieces make only chunks that a file has, of their own length.", piece, pieces)
MARKS = Target("marks", "Marks are read as they were packed; no number has two findings.", comparison, settlements)

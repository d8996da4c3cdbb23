"""What the hub decides without touching disk or network: what is taken, how pieces fit, what is told."""

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed.errors import Code
from telemed.transfer import CHUNK_BYTES, FileKind, chunk_bytes, chunk_count
from telemed.v1 import transfer_pb2

from cloud_hub.config import RpcConfig
from cloud_hub.errors import CallerElsewhere, CallWasteful, PieceMisplaced, ReaderStalled
from cloud_hub.rpc import limits, outbox
from cloud_hub.rpc.assembly import Assembly
from cloud_hub.rpc.identity import Caller, SecretIdentity
from cloud_hub.rpc.outbox import Outbox
from cloud_hub.store.blobs import Room
from cloud_hub.store.transfers import FileFacts
from tests.fakes.rpc_hub import CLINIC, HOME, metadata, users

CONFIG = RpcConfig(largest_file_mib=1, files_per_node=3, disk_limit_pct=80)
FACTS = FileFacts("a" * 64, 1000, "b" * 64, FileKind.STUDY, "CT")
EMPTY_DISK = Room(usable_bytes=10_000, free_bytes=10_000)
SIZE_BYTES = 2 * CHUNK_BYTES + 100


def head(**changes: object) -> transfer_pb2.FileHead:
    values: dict[str, object] = {
        "sha256": bytes(32),
        "size_bytes": 1000,
        "manifest_sha256": bytes(32),
        "kind": transfer_pb2.FILE_KIND_STUDY,
        "name": "CT 头部",
        "group_id": "g1",
        "is_preview": True,
        "site": CLINIC.site,
        "node": CLINIC.node,
    }
    return transfer_pb2.FileHead(**(values | changes))  # type: ignore[arg-type]


def test_an_offer_says_what_the_file_is() -> None:
    facts = limits.facts_of(head(), CLINIC)
    assert facts == FileFacts("00" * 32, 1000, "00" * 32, FileKind.STUDY, "CT 头部", "g1", is_preview=True)


@pytest.mark.parametrize("wrong", [{"site": HOME.site}, {"node": HOME.node}, {"site": ""}, {"node": ""}])
def test_a_file_of_another_site_or_node_cannot_be_offered(wrong: dict[str, str]) -> None:
    with pytest.raises(CallerElsewhere):
        limits.facts_of(head(**wrong), CLINIC)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": bytes(31)},
        {"manifest_sha256": b""},
        {"size_bytes": 0},
        {"kind": 0},
        {"kind": 77},
        {"name": "a" * 201},
        {"name": "../\0etc"},
        {"name": "line\nbreak"},
        {"group_id": "g" * 65},
    ],
)
def test_an_offer_that_makes_no_sense_is_not_understood(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        limits.facts_of(head(**wrong), CLINIC)


def refused(facts: FileFacts, missing_bytes: int, open_files: int, room: Room) -> tuple[str, bool]:
    found = limits.refusal_of(facts, missing_bytes, open_files, room, CONFIG)
    return (found.code, bool(found.retry_after_s)) if found else ("", False)


def test_what_fits_is_taken() -> None:
    assert refused(FACTS, 1000, 2, EMPTY_DISK) == ("", False)


def test_a_file_over_the_limit_is_refused_for_good() -> None:
    large = FileFacts("a" * 64, 1024 * 1024 + 1, "b" * 64, FileKind.STUDY, "CT")
    assert refused(large, 0, 0, EMPTY_DISK) == (Code.TOO_LARGE, False)


def test_too_many_files_of_a_node_and_a_full_disk_are_refused_for_a_while() -> None:
    assert refused(FACTS, 1000, 3, EMPTY_DISK) == (Code.TOO_MANY_OPEN, True)
    assert refused(FACTS, 1000, 0, Room(10_000, 2_500)) == (Code.STORE_NEARLY_FULL, True)


def test_only_what_is_missing_of_a_file_needs_room() -> None:
    assert refused(FACTS, 400, 0, Room(10_000, 2_500)) == ("", False)


def test_a_disk_without_any_size_counts_as_full() -> None:
    assert limits.full(Room(0, 0), 0, CONFIG) is not None


def test_tiny_messages_end_a_call_and_large_ones_do_not() -> None:
    tiny, large = limits.Thrift(), limits.Thrift()
    for _ in range(limits.FREE_MESSAGES):
        tiny.count(1)
    with pytest.raises(CallWasteful):
        tiny.count(1)
    for _ in range(3 * limits.FREE_MESSAGES):
        large.count(1024)


def test_many_missing_chunks_that_come_packed_into_a_few_bytes_do_not_end_a_call() -> None:
    thrift = limits.Thrift()
    for _ in range(3 * limits.FREE_MESSAGES):
        thrift.count(20)
        thrift.gained()


@given(st.integers(1000, SIZE_BYTES), st.integers(0, 99))
def test_pieces_of_any_length_make_up_the_chunks(largest: int, seed: int) -> None:
    chance = random.Random(seed)
    assembly, content = Assembly(SIZE_BYTES), bytes(number % 251 for number in range(SIZE_BYTES))
    found: dict[int, bytes] = {}
    for index in (2, 0, 1):
        at, end = index * CHUNK_BYTES, index * CHUNK_BYTES + chunk_bytes(index, SIZE_BYTES)
        while at < end:
            length = min(end - at, chance.randint(1, largest))
            chunk = assembly.add(at, content[at : at + length])
            found |= {chunk.number: chunk.data} if chunk else {}
            at += length
    assert b"".join(found[index] for index in range(chunk_count(SIZE_BYTES))) == content


@pytest.mark.parametrize(
    ("before", "offset", "size_bytes"),
    [
        ([], 5, 10),  # not at the start of a chunk
        ([(0, 10)], 20, 10),  # a gap
        ([(0, 10)], 5, 10),  # over what is there
        ([(0, 10)], CHUNK_BYTES + 10, 10),  # goes on in another chunk
        ([], 0, CHUNK_BYTES + 1),  # into the next chunk
        ([], 2 * CHUNK_BYTES, 101),  # beyond the end
        ([], 3 * CHUNK_BYTES, 1),  # outside
        ([], 3 * CHUNK_BYTES, 0),  # and empty
        ([], 2**63, 1),
    ],
)
def test_a_piece_that_does_not_fit_is_misplaced(before: list[tuple[int, int]], offset: int, size_bytes: int) -> None:
    assembly = Assembly(SIZE_BYTES)
    for at, length in before:
        assembly.add(at, bytes(length))
    with pytest.raises(PieceMisplaced):
        assembly.add(offset, bytes(size_bytes))


def test_a_chunk_that_was_begun_may_be_begun_anew() -> None:
    assembly = Assembly(SIZE_BYTES)
    assembly.add(0, b"x" * 10)
    assert assembly.add(2 * CHUNK_BYTES, b"y" * 100) == (2, b"y" * 100, False)


def test_a_packed_chunk_comes_in_pieces_too_and_ends_where_it_said() -> None:
    assembly = Assembly(SIZE_BYTES)
    assert assembly.add(CHUNK_BYTES, b"abc", 5) is None
    assert assembly.add(CHUNK_BYTES + 3, b"de", 5) == (1, b"abcde", True)
    assert assembly.add(CHUNK_BYTES, b"abc", 5) is None
    assert assembly.add(CHUNK_BYTES, b"ab", 2) == (1, b"ab", True)


@pytest.mark.parametrize(
    ("offset", "size_bytes", "packed_bytes"),
    [
        (3, 3, 5),  # over its end
        (3, 2, 6),  # of another length than it said at first
        (3, 2, 0),  # and now as it is
        (CHUNK_BYTES, 10, CHUNK_BYTES + 1),  # longer than it is
        (2 * CHUNK_BYTES, 10, 101),
        (3 * CHUNK_BYTES, 1, 1),  # outside of the file
    ],
)
def test_a_piece_of_a_packed_chunk_that_does_not_fit_is_misplaced(
    offset: int, size_bytes: int, packed_bytes: int
) -> None:
    assembly = Assembly(SIZE_BYTES)
    assembly.add(0, b"abc", 5)
    with pytest.raises(PieceMisplaced):
        assembly.add(offset, bytes(size_bytes), packed_bytes)


def test_what_is_told_adds_up_to_one_message() -> None:
    told = Outbox()
    for size_bytes in (10, 20):
        told.received(size_bytes)
    told.durable("t1", {0, 2})
    told.durable("t1", {1})
    told.complete("t1", "ab" * 32)
    message = told.take()
    assert message.received_bytes == 30
    assert [(run.first, run.count) for run in message.durable[0].chunks] == [(0, 3)]
    assert message.complete[0].sha256 == bytes.fromhex("ab" * 32)
    assert told.take() == transfer_pb2.Progress(received_bytes=30)


@pytest.mark.anyio
async def test_a_closed_outbox_tells_what_is_left_and_ends() -> None:
    told, heard = Outbox(), list[transfer_pb2.Progress]()

    async def write(message: transfer_pb2.Progress) -> None:
        heard.append(message)

    told.corrupt("t1", 4)
    told.close()
    await told.run(write, 1)
    assert [each.chunk for message in heard for each in message.corrupt] == [4]


@pytest.mark.anyio
async def test_a_reader_that_does_not_read_is_given_up() -> None:
    told, never = Outbox(), asyncio.Event()

    async def write(_: transfer_pb2.Progress) -> None:
        await never.wait()

    told.received(1)
    with pytest.raises(ReaderStalled):
        await told.run(write, 0.01)


@pytest.mark.anyio
async def test_something_is_told_now_and_then_also_when_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BEAT_S", 0.01)
    told, beats = Outbox(), list[transfer_pb2.Progress]()

    async def write(message: transfer_pb2.Progress) -> None:
        beats.append(message)
        if len(beats) == 3:
            told.close()

    await told.run(write, 1)
    assert len(beats) >= 3


def shown(pairs: Iterable[tuple[str, str]]) -> Caller:
    return Caller(dict(pairs), {})


def test_a_node_is_known_by_its_secret() -> None:
    assert SecretIdentity(users()).node_of(shown(metadata("edge-clinic"))) == CLINIC


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        metadata("edge-clinic", ""),
        metadata("edge-clinic", "home-secret"),
        metadata("nobody", "clinic-secret"),
        metadata("hub"),  # the hub's own user is no node
        metadata("edge-clinic")[:1],
        metadata("edge-clinic")[1:],
    ],
)
def test_whoever_does_not_show_it_is_a_stranger(pairs: tuple[tuple[str, str], ...]) -> None:
    assert SecretIdentity(users()).node_of(shown(pairs)) is None


def test_the_folder_of_the_blobs_is_beside_the_configuration(tmp_path: Path) -> None:
    assert RpcConfig().folder == Path("blobs")
    assert RpcConfig().host == "127.0.0.1"
    assert RpcConfig().port == 8443

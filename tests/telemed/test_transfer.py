"""Chunks, runs of chunks and sets of chunks: the same on both sides, for any size."""

import hashlib
import random
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from telemed.errors import Code
from telemed.transfer import (
    CHUNK_BYTES,
    PACKED_SHARE,
    REFUSALS,
    ChunkSet,
    FileKind,
    chunk_bytes,
    chunk_count,
    chunk_hash,
    indexes,
    kind_number,
    kind_of,
    manifest_hash,
    packed,
    refusal,
    runs,
    unpacked,
)
from telemed.v1 import transfer_pb2

COUNTS = st.integers(1, 300)


@given(st.integers(1, 10 * CHUNK_BYTES))
def test_the_chunks_of_a_file_make_up_the_file(size_bytes: int) -> None:
    lengths = [chunk_bytes(index, size_bytes) for index in range(chunk_count(size_bytes))]
    assert sum(lengths) == size_bytes
    assert all(length == CHUNK_BYTES for length in lengths[:-1])
    assert 0 < lengths[-1] <= CHUNK_BYTES
    assert chunk_bytes(len(lengths), size_bytes) == 0


@given(st.binary(min_size=1, max_size=300), st.integers(1, CHUNK_BYTES))
def test_a_chunk_that_was_packed_comes_back_as_it_was(part: bytes, size_bytes: int) -> None:
    chunk = (part * (size_bytes // len(part) + 1))[:size_bytes]
    found = packed(chunk)
    assert found is not None or size_bytes < 10 * len(part) + 100, "what repeats itself is packed"
    if found is not None:
        assert len(found) < PACKED_SHARE * len(chunk)
        assert unpacked(found, size_bytes) == chunk


def test_what_is_compressed_already_is_not_packed() -> None:
    assert packed(random.Random(1).randbytes(CHUNK_BYTES)) is None


@pytest.mark.parametrize(
    "found",
    [
        b"",
        b"no frame",
        zstandard.compress(bytes(99)),
        zstandard.compress(bytes(100))[:-1],
        zstandard.compress(bytes(100)) + b"more",
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100)),
        zstandard.compress(bytes(1024**3)),
    ],
    ids=["nothing", "noise", "too short", "cut off", "something after it", "of no said length", "a gigabyte"],
)
def test_what_is_no_packed_chunk_of_this_length_is_not_unpacked(found: bytes) -> None:
    assert unpacked(found, 100) is None


@given(COUNTS, st.sets(st.integers(0, 299)))
def test_runs_and_numbers_say_the_same(count: int, chunks: set[int]) -> None:
    chunks = {index for index in chunks if index < count}
    found = runs(chunks)
    assert list(indexes(found, count)) == sorted(chunks)
    assert all(one.first + one.count < other.first for one, other in pairwise(found))


def test_runs_beyond_the_end_of_a_file_name_no_chunk() -> None:
    hostile = [transfer_pb2.ChunkRun(first=1, count=2**32 - 1), transfer_pb2.ChunkRun(first=9, count=3)]
    assert list(indexes(hostile, 3)) == [1, 2]


@given(COUNTS, st.lists(st.tuples(st.booleans(), st.integers(-5, 320))))
def test_a_set_of_chunks_is_a_set(count: int, steps: list[tuple[bool, int]]) -> None:
    found, model = ChunkSet(count), set[int]()
    for is_there, index in steps:
        if is_there:
            found.add(index)
            model |= {index} if 0 <= index < count else set()
        else:
            found.discard(index)
            model -= {index}
    assert [index for index in range(count) if index in found] == sorted(model)
    assert list(found.missing()) == sorted(set(range(count)) - model)
    assert len(found) == len(model)
    assert found.is_whole == (len(model) == count)
    assert list(ChunkSet(count, found.pack()).missing()) == list(found.missing())
    size_bytes = (count - 1) * CHUNK_BYTES + 7
    assert found.size_bytes(size_bytes) == sum(chunk_bytes(index, size_bytes) for index in model)


def test_a_stored_set_that_is_too_short_or_too_long_says_nothing_of_chunks_that_are_not_there() -> None:
    assert not ChunkSet(20, b"\xff").is_whole
    assert len(ChunkSet(3, b"\xff\xff\xff")) == 3


def test_a_chunk_is_named_by_its_own_hash_and_the_manifest_by_all() -> None:
    hashes = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(3))
    assert chunk_hash(hashes, 1) == hashlib.sha256(b"\1").digest()
    assert manifest_hash(hashes) == hashlib.sha256(hashes).digest()


@pytest.mark.parametrize("kind", list(FileKind))
def test_every_kind_has_a_number_on_the_wire(kind: FileKind) -> None:
    assert kind_of(kind_number(kind)) is kind


@pytest.mark.parametrize("number", [0, 99, -1])
def test_a_kind_that_is_not_named_or_newer_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="no kind"):
        kind_of(number)


def test_every_refusal_has_words_in_both_languages() -> None:
    assert all(zh and en and zh != en for zh, en in REFUSALS.values())
    assert set(REFUSALS) <= set(Code)
    told = refusal(Code.TOO_MANY_OPEN, 60)
    assert (told.code, told.retry_after_s) == ("too-many-open", 60)
    assert told.zh
    assert told.en

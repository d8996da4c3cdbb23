"""The backlog's container: records come out as they were stored, and nothing that comes in does harm."""

import os
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from telemed import history, wire
from telemed.errors import ContainerTooLarge, ContainerUnreadable, WireError
from telemed.history import MAGIC, PACKER, UNPACKED_LIMIT_BYTES
from telemed.wire import Codec, Kind, Record, Stamp

BODIES = st.one_of(st.binary(max_size=300), st.binary(min_size=1, max_size=9).map(lambda part: part * 40))


def stored(body: bytes, seq: int = 1, stream: str = "mon-b02/wave") -> Record:
    codec, payload = wire.pack(body)
    return sealed(codec, payload, seq, stream)


def sealed(codec: Codec, payload: bytes, seq: int = 1, stream: str = "mon-b02/wave") -> Record:
    return wire.seal(
        stream=stream, kind=Kind.WAVEFORM_SET, epoch=7, seq=seq, stamp=Stamp(1, 2, 3), codec=codec, payload=payload
    )


def decoded(container: bytes) -> list[Record]:
    return [record for record, _ in history.decode(container)]


@given(st.lists(BODIES, min_size=1, max_size=20), st.sampled_from([PACKER, PACKER + 1]))
def test_records_come_out_as_they_were_stored_whatever_zstd_the_hub_has(bodies: list[bytes], packer: int) -> None:
    sent = [stored(body, seq) for seq, body in enumerate(bodies, 1)]
    whole = history.encode(sent, packer)
    assert whole.count == len(sent)
    assert decoded(whole.container) == sent


@given(st.lists(BODIES, min_size=1, max_size=20), st.sampled_from([PACKER, PACKER + 1]))
def test_a_payload_that_came_unpacked_is_not_unpacked_once_more(bodies: list[bytes], packer: int) -> None:
    sent = [stored(body, seq) for seq, body in enumerate(bodies, 1)]
    for (record, body), before in zip(history.decode(history.encode(sent, packer).container), bodies, strict=True):
        assert record.body() == before
        assert body == (before if packer == PACKER else None)


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_read_or_refused_with_a_failure_of_ours(noise: bytes, is_framed: bool) -> None:
    frame = zstandard.ZstdCompressor().compress(noise) if is_framed else noise
    for container in (noise, MAGIC + frame):
        try:
            decoded(container)
        except WireError:
            continue


@given(st.data())
def test_a_flipped_bit_is_never_read_as_another_record(data: st.DataObject) -> None:
    sent = [stored(bytes([seq] * 50), seq) for seq in range(1, 6)]
    container = bytearray(history.encode(sent, PACKER).container)
    at = data.draw(st.integers(0, len(container) - 1))
    container[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = decoded(bytes(container))
    except WireError:
        return
    assert [record._replace(stream="") for record in found] == [record._replace(stream="") for record in sent]


def test_a_payload_that_this_zstd_would_pack_otherwise_stays_as_it_was_stored() -> None:
    body = os.urandom(20) * 30
    hard = sealed(Codec.ZSTD, zstandard.ZstdCompressor(level=19, write_checksum=True).compress(body))
    loose = sealed(Codec.PLAIN, body, 2)
    unknown = sealed(Codec.PLAIN, body, 3)._replace(codec=9)
    unknown = unknown._replace(crc=wire.checksum(unknown))
    sent = [hard, loose, unknown]
    assert decoded(history.encode(sent, PACKER).container) == sent


def test_what_is_alike_travels_once() -> None:
    sent = [stored(b"".join(number.to_bytes(2, "big") for number in range(200)), seq) for seq in range(1, 61)]
    assert len(history.encode(sent, PACKER).container) < len(wire.encode(sent)) / 4


def test_a_frame_that_declares_more_than_the_limit_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 28))
    assert len(MAGIC + bomb) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(ContainerTooLarge):
            decoded(MAGIC + bomb)
        assert tracemalloc.get_traced_memory()[1] < UNPACKED_LIMIT_BYTES
    finally:
        tracemalloc.stop()


def test_a_frame_that_hides_its_size_or_something_behind_it_is_refused() -> None:
    inside = wire.encode([stored(b"x")])
    hidden = zstandard.ZstdCompressor(write_content_size=False).compress(inside)
    followed = zstandard.ZstdCompressor().compress(inside) * 2
    for frame in (hidden, followed, b"", inside):
        with pytest.raises(ContainerUnreadable):
            decoded(MAGIC + frame)


def test_a_frame_that_is_larger_than_it_declares_is_refused() -> None:
    frame = bytearray(zstandard.ZstdCompressor().compress(bytes(100_000)))
    # A single-segment frame of this size declares it in four bytes behind magic and descriptor.
    frame[5:9] = (1000).to_bytes(4, "little")
    assert zstandard.frame_content_size(bytes(frame)) == 1000
    with pytest.raises(ContainerUnreadable):
        decoded(MAGIC + bytes(frame))


def test_what_does_not_fit_is_left_for_the_next_container() -> None:
    sent = [sealed(Codec.PLAIN, os.urandom(60_000), seq) for seq in range(1, 9)]
    whole = history.encode(sent, PACKER)
    assert whole.count == 4
    assert decoded(whole.container) == sent[:4]
    large = [stored(bytes(60_000), seq) for seq in range(1, 9)]
    assert history.encode(large, PACKER).count == UNPACKED_LIMIT_BYTES // 60_300


def test_a_payload_that_was_packed_by_another_zstd_is_never_taken_for_the_stored_one() -> None:
    hard = sealed(Codec.ZSTD, zstandard.ZstdCompressor(level=19, write_checksum=True).compress(b"abc" * 200))
    lie = hard._replace(codec=hard.codec | history.UNPACKED, payload=hard.body())
    frame = zstandard.ZstdCompressor().compress(wire.encode([lie]))
    with pytest.raises(ContainerUnreadable, match="checksum"):
        decoded(MAGIC + frame)

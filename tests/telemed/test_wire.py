"""The container: whatever goes in comes out, and whatever comes in never does harm."""

import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from telemed import wire
from telemed.errors import ContainerTooLarge, ContainerUnreadable, PayloadUnreadable, WireError
from telemed.wire import Codec, Kind, Record, Stamp

U64 = st.integers(0, 2**64 - 1)
STAMPS = st.builds(
    Stamp,
    wall_ns=st.integers(-(2**63), 2**63 - 1),
    mono_ns=U64,
    boot=st.integers(0, 2**32 - 1),
    offset_ms=st.integers(-(2**31), 2**31 - 1),
    offset_error_ms=st.integers(0, 2**32 - 1),
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30)


@st.composite
def records(draw: st.DrawFn) -> Record:
    codec, payload = wire.pack(draw(st.binary(max_size=400)))
    return wire.seal(
        stream=draw(NAMES),
        kind=draw(st.sampled_from(Kind)),
        epoch=draw(U64),
        seq=draw(U64),
        stamp=draw(STAMPS),
        codec=codec,
        payload=payload,
    )


def one(body: bytes = b"x", stream: str = "mon-b02/numeric", seq: int = 1) -> Record:
    codec, payload = wire.pack(body)
    return wire.seal(
        stream=stream, kind=Kind.NUMERIC_SET, epoch=7, seq=seq, stamp=Stamp(1, 2, 3), codec=codec, payload=payload
    )


@given(st.lists(records(), max_size=20))
def test_what_is_encoded_is_decoded_the_same(sent: list[Record]) -> None:
    assert wire.decode(wire.encode(sent)) == sent


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused_with_a_failure_of_ours(container: bytes) -> None:
    try:
        found = wire.decode(container)
    except WireError:
        return
    assert wire.encode(found)[:4] == wire.MAGIC


@given(st.lists(records(), min_size=1, max_size=5), st.data())
def test_a_flipped_bit_is_never_read_as_another_record(sent: list[Record], data: st.DataObject) -> None:
    container = bytearray(wire.encode(sent))
    at = data.draw(st.integers(0, len(container) - 1))
    container[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = wire.decode(bytes(container))
    except WireError:
        return
    # The names and the index into them are the container's, which MQTT and TLS protect; all else is the record's.
    assert [record._replace(stream="") for record in found] == [record._replace(stream="") for record in sent]


@given(st.lists(records(), min_size=1, max_size=4), st.data())
def test_a_cut_container_is_refused(sent: list[Record], data: st.DataObject) -> None:
    container = wire.encode(sent)
    with pytest.raises(ContainerUnreadable):
        wire.decode(container[: data.draw(st.integers(0, len(container) - 1))])


@given(st.binary(max_size=2000))
def test_packing_is_undone_and_never_makes_it_larger(body: bytes) -> None:
    codec, payload = wire.pack(body)
    assert len(payload) <= len(body)
    record = wire.seal(stream="s", kind=Kind.EVENT, epoch=0, seq=0, stamp=Stamp(0, 0, 0), codec=codec, payload=payload)
    assert record.body() == body


def test_the_checksum_belongs_to_the_record_and_not_to_the_container() -> None:
    first, second = one(stream="a/numeric"), one(stream="b/numeric", seq=2)
    assert wire.decode(wire.encode([first, second]))[1] == wire.decode(wire.encode([second]))[0]


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * 50_000_000)
    assert len(bomb) < wire.PAYLOAD_LIMIT_BYTES
    liar = zstandard.ZstdCompressor(write_content_size=False).compress(b"\0" * 100_000)
    for payload in (bomb, liar, b"garbage", b""):
        with pytest.raises(PayloadUnreadable):
            one()._replace(codec=Codec.ZSTD, payload=payload).body()
    with pytest.raises(PayloadUnreadable):
        one()._replace(codec=9).body()


def test_a_garbage_payload_still_counts_for_its_number() -> None:
    record = wire.seal(
        stream="s", kind=Kind.NUMERIC_SET, epoch=1, seq=42, stamp=Stamp(0, 0, 0), codec=Codec.ZSTD, payload=b"\xff" * 9
    )
    found = wire.decode(wire.encode([record]))
    assert found[0].seq == 42
    with pytest.raises(PayloadUnreadable):
        found[0].body()


@given(st.lists(st.integers(0, 60_000), max_size=30), st.integers(70_000, wire.CONTAINER_LIMIT_BYTES))
def test_splitting_keeps_order_and_every_run_fits(sizes: list[int], limit: int) -> None:
    noise = zlib.compress(b"seed") * 6000
    sent = [one(seq=seq)._replace(codec=Codec.PLAIN, payload=noise[:size]) for seq, size in enumerate(sizes)]
    runs = wire.split(sent, limit)
    assert [record for run in runs for record in run] == sent
    assert all(len(wire.encode(run)) <= limit for run in runs)


def test_what_does_not_fit_is_refused_by_name() -> None:
    large = one()._replace(payload=b"x" * wire.CONTAINER_LIMIT_BYTES)
    for refused in (wire.encode, wire.split):
        with pytest.raises(ContainerTooLarge):
            refused([large])
    with pytest.raises(ContainerTooLarge):
        wire.decode(b"x" * (wire.CONTAINER_LIMIT_BYTES + 1))
    with pytest.raises(ContainerTooLarge):
        wire.encode([one(stream=f"s{number}") for number in range(256)])


def test_the_layout_never_changes_within_a_version() -> None:
    record = wire.seal(
        stream="m/numeric",
        kind=Kind.NUMERIC_SET,
        epoch=0x0102030405060708,
        seq=9,
        stamp=Stamp(-1, 2, 3, -4, 5),
        codec=Codec.PLAIN,
        payload=b"abc",
    )
    head = (
        "595a433101"
        "0100"
        "09" + b"m/numeric".hex() + "00010100"
        "03000000"
        "0807060504030201"
        "0900000000000000"
        "ffffffffffffffff"
        "0200000000000000"
        "03000000"
        "fcffffff"
        "05000000"
    )
    container = wire.encode([record])
    assert container.hex().startswith(head)
    assert container.endswith(b"abc")
    assert wire.HEAD_BYTES == 56

"""The envelope of the datagram path: what is taken for one of ours, by fixed fields alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed import datagram as wire_format
from telemed.datagram import DATAGRAM_LIMIT_BYTES, QUESTION_BYTES
from telemed.v1 import uplink_pb2

NAME = bytes(range(8))


def record(kind: int, size: int, version: bytes = b"\xfe\xfd") -> bytes:
    return bytes((kind,)) + version + bytes(8) + size.to_bytes(2, "big") + b"x" * size


@given(st.lists(st.tuples(st.sampled_from([20, 21, 22, 23]), st.integers(0, 200)), min_size=1, max_size=5))
def test_records_come_out_as_they_went_in_however_they_are_filled_up(parts: list[tuple[int, int]]) -> None:
    records = b"".join(record(kind, size) for kind, size in parts)
    for question_bytes in (0, QUESTION_BYTES):
        datagram = wire_format.envelope(NAME, records, question_bytes)
        if 22 < len(datagram) <= DATAGRAM_LIMIT_BYTES:
            assert wire_format.records_of(datagram) == records
            assert wire_format.session_of(datagram) == NAME


@given(st.binary(max_size=1300))
def test_no_bytes_at_all_can_raise(noise: bytes) -> None:
    for datagram in (noise, bytes((wire_format.RECORDS,)) + noise, wire_format.envelope(NAME, record(22, 3) + noise)):
        records = wire_format.records_of(datagram)
        assert records is None or len(records) >= wire_format.RECORD_HEAD_BYTES
        if records is not None:
            wire_format.asks_for_session(records)


@pytest.mark.parametrize(
    "records",
    [
        b"",
        record(22, 0),  # too short to be anything
        record(24, 40),  # a kind that DTLS 1.2 does not have
        record(22, 40, b"\x03\x03"),  # TLS
        record(22, 40)[:-1],  # cut off
        record(22, 40) + b"left over",
        record(22, 40) + record(25, 2),
        record(22, DATAGRAM_LIMIT_BYTES),
    ],
)
def test_what_is_none_of_ours_is_seen_before_it_is_decrypted(records: bytes) -> None:
    assert wire_format.records_of(wire_format.envelope(NAME, records)) is None


def test_only_an_unencrypted_client_hello_asks_for_a_session() -> None:
    hello = bytes((22,)) + b"\xfe\xff" + bytes(8) + b"\0\2" + b"\1\0"
    assert wire_format.asks_for_session(hello)
    assert not wire_format.asks_for_session(hello[:13] + b"\2\0")
    assert not wire_format.asks_for_session(hello[:4] + b"\1" + hello[5:])
    assert not wire_format.asks_for_session(record(23, 2))
    assert not wire_format.asks_for_session(hello[:13])


def test_a_receipt_covers_up_to_its_contig_and_what_lies_in_no_gap_up_to_its_max() -> None:
    gaps = [uplink_pb2.SeqRange(first=4, last=5), uplink_pb2.SeqRange(first=8, last=8)]
    told = uplink_pb2.Receipt(contig=3, max=9, gaps=gaps)
    assert [seq for seq in range(1, 12) if wire_format.covers(told, seq)] == [1, 2, 3, 6, 7, 9]

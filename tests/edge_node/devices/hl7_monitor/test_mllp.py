"""MLLP framing: whole frames out of any split of the bytes, nothing kept beyond the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.devices.hl7_monitor.mllp import Fault, FaultKind, Frame, FrameReader, wrap

PAYLOADS = st.binary(min_size=1, max_size=200).filter(lambda payload: not {0x0B, 0x1C} & set(payload))


@given(st.lists(PAYLOADS, max_size=6), st.integers(1, 50))
def test_frames_are_the_same_however_the_bytes_are_split(payloads: list[bytes], size: int) -> None:
    wire = b"".join(map(wrap, payloads))
    reader = FrameReader(1000)
    found = [part for at in range(0, len(wire), size) for part in reader.feed(wire[at : at + size])]
    assert found == [Frame(payload) for payload in payloads]
    assert not reader.is_begun


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_bytes_leave_the_reader_bounded_and_alive(chunks: list[bytes]) -> None:
    reader = FrameReader(100)
    for chunk in chunks:
        for found in reader.feed(chunk):
            if isinstance(found, Frame):
                assert len(found.payload) <= 100
                assert b"\x0b" not in found.payload
        assert len(reader._partial) <= 100


@given(st.binary(max_size=100).filter(lambda junk: 0x0B not in junk), PAYLOADS)
def test_bytes_before_a_frame_are_dropped_and_counted(junk: bytes, payload: bytes) -> None:
    found = FrameReader(1000).feed(junk + wrap(payload))
    assert found[-1] == Frame(payload)
    assert sum(fault.dropped_bytes for fault in found if isinstance(fault, Fault)) == len(junk)


def test_a_start_inside_a_frame_drops_the_partial_frame() -> None:
    assert FrameReader(100).feed(b"\x0bABC\x0bDEF\x1c\r") == [Fault(FaultKind.RESTARTED, 3), Frame(b"DEF")]


def test_a_lone_end_mark_inside_a_frame_is_content() -> None:
    assert FrameReader(100).feed(b"\x0bA\x1cB\x1c\r") == [Frame(b"A\x1cB")]


@pytest.mark.parametrize("split", range(1, 6))
def test_the_end_mark_may_be_split(split: int) -> None:
    reader = FrameReader(100)
    wire = b"\x0bAB\x1c\r"
    assert reader.feed(wire[:split]) + reader.feed(wire[split:]) == [Frame(b"AB")]


def test_a_frame_over_the_limit_closes_the_reader() -> None:
    reader = FrameReader(10)
    assert reader.feed(b"\x0b" + b"x" * 11) == [Fault(FaultKind.TOO_LONG, 11)]
    assert reader.feed(wrap(b"good")) == []


def test_a_frame_of_just_the_limit_is_taken() -> None:
    assert FrameReader(10).feed(wrap(b"x" * 10)) == [Frame(b"x" * 10)]


def test_a_partial_frame_can_be_dropped() -> None:
    reader = FrameReader(10)
    assert reader.drop_partial() is None
    reader.feed(b"\x0bABC")
    assert reader.drop_partial() == Fault(FaultKind.STALLED, 3)
    assert reader.feed(wrap(b"D")) == [Frame(b"D")]

"""What edge and hub agree upon to compare records."""

import pytest
from telemed.reconcile import BLOCK_RECORDS, blocks, digest, mark_of, pack, unpack
from telemed.wire import Codec, checksum

from tests.fakes.containers import numeric, wave


def test_a_sound_record_has_the_checksum_that_it_was_sealed_with() -> None:
    for record in (numeric(1), wave(2)):
        assert checksum(record) == record.crc


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 2},
        {"schema": 2},
        {"codec": Codec.ZSTD},
        {"epoch": 5},
        {"seq": 8},
        {"payload": b"x"},
        {"stamp": numeric(1).stamp._replace(wall_ns=1)},
        {"stamp": numeric(1).stamp._replace(offset_ms=1)},
    ],
    ids=str,
)
def test_a_change_of_any_field_changes_the_mark(change: dict[str, object]) -> None:
    record = numeric(7)
    assert mark_of(record._replace(**change)) != mark_of(record)  # type: ignore[arg-type]


def test_the_checksum_that_stands_beside_a_record_does_not_count() -> None:
    assert mark_of(numeric(7)._replace(crc=1)) == mark_of(numeric(7))


def test_marks_travel_and_are_hashed_in_their_order() -> None:
    marks = [mark_of(numeric(seq)) for seq in (1, 2, 3)]
    assert unpack(pack(marks)) == marks
    assert digest(marks) != digest(marks[:2])
    assert digest(marks) != digest([marks[1], marks[0], marks[2]])


@pytest.mark.parametrize("packed", [b"x" * 15, b"x" * 16 * (BLOCK_RECORDS + 1)])
def test_what_are_no_marks_of_a_block_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="marks"):
        unpack(packed)


def test_numbers_are_cut_at_the_borders_of_blocks() -> None:
    assert blocks(1, 1024) == [(1, 1024)]
    assert blocks(1000, 2050) == [(1000, 1024), (1025, 2048), (2049, 2050)]
    assert blocks(5, 4) == []

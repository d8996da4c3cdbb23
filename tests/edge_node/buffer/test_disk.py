"""How much room there is, from the sizes of files."""

import pytest

from edge_node.buffer import disk
from edge_node.buffer.disk import MIB, FileSize

GIB = 1024 * MIB
NO_RESERVE = (0, 0)


def file(pages_mib: float, free_mib: float = 0, wal_mib: float = 0) -> FileSize:
    return FileSize(int(pages_mib * MIB), int(free_mib * MIB), int(pages_mib * MIB), int(wal_mib * MIB))


def test_the_room_is_the_limit_or_what_the_disk_really_has() -> None:
    assert disk.measured(100 * MIB, GIB, NO_RESERVE, [file(10)]).capacity_bytes == 100 * MIB
    assert disk.measured(GIB, 30 * MIB, (5 * MIB, 5 * MIB), [file(10)]).capacity_bytes == 45 * MIB


def test_pages_that_hold_nothing_are_not_used() -> None:
    room = disk.measured(100 * MIB, GIB, NO_RESERVE, [file(80, free_mib=30), file(5)])
    assert room.used_share == pytest.approx(0.55)


def test_what_the_hub_has_is_not_held() -> None:
    room = disk.measured(100 * MIB, GIB, NO_RESERVE, [file(80)])
    assert room.held_share(60 * MIB) == pytest.approx(0.2)
    assert room.until_loss_bytes(60 * MIB) == 65 * MIB


def test_pages_that_are_only_in_the_write_ahead_log_are_promised_room() -> None:
    grown = FileSize(pages_bytes=12 * MIB, main_bytes=10 * MIB, wal_bytes=2 * MIB)
    room = disk.measured(GIB, 3 * MIB, NO_RESERVE, [grown])
    assert room.capacity_bytes == 13 * MIB


def test_measurements_leave_the_reserve_and_the_logs_alone() -> None:
    room = disk.measured(100 * MIB, GIB, (0, 5 * MIB), [file(80)])
    assert room.growth_bytes == (20 - 5 - 4.25) * MIB
    assert disk.most_pages_bytes(room, file(80)) == int(90.75 * MIB)


@pytest.mark.parametrize(
    ("pages_mib", "free_mib", "takes"),
    [(80, 0, True), (91, 0, False), (91, 0.25, False), (91, 2, True), (100, 0, False)],
)
def test_measurements_are_taken_while_the_file_may_grow_or_has_empty_pages(
    pages_mib: float, free_mib: float, takes: bool
) -> None:
    size = file(pages_mib, free_mib)
    assert disk.takes_measurements(disk.measured(100 * MIB, GIB, (0, 5 * MIB), [size]), size) is takes


def test_the_reserve_is_taken_back_only_from_what_is_free() -> None:
    assert disk.measured(100 * MIB, GIB, (1 * MIB, 5 * MIB), [file(50)]).refill_bytes() == 4 * MIB
    assert disk.measured(100 * MIB, 2 * MIB, (1 * MIB, 5 * MIB), [file(50)]).refill_bytes() == 2 * MIB
    assert disk.measured(100 * MIB, GIB, (1 * MIB, 5 * MIB), [file(97)]).refill_bytes() == 2 * MIB
    assert disk.measured(100 * MIB, GIB, (5 * MIB, 5 * MIB), [file(50)]).refill_bytes() == 0

"""The room that is held back."""

from pathlib import Path

import pytest

from edge_node.buffer import reserve
from edge_node.buffer.reserve import STEP_BYTES, Reserve

ROOM_BYTES = 100 * STEP_BYTES


def test_it_really_takes_its_room_on_the_disk(tmp_path: Path) -> None:
    held = Reserve(tmp_path, ROOM_BYTES)
    held.fill(ROOM_BYTES)
    assert held.size_bytes == held.goal_bytes == 5 * STEP_BYTES
    assert (tmp_path / reserve.NAME).stat().st_blocks * 512 >= held.goal_bytes


def test_it_is_given_up_step_by_step_until_nothing_is_left(tmp_path: Path) -> None:
    held = Reserve(tmp_path, ROOM_BYTES)
    held.fill(2 * STEP_BYTES)
    assert [held.give() for _ in range(3)] == [True, True, False]
    assert held.size_bytes == 0


def test_it_takes_back_as_much_as_there_is(tmp_path: Path) -> None:
    held = Reserve(tmp_path, ROOM_BYTES)
    held.fill(ROOM_BYTES)
    held.give()
    held.give()
    held.fill(STEP_BYTES + STEP_BYTES // 2)
    assert held.size_bytes == 4 * STEP_BYTES


def test_a_disk_that_somebody_else_filled_meanwhile_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Reserve(tmp_path, ROOM_BYTES)
    held.fill(STEP_BYTES)

    def full(_file: int, _offset: int, _length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    held.fill(ROOM_BYTES)
    assert held.size_bytes == STEP_BYTES

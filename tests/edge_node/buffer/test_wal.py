"""A write-ahead log that was damaged is told from one that a crash has cut short."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from telemed.topics import Up

from edge_node.buffer import wal
from edge_node.buffer.schema import VITALS
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.fakes.sealed_store import copy_keys

COMMITS, FRAME_BYTES, HEADER_BYTES = 12, 4096 + 24, 32
Damage = Callable[[bytearray], None]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The log of some commits of a page or two each, none of them in the file yet."""
    path = Path(tmp_path_factory.mktemp("wal")) / "some.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        for number in range(COMMITS):
            connection.execute("INSERT INTO t VALUES (?)", (str(number) * 3000,))
        return path.with_name("some.db-wal").read_bytes()


def flipped(at: int) -> Damage:
    def damage(log: bytearray) -> None:
        log[at] ^= 0x40

    return damage


def frames(log: bytes) -> int:
    return (len(log) - HEADER_BYTES) // FRAME_BYTES


@pytest.mark.parametrize("frame", [0, 1, 5])
def test_a_changed_byte_before_later_commits_is_found(log: bytes, frame: int) -> None:
    for at in (4, 20, 24 + 100):
        changed = bytearray(log)
        flipped(HEADER_BYTES + frame * FRAME_BYTES + at)(changed)
        assert wal.is_broken(bytes(changed)), at


@pytest.mark.parametrize("at", [0, 10, 17, 30])
def test_a_changed_byte_of_the_head_is_found(log: bytes, at: int) -> None:
    changed = bytearray(log)
    flipped(at)(changed)
    assert wal.is_broken(bytes(changed))


def test_a_log_that_was_never_longer_or_is_cut_short_is_sound(log: bytes) -> None:
    assert frames(log) >= COMMITS
    for length in (0, 10, HEADER_BYTES, HEADER_BYTES + FRAME_BYTES, len(log) - 100, len(log) - FRAME_BYTES, len(log)):
        assert not wal.is_broken(log[:length])
    assert not wal.is_broken(bytes(len(log)))


def test_the_frames_of_an_earlier_round_behind_the_present_ones_are_no_damage(log: bytes) -> None:
    half = HEADER_BYTES + frames(log) // 2 * FRAME_BYTES
    old = bytearray(log)
    for at in range(half, len(old), FRAME_BYTES):
        old[at + 8 : at + 16] = b"earlier!"
    assert not wal.is_broken(bytes(old))


def test_a_commit_that_a_crash_has_torn_is_no_damage(log: bytes) -> None:
    torn = bytearray(log)
    flipped(len(log) - 10)(torn)
    assert not wal.is_broken(bytes(torn))


@pytest.mark.anyio
async def test_after_damage_to_the_log_no_number_is_given_out_again(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path / "a", group_commit_ms=0)

    async def store(into: Buffer, count: int) -> None:
        for _ in range(count):
            now_ns = time.time_ns()
            taken = NumericSet("mon-b01", now_ns, now_ns, (Value("hr", "70", "/min"),))
            await into.store_intake(Intake(sets=(taken,)))

    await store(buffer, 60)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copy_keys(tmp_path / "a", tmp_path / "b")
    buffer.close()
    path = tmp_path / "b" / f"{VITALS}-wal"
    changed = bytearray(path.read_bytes())
    flipped(len(changed) // 2)(changed)
    path.write_bytes(changed)

    again = Buffer.open(tmp_path / "b", group_commit_ms=0)
    await store(again, 3)
    states = {state.is_closed: state for key, state in again.streams(Up.VITALS).items() if key.kind == "numeric"}
    again.close()
    assert states[False].next_seq == 4
    assert 10 < states[True].next_seq < 61
    assert again.damaged

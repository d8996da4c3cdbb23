"""A message that is kept as it came may begin with a zero byte, as a sealed value does: it is told apart, and stays."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_node.buffer.schema import VITALS
from edge_node.buffer.sealing import KEYS_ENDING, Keeping
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake

pytestmark = pytest.mark.anyio
ZEROS = [b"\0\0\0\0\7" + bytes([n]) * 60 for n in (1, 2, 3)]
"""Alike in front: they would stand under one and the same key."""
SHORT = b"\0\1"


def opened(folder: Path, *, is_on: bool = True) -> closing[Buffer]:
    return closing(Buffer.open(folder, group_commit_ms=0, keeping=Keeping(is_on=is_on)))


async def keep(buffer: Buffer, *messages: bytes) -> None:
    for raw in messages:
        await buffer.store_intake(Intake(raw=raw, raw_reason="message-unreadable"))


def rows(folder: Path) -> list[tuple[int, int | None, bytes]]:
    with closing(sqlite3.connect(folder / VITALS)) as file:
        return file.execute("SELECT at_ns, is_sealed, raw FROM kept ORDER BY id").fetchall()


def as_of_version_5(folder: Path, *messages: bytes) -> None:
    """Make the file what version 5 left, with messages that were kept before anything was sealed."""
    with closing(sqlite3.connect(folder / VITALS)) as file, file:
        file.execute("ALTER TABLE kept DROP COLUMN is_sealed")
        file.executemany("INSERT INTO kept (at_ns, reason, raw) VALUES (?, 'old', ?)", enumerate(messages))
        file.execute("PRAGMA user_version = 5")


async def walk(buffer: Buffer) -> None:
    buffer.keys._resealer.walk_soon()
    await buffer.keys.reseal_all()


async def readable(buffer: Buffer, folder: Path) -> list[bytes | int | None]:
    sealing = buffer.keys.sealing
    return [sealing.opened(f"kept {at_ns}", raw) if sealed else raw for at_ns, sealed, raw in rows(folder)]


async def test_messages_of_before_lock_no_store_and_are_sealed_as_they_came(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await keep(buffer, b"sealed by version 5")
    as_of_version_5(folder, *ZEROS, SHORT)
    with opened(folder) as again:
        assert again.keys.sealing.reason == ""
        await walk(again)
        assert await readable(again, folder) == [b"sealed by version 5", *ZEROS, SHORT]
        assert {sealed for _, sealed, _ in rows(folder)} == {1}
        before = rows(folder)
        await walk(again)
        assert rows(folder) == before


async def test_while_a_key_is_missing_nobody_guesses(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await keep(buffer, b"sealed by version 5")
    as_of_version_5(folder, *ZEROS)
    before = [raw for _, _, raw in _raw(folder)]
    keys = folder.with_name(folder.name + KEYS_ENDING)
    drawer = keys.rename(tmp_path / "drawer")
    with opened(folder) as locked:
        await walk(locked)
        assert [raw for _, _, raw in rows(folder)] == before
    drawer.rename(keys)
    with opened(folder) as again:
        await walk(again)
        assert await readable(again, folder) == [b"sealed by version 5", *ZEROS]


def _raw(folder: Path) -> list[tuple[int, None, bytes]]:
    with closing(sqlite3.connect(folder / VITALS)) as file:
        return file.execute("SELECT at_ns, NULL, raw FROM kept ORDER BY id").fetchall()


async def test_what_was_kept_while_encryption_was_off_is_sealed_once_it_is_on(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder, is_on=False) as plain:
        await keep(plain, *ZEROS)
        assert [(sealed, raw) for _, sealed, raw in rows(folder)] == [(0, raw) for raw in ZEROS]
    with opened(folder) as buffer:
        assert buffer.keys.sealing.reason == ""
        await walk(buffer)
        assert await readable(buffer, folder) == ZEROS
        assert not any(raw in ZEROS for _, _, raw in rows(folder))


async def test_a_damaged_file_of_version_5_keeps_its_messages(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await keep(buffer, b"sealed by version 5")
    as_of_version_5(folder, *ZEROS)
    with closing(sqlite3.connect(folder / VITALS)) as file:
        (page,) = file.execute("SELECT rootpage FROM sqlite_master WHERE name = 'minutes'").fetchone()
    with (folder / VITALS).open("r+b") as damaged:
        damaged.seek((page - 1) * 4096)
        damaged.write(b"\xff" * 64)
    with opened(folder) as again:
        assert again.damaged
        await walk(again)
        assert sorted(one for one in await readable(again, folder) if isinstance(one, bytes)) == sorted(
            [b"sealed by version 5", *ZEROS]
        )

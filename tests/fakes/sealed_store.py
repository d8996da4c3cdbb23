"""Looks into a file of a node's store from outside, with the node's keys; safe beside a running node."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from telemed.numbers import epoch_text
from telemed.wire import Record

from edge_node.buffer import outbox
from edge_node.buffer.sealing import KEYS_ENDING, Keeping, Sealing

Row = tuple[str, str, int, int]
"""Stream, epoch, number, checksum."""


def records_in(file: Path, store: Path | None = None) -> list[Record]:
    """Return the records of a file, in the order in which they were stored.

    Args:
        file: of the store, or a copy.
        store: the folder whose keys open it; that of the file where it is not given.
    """
    sealing = Sealing.reading(store or file.parent, Keeping())
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=20)) as connection:
        rows = connection.execute(f"SELECT {outbox.STORED} FROM log ORDER BY id").fetchall()
    return [outbox.opened_row(row, sealing) for row in rows]


def rows_in(file: Path, store: Path | None = None) -> set[Row]:
    """Return what names each record of a file, and its checksum."""
    found = records_in(file, store)
    return {(record.stream, epoch_text(record.epoch), record.seq, record.crc) for record in found}


def copy_keys(store: Path, target: Path) -> None:
    """Give a copy of a store the keys that it is sealed with, as somebody does who copies a whole machine."""
    keys, copies = (folder.with_name(folder.name + KEYS_ENDING) for folder in (store, target))
    shutil.copytree(keys, copies, dirs_exist_ok=True)

"""The least that durability costs: one synced commit for each patient and second, and nothing else.

`python -m bench.edge_floor FOLDER` runs until it is ended; what it takes of the processor is the floor beneath any
program that acknowledges a monitor only after its message is on the disk.
"""

import os
import sqlite3
import sys
import time
from pathlib import Path

PATIENTS = 10
MESSAGE_BYTES = 1200
"""A second of one patient as it is stored: numbers, and three waves of 250 Hz, packed."""


def commit_for_ever(folder: Path) -> None:
    """Store a message of each patient every second, at even distances."""
    store = sqlite3.connect(folder / "floor.db", isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = FULL")
    store.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, stream TEXT, seq INTEGER, payload BLOB)")
    store.execute("CREATE UNIQUE INDEX log_key ON log (stream, seq)")
    message = os.urandom(MESSAGE_BYTES)
    began_s, number = time.monotonic(), 0
    while True:
        for patient in range(PATIENTS):
            number += 1
            time.sleep(max(0.0, began_s + number / PATIENTS - time.monotonic()))
            store.execute("INSERT INTO log (stream, seq, payload) VALUES (?, ?, ?)", (f"p{patient}", number, message))


if __name__ == "__main__":
    commit_for_ever(Path(sys.argv[1]))

"""The least that durability costs: so many synced commits a second of what all patients send, and nothing else.

`python -m bench.edge_floor FOLDER PATIENTS COMMITS` runs until it is ended; what it takes of the processor is the floor
beneath any program that acknowledges a monitor only after its message is on the disk, and shares a commit so often.
"""

import os
import sqlite3
import sys
import time
from pathlib import Path

MESSAGE_BYTES = 1200
"""A second of one patient as it is stored: numbers, and three waves of 250 Hz, packed."""


def commit_for_ever(file: Path, patients: int, commits_per_s: float) -> None:
    """Store a message of each patient every second, in commits at even distances."""
    store = sqlite3.connect(file, isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = FULL")
    store.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, stream TEXT, seq INTEGER, payload BLOB)")
    store.execute("CREATE UNIQUE INDEX log_key ON log (stream, seq)")
    message = os.urandom(MESSAGE_BYTES)
    began_s, number, stored = time.monotonic(), 0, 0
    while True:
        number += 1
        time.sleep(max(0.0, began_s + number / commits_per_s - time.monotonic()))
        due = int(number * patients / commits_per_s)
        rows = [(f"p{each % patients}", each, message) for each in range(stored, due)]
        store.execute("BEGIN IMMEDIATE")
        store.executemany("INSERT INTO log (stream, seq, payload) VALUES (?, ?, ?)", rows)
        store.execute("COMMIT")
        stored = due


if __name__ == "__main__":
    commit_for_ever(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

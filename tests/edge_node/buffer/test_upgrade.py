"""A node that was written by version 1 loses nothing when its software is renewed."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from telemed.topics import Up
from telemed.wire import Codec, Kind, Record, Stamp, seal

from edge_node.buffer.outbox import StreamKey
from edge_node.buffer.store import Buffer

LOG_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE log (id INTEGER PRIMARY KEY, stream TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
    kind INTEGER NOT NULL, schema INTEGER, codec INTEGER, wall_ns INTEGER NOT NULL, mono_ns INTEGER, boot INTEGER,
    offset_ms INTEGER, offset_error_ms INTEGER, crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE UNIQUE INDEX idx_log_stream_epoch_seq ON log (stream, epoch, seq);
CREATE INDEX idx_log_wall_ns ON log (wall_ns);
CREATE TABLE state (stream TEXT, epoch TEXT, next_seq INTEGER NOT NULL, acked INTEGER NOT NULL,
    PRIMARY KEY (stream, epoch));
CREATE TABLE seen (key TEXT PRIMARY KEY, at_ns INTEGER NOT NULL);
PRAGMA user_version = 1;
"""
VITALS_1 = """
CREATE TABLE kept (id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, reason TEXT NOT NULL, raw BLOB NOT NULL);
CREATE TABLE trend (device TEXT, measure TEXT, minute INTEGER, n INTEGER, low FLOAT, high FLOAT, last FLOAT,
    last_ns INTEGER, PRIMARY KEY (device, minute, measure));
CREATE INDEX idx_trend_minute ON trend (minute);
"""
EPOCHS = {"vitals.db": 0x1111, "bulk.db": 0x2222}
pytestmark = pytest.mark.anyio


def records(stream: str, kind: Kind, epoch: int) -> list[Record]:
    return [
        seal(
            stream=stream,
            kind=kind,
            epoch=epoch,
            seq=seq,
            stamp=Stamp(wall_ns=seq * 10**9, mono_ns=seq, boot=1, offset_ms=0, offset_error_ms=0),
            codec=Codec.PLAIN,
            payload=b"%d" % seq,
        )
        for seq in (1, 2, 3)
    ]


def write_version_1(folder: Path, name: str, rows: Sequence[Record], more: str = "") -> None:
    with sqlite3.connect(folder / name) as file:
        file.executescript(LOG_1 + more)
        file.execute("INSERT INTO meta VALUES ('epoch', ?)", (f"{EPOCHS[name]:016x}",))
        for row in rows:
            stamp = row.stamp
            file.execute(
                "INSERT INTO log (stream, epoch, seq, kind, schema, codec, wall_ns, mono_ns, boot, offset_ms,"
                " offset_error_ms, crc, payload) VALUES (?,?,?,?,1,?,?,?,?,?,?,?,?)",
                (
                    row.stream,
                    f"{row.epoch:016x}",
                    row.seq,
                    row.kind,
                    row.codec,
                    stamp.wall_ns,
                    stamp.mono_ns,
                    stamp.boot,
                    stamp.offset_ms,
                    stamp.offset_error_ms,
                    row.crc,
                    row.payload,
                ),
            )
        file.execute("INSERT INTO state VALUES (?, ?, 4, 1)", (rows[0].stream, f"{EPOCHS[name]:016x}"))
    file.close()


async def test_numerics_and_waves_of_version_1_wait_under_their_own_numbers(tmp_path: Path) -> None:
    numerics = records("monitor-1/numeric", Kind.NUMERIC_SET, EPOCHS["vitals.db"])
    waves = records("monitor-1/wave", Kind.WAVEFORM_SET, EPOCHS["bulk.db"])
    write_version_1(tmp_path, "vitals.db", numerics, VITALS_1)
    write_version_1(tmp_path, "bulk.db", waves)

    for _ in range(2):  # the second time there is nothing left to bring
        buffer = Buffer.open(tmp_path)
        waiting = buffer.waiting()
        found = {
            up: await buffer.read_run(up, StreamKey(rows[0].stream, rows[0].epoch), 1, 9)
            for up, rows in ((Up.VITALS, numerics), (Up.WAVES, waves))
        }
        buffer.close()

        assert (waiting[Up.VITALS].records, waiting[Up.WAVES].records) == (2, 2)
        assert found == {Up.VITALS: numerics, Up.WAVES: waves}

"""Looks into the files of edge and hub without taking part: copies of the dead, read-only views of the living."""

import json
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from telemed import wire
from telemed.errors import PayloadUnreadable
from telemed.v1 import sample_pb2

from edge_node.buffer import outbox
from edge_node.buffer.sealing import Keeping, Sealing
from edge_node.uplink.transfer.releases import Fetched
from edge_node.uplink.transfer.schema import FILE
from tests.faults.chaos.seen import EdgeSeen, EdgeStream, HubSeen, Mark, Stamped, StreamKey

EDGE_FILES = ("alarm.db", "vitals.db", "care.db")
HUB_FILES = {"samples.db": "record", "care.db": "care_record"}
PAGE = 500
BUSY_S = 10.0
SELECT_STATES = "SELECT stream, epoch, next_seq, acked FROM state"
SELECT_ROWS = f"SELECT {outbox.STORED} FROM log ORDER BY id"
SELECT_LAST = "SELECT stream, epoch, max(seq) FROM log GROUP BY stream, epoch"
SELECT_SHED = "SELECT stream, epoch, first, last FROM shed"
SELECT_PAGE = (
    "SELECT seq, kind, codec, crc, payload, wall_ns, received_ns{more} FROM {table} "
    "WHERE stream_id = ? AND epoch = ? AND seq > ? ORDER BY seq LIMIT ?"
)
SAMPLE_TIMES = ", mono_ns, boot, offset_ms, offset_error_ms"


@dataclass(slots=True)
class Sources:
    """Remembers which message a record came from, so that no payload is decoded twice."""

    known: dict[tuple[str, str, int, int], str] = field(default_factory=dict)

    def of(self, key: StreamKey, seq: int, crc: int, kind: int, packed: tuple[int, bytes]) -> str:
        """Return the control id of the message that a numeric set came from, empty for other records."""
        if kind != wire.Kind.NUMERIC_SET:
            return ""
        name = (*key, seq, crc)
        if name not in self.known:
            self.known[name] = _source(*packed)
        return self.known[name]


def _source(codec: int, payload: bytes) -> str:
    record = wire.Record("", wire.Kind.NUMERIC_SET, 1, wire.Codec(codec), 0, 0, wire.Stamp(0, 0, 0), payload, 0)
    try:
        return sample_pb2.NumericSet.FromString(record.body()).source_ref
    except (PayloadUnreadable, DecodeError):
        return ""


def _readable(connection: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows up to a page that is none: what stood behind it is missed, and the checks say so."""
    try:
        # The first row is read by this already.
        yield from connection.execute(select)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise


class Reader:
    """Reads both stores; one a run, used by one thread at a time."""

    def __init__(self, scratch: Path) -> None:
        """Use a folder for copies; it is made."""
        self._scratch = scratch
        self._sources = Sources()
        scratch.mkdir(parents=True, exist_ok=True)

    def edge(self, folder: Path) -> EdgeSeen:
        """Read the store of a node that is dead, from a copy: its recovery is its own business."""
        streams: dict[StreamKey, EdgeStream] = {}
        crcs: defaultdict[StreamKey, dict[int, int]] = defaultdict(dict)
        places: dict[str, tuple[StreamKey, int]] = {}
        declared: defaultdict[StreamKey, list[tuple[int, int]]] = defaultdict(list)
        sealing = Sealing.reading(folder, Keeping())
        for name in EDGE_FILES:
            with self._copy(folder, name) as connection:
                acked = {}
                for stream, epoch, next_seq, reached in _readable(connection, SELECT_STATES):
                    streams[stream, epoch] = EdgeStream(next_seq, reached)
                    acked[stream, epoch] = reached
                for row in _readable(connection, SELECT_ROWS):
                    key, seq, record = (row[0], row[1]), row[2], outbox.opened_row(row, sealing)
                    crcs[key][seq] = record.crc
                    packed = (record.codec, record.payload)
                    places[self._sources.of(key, seq, record.crc, record.kind, packed)] = (key, seq)
                for stream, epoch, first, last in _readable(connection, SELECT_SHED):
                    declared[stream, epoch].append((first, last))
        for key, rows in crcs.items():
            # The log itself says which number was the last: states are written now and then.
            state = streams.get(key, EdgeStream(1, 0))
            streams[key] = EdgeStream(max(state.next_seq, max(rows) + 1), state.acked)
        disk_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        places.pop("", None)
        return EdgeSeen(streams, dict(crcs), frozenset(places), disk_bytes, dict(declared), places)

    def edge_acked(self, folder: Path) -> EdgeSeen:
        """Read only how far a node, living or dead, has written down what is acknowledged."""
        streams: dict[StreamKey, EdgeStream] = {}
        for name in EDGE_FILES:
            with _view(folder / name) as connection:
                for stream, epoch, next_seq, acked in connection.execute(SELECT_STATES):
                    streams[stream, epoch] = EdgeStream(next_seq, acked)
        return EdgeSeen(streams, {})

    def has_written_down(self, folder: Path) -> bool:
        """Whether a living node has written down that the hub has all it stored, also of streams that just began."""
        written = self.edge_acked(folder).streams
        for name in EDGE_FILES:
            with _view(folder / name) as connection:
                for stream, epoch, last in connection.execute(SELECT_LAST):
                    if (stream, epoch) not in written or written[stream, epoch].acked < last:
                        return False
        return all(stream.acked == stream.next_seq - 1 for stream in written.values())

    def edge_told(self, folder: Path) -> EdgeSeen:
        """Return the same of a node that may be dying just now; then nothing is known of it."""
        try:
            return self.edge_acked(folder)
        except sqlite3.OperationalError:
            return EdgeSeen({}, {})

    def edge_discarded(self, folder: Path) -> frozenset[str]:
        """Return the hashes of released files that a node has done with; none where it is dying just now."""
        try:
            with _view(folder / FILE) as connection:
                rows = connection.execute("SELECT sha256 FROM released WHERE state = ?", (Fetched.DISCARDED,))
                return frozenset(sha256 for (sha256,) in rows)
        except sqlite3.OperationalError:
            return frozenset()

    def hub(self, folder: Path, node: str, *, is_dead: bool) -> HubSeen:
        """Read what the hub has of a node; of a living hub what is committed at this moment, file by file."""
        marks: dict[StreamKey, Mark] = {}
        pages: dict[StreamKey, list[tuple[int, int]]] = {}
        times: dict[StreamKey, dict[int, Stamped]] = {}
        dead: defaultdict[StreamKey, dict[int, str]] = defaultdict(dict)
        shed: defaultdict[StreamKey, list[tuple[int, int, str]]] = defaultdict(list)
        files: set[str] = set()
        notices: frozenset[str] = frozenset()
        for name, table in HUB_FILES.items():
            with self._copy(folder, name) if is_dead else _view(folder / name) as connection:
                connection.execute("BEGIN")
                names = _streams(connection, node)
                marks.update(_marks(connection, names))
                for (stream_id, epoch), stream in _epochs(connection, table, names):
                    key = (stream, epoch)
                    pages[key], times[key] = self._page(connection, table, (stream_id, epoch), key)
                for stream, epoch, seq, reason in connection.execute(
                    "SELECT stream, epoch, seq, reason FROM dead_letter WHERE node = ? AND stream != ''", (node,)
                ):
                    dead[stream, epoch][seq] = reason
                for key, run in _declared(connection, names):
                    shed[key].append(run)
                if table == "care_record":
                    files = _files(connection)
                    rows = connection.execute("SELECT code FROM notice WHERE node = ?", (node,))
                    notices = frozenset(code for (code,) in rows)
        sources = frozenset(each.source for rows in times.values() for each in rows.values()) - {""}
        return HubSeen(marks, pages, dict(dead), dict(shed), sources, times, frozenset(files), notices)

    def hub_whatever(self, folder: Path, node: str) -> HubSeen:
        """Read what the hub has, whether it lives or dies just now."""
        try:
            return self.hub(folder, node, is_dead=False)
        except sqlite3.OperationalError:
            # Nobody has the file open, so there is no index of its log that a view could use.
            return self.hub(folder, node, is_dead=True)

    def _page(
        self, connection: sqlite3.Connection, table: str, row: tuple[int, str], key: StreamKey
    ) -> tuple[list[tuple[int, int]], dict[int, Stamped]]:
        """Page through a stream as a client does."""
        more = SAMPLE_TIMES if table == "record" else ""
        query = SELECT_PAGE.format(more=more, table=table)
        page: list[tuple[int, int]] = []
        times: dict[int, Stamped] = {}
        after = 0
        while rows := connection.execute(query, (*row, after, PAGE)).fetchall():
            for seq, kind, codec, crc, payload, wall_ns, received_ns, *stamp in rows:
                page.append((seq, crc))
                source = self._sources.of(key, seq, crc, kind, (codec, payload))
                mono_ns, boot, offset_ms, error_ms = stamp or (0, 0, 0, 0)
                times[seq] = Stamped(wall_ns, mono_ns, boot, offset_ms, error_ms, received_ns, source)
            after = rows[-1][0]
        return page, times

    @contextmanager
    def _copy(self, folder: Path, name: str) -> Iterator[sqlite3.Connection]:
        for path in self._scratch.iterdir():
            path.unlink()
        # The log first: a helper that outlived its hub may move it into the file at any moment, and then it is gone.
        for ending in ("-wal", ""):
            with suppress(FileNotFoundError):
                shutil.copy(folder / f"{name}{ending}", self._scratch / f"{name}{ending}")
        with closing(sqlite3.connect(self._scratch / name)) as connection:
            yield connection


@contextmanager
def _view(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None)) as connection:
        yield connection


def _streams(connection: sqlite3.Connection, node: str) -> Mapping[int, str]:
    return dict(connection.execute("SELECT id, name FROM stream WHERE node = ?", (node,)).fetchall())


def _marks(connection: sqlite3.Connection, names: Mapping[int, str]) -> dict[StreamKey, Mark]:
    rows = connection.execute("SELECT stream_id, epoch, contig, max, gaps FROM watermark").fetchall()
    return {
        (names[stream_id], epoch): Mark(contig, most, tuple((first, last) for first, last in json.loads(gaps)))
        for stream_id, epoch, contig, most, gaps in rows
        if stream_id in names
    }


def _epochs(connection: sqlite3.Connection, table: str, names: Mapping[int, str]) -> list[tuple[tuple[int, str], str]]:
    rows = connection.execute(f"SELECT DISTINCT stream_id, epoch FROM {table}").fetchall()
    return [((stream_id, epoch), names[stream_id]) for stream_id, epoch in rows if stream_id in names]


def _declared(
    connection: sqlite3.Connection, names: Mapping[int, str]
) -> Iterator[tuple[StreamKey, tuple[int, int, str]]]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'shed'").fetchone():
        return
    for stream_id, epoch, first, last, reason in connection.execute(
        "SELECT stream_id, epoch, first, last, reason FROM shed"
    ):
        if stream_id in names:
            yield (names[stream_id], epoch), (first, last, reason)


def _files(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute(
        "SELECT t.sha256 FROM transfer t JOIN blob b ON b.sha256 = t.sha256 WHERE t.state = 'complete'"
    )
    return {str(row[0]) for row in rows}

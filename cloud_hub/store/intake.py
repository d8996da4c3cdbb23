"""Storing a batch exactly once: records, dead letters and watermarks in one transaction (reliability 2.3).

The same for the sample store and the care store, which differ in their tables (`Ledger`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, select
from telemed.errors import Code, ContainerTooLarge
from telemed.numbers import epoch_text
from telemed.topics import NodeAddress
from telemed.wire import encode

from cloud_hub.store import dead_letters, dialect, shed
from cloud_hub.store.dead_letters import DeadLetter
from cloud_hub.store.shed import Declared
from cloud_hub.store.streams import Incoming, StreamKey, Streams
from cloud_hub.store.watermarks import Watermark

RecordKey = tuple[int, str, int]
KEY = ("stream_id", "epoch", "seq")


@dataclass(slots=True)
class Taken:
    """What became of a batch; true only once the transaction is committed."""

    marks: dict[tuple[NodeAddress, str, int], Watermark] = field(default_factory=dict)
    """New watermark of each (node, stream, epoch) in the batch: the receipts to send."""
    fresh: list[Incoming] = field(default_factory=list)
    """Stored now for the first time, in the order of arrival."""
    duplicates: int = 0
    buried: list[DeadLetter] = field(default_factory=list)
    """Dead letters that are new."""
    jumped: list[tuple[NodeAddress, str]] = field(default_factory=list)
    """Streams flagged in this batch because of a jump in their numbers."""
    declared: list[Declared] = field(default_factory=list)
    """What nodes declared given up or damaged."""


class Ledger(ABC):
    """The tables of one database that a batch goes into."""

    def __init__(self, streams: Streams, records: Table, dead: Table, declared: Table) -> None:
        self.streams = streams
        self.records = records
        self.dead = dead
        self.shed = declared

    @abstractmethod
    def row(self, incoming: Incoming, key: StreamKey, received_ns: int) -> dialect.Row:
        """Return the row to store for a record."""


@dataclass(slots=True)
class _Sorted:
    """A batch by what is to be done with each record."""

    fresh: dict[RecordKey, Incoming] = field(default_factory=dict)
    again: list[tuple[RecordKey, Incoming]] = field(default_factory=list)
    names: dict[tuple[NodeAddress, str, int], StreamKey] = field(default_factory=dict)
    """The streams of the batch, in the order of arrival."""


Fold = Callable[[Incoming], str]
"""Does what else a new record asks for; returns a refusal code if the record must be buried instead."""


def take(
    connection: Connection,
    ledger: Ledger,
    batch: Sequence[Incoming],
    received_ns: int,
    fold: Fold | None = None,
) -> Taken:
    """Store a batch in the caller's transaction; after a rollback call `ledger.streams.forget()`.

    The first record of a key is kept.  Another with the same key and other content goes to the dead
    letters; one with the same content is a duplicate and only receipted again.
    """
    taken = Taken()
    sorted_ = _sort(connection, ledger, batch, received_ns)
    letters = _refuse(sorted_, fold)
    rows = [ledger.row(incoming, key[:2], received_ns) for key, incoming in sorted_.fresh.items()]
    new = dialect.insert_new(connection, ledger.records, rows, KEY)
    if len(new) == len(sorted_.fresh):
        taken.fresh += sorted_.fresh.values()
    else:
        taken.fresh += [incoming for key, incoming in sorted_.fresh.items() if key in new]
        sorted_.again += [(key, incoming) for key, incoming in sorted_.fresh.items() if key not in new]
    known = [letter for key, letter in letters]
    for key, incoming in sorted_.again:
        letter = _conflict(connection, ledger, key, incoming)
        if letter is None:
            taken.duplicates += 1
        else:
            known.append(letter)
    taken.buried = dead_letters.bury(connection, ledger.dead, known, received_ns)
    counted = [*sorted_.fresh, *(key for key, _ in letters), *(key for key, _ in sorted_.again)]
    _advance(connection, ledger, taken, sorted_.names, counted, received_ns)
    taken.declared = shed.declare(connection, ledger.shed, ledger.streams, taken.fresh, taken.marks, received_ns)
    return taken


def _sort(connection: Connection, ledger: Ledger, batch: Sequence[Incoming], now_ns: int) -> _Sorted:
    out = _Sorted()
    for incoming in batch:
        record = incoming.record
        name = (incoming.address, record.stream, record.epoch)
        key_before = out.names.get(name)
        if key_before is None:
            stream_id = ledger.streams.stream_id(connection, incoming.address, record.stream, now_ns)
            key_before = out.names[name] = (stream_id, epoch_text(record.epoch))
        mark = ledger.streams.watermark(connection, key_before)
        key = (*key_before, record.seq)
        seen = key in out.fresh or mark.has(record.seq)
        if not seen and not mark.is_exact:
            # The watermark forgot some stored numbers, and on PostgreSQL the same number with another
            # day would not collide.
            seen = _stored_crc(connection, ledger, key) is not None
        elif seen and key not in out.fresh and ledger.streams.is_shed(connection, key_before, record.seq):
            # Declared given up while it was on its way: better late than never.
            seen = _stored_crc(connection, ledger, key) is not None
        if seen:
            out.again.append((key, incoming))
        else:
            out.fresh[key] = incoming
    return out


def _refuse(sorted_: _Sorted, fold: Fold | None) -> list[tuple[RecordKey, DeadLetter]]:
    """Take out of the fresh ones what must be buried."""
    letters = []
    for key, incoming in list(sorted_.fresh.items()):
        reason = incoming.refusal or (fold(incoming) if fold else "")
        if reason:
            del sorted_.fresh[key]
            letters.append((key, _letter(incoming, reason)))
    return letters


def _conflict(connection: Connection, ledger: Ledger, key: RecordKey, incoming: Incoming) -> DeadLetter | None:
    """Return the dead letter for a record whose key was used before, None if it is the same again."""
    crc = _stored_crc(connection, ledger, key)
    if crc == incoming.record.crc:
        return None
    letter = _letter(incoming, Code.KEY_CONFLICT)
    if crc is None:
        buried = dead_letters.digests(
            connection, ledger.dead, incoming.address, letter.stream, letter.epoch, letter.seq
        )
        # Nothing at all under this key: stored once, removed by retention since.
        if not buried or letter.digest in buried:
            return None
    return letter


def _stored_crc(connection: Connection, ledger: Ledger, key: RecordKey) -> int | None:
    c = ledger.records.c
    query = select(c.crc).where(c.stream_id == key[0], c.epoch == key[1], c.seq == key[2])
    return connection.execute(query.limit(1)).scalar_one_or_none()


def _letter(incoming: Incoming, reason: str) -> DeadLetter:
    record = incoming.record
    try:
        raw = encode([record])
    except ContainerTooLarge:
        raw = record.payload
    return DeadLetter(incoming.address, reason, raw, record.stream, epoch_text(record.epoch), record.seq)


def _advance(
    connection: Connection,
    ledger: Ledger,
    taken: Taken,
    names: Mapping[tuple[NodeAddress, str, int], StreamKey],
    counted: Iterable[RecordKey],
    now_ns: int,
) -> None:
    by_stream: dict[StreamKey, list[int]] = {}
    for stream_id, epoch, seq in counted:
        by_stream.setdefault((stream_id, epoch), []).append(seq)
    changed: dict[StreamKey, Watermark] = {}
    jumped: set[StreamKey] = set()
    for key, seqs in by_stream.items():
        before = ledger.streams.watermark(connection, key)
        after = before.plus(seqs)
        if after != before:
            changed[key] = after
        if after.is_quarantined and not before.is_quarantined:
            jumped.add(key)
    ledger.streams.put(connection, changed, now_ns)
    for name, key in names.items():
        taken.marks[name] = ledger.streams.watermark(connection, key)
        if key in jumped:
            taken.jumped.append(name[:2])

"""Takes back that numbers are stored, so that the node sends them again; every function runs in one transaction.

The writer that keeps watermarks in memory must forget them after the commit.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, delete, select
from telemed.errors import Code
from telemed.numbers import Run, epoch_text, runs
from telemed.topics import NodeAddress
from telemed.wire import Record, encode

from cloud_hub.store import dead_letters, dialect
from cloud_hub.store.dead_letters import DeadLetter
from cloud_hub.store.holdings import CARE, SAMPLES, Name, Side, key_of, missing, side_of, size
from cloud_hub.store.streams import Streams
from cloud_hub.store.watermarks import GAP_LIMIT, Watermark

MOST_GAPS = GAP_LIMIT // 2
"""More gaps than this are not made in one run: the rest of what is missing waits for the next."""


def without(mark: Watermark, seqs: Iterable[int]) -> tuple[Watermark, list[int]]:
    """Return a watermark that says of these numbers that they are missing, and those that it says so of now (pure).

    Numbers over `max` are not known here and are passed over; so are runs that would make more than MOST_GAPS gaps.
    """
    gaps = list(mark.gaps)
    taken: list[int] = []
    for first, last in runs(sorted(seq for seq in set(seqs) if seq <= mark.max)):
        merged = _merged([*gaps, (first, last)])
        if len(merged) > max(MOST_GAPS, len(mark.gaps)):
            break
        gaps = merged
        taken += range(first, last + 1)
    contig = gaps[0][0] - 1 if gaps else mark.contig
    return mark._replace(gaps=tuple(gaps), contig=contig), taken


def reopen(connection: Connection, name: Name, seqs: Iterable[int], run_id: str, now_ns: int) -> tuple[Watermark, int]:
    """Ask for numbers again that the node holds and the hub does not; return the new watermark and how many it were."""
    side = side_of(name)
    streams = Streams(side.stream, side.watermark, side.shed)
    key = (streams.stream_id(connection, name.address, name.stream, now_ns), epoch_text(name.epoch))
    wanted = sorted(set(seqs))
    before = streams.watermark(connection, key)
    after, taken = without(before, wanted)
    # Beyond the highest number nothing was ever promised: a receipt alone makes the node send them.
    taken += [seq for seq in wanted if seq > before.max]
    if after != before:
        streams.put(connection, {key: after}, now_ns)
    rows = [(run_id, *key, first, last) for first, last in runs(taken)]
    dialect.insert_new(connection, side.reopened, rows, ("run_id", "stream_id", "epoch", "first"))
    return after, len(taken)


def still_missing(connection: Connection, care: bool, address: NodeAddress, run_id: str) -> tuple[int, int]:
    """Return how many numbers a run asked for again, and how many of them are not back."""
    asked = back = 0
    side = _side(care)
    c, s = side.reopened.c, side.stream.c
    query = select(s.name, c.epoch, c.first, c.last).join(side.stream, s.id == c.stream_id).where(c.run_id == run_id)
    for stream, epoch, first, last in connection.execute(query):
        asked += last - first + 1
        back += size(missing(connection, Name(address, stream, int(epoch, 16)), (first, last)))
    return asked, back


def close(connection: Connection, care: bool, run_id: str) -> None:
    """Forget what a run asked for: it is over."""
    table = _side(care).reopened
    connection.execute(delete(table).where(table.c.run_id == run_id))


def asked_again(connection: Connection) -> dict[tuple[int, str], list[Run]]:
    """Return the numbers of measurements that runs under way asked for again, by stream and epoch."""
    c = SAMPLES.reopened.c
    found: dict[tuple[int, str], list[Run]] = {}
    for row in connection.execute(select(c.stream_id, c.epoch, c.first, c.last)):
        found.setdefault((row.stream_id, row.epoch), []).append((row.first, row.last))
    return found


def verified_to(connection: Connection, name: Name) -> int:
    """Return up to which number every one was looked at once."""
    side, key = side_of(name), key_of(connection, name)
    if key is None:
        return 0
    c = side.reconciled.c
    found = connection.execute(select(c.verified_to).where(c.stream_id == key[0], c.epoch == key[1]))
    return found.scalar_one_or_none() or 0


def note_verified(connection: Connection, name: Name, run: Run) -> None:
    """Note that the numbers of a run were looked at; counts only where it continues what was looked at before."""
    side, key = side_of(name), key_of(connection, name)
    known = verified_to(connection, name)
    if key is not None and run[0] <= known + 1 and run[1] > known:
        row = (*key, run[1])
        dialect.upsert(
            connection, side.reconciled, ("stream_id", "epoch", "verified_to"), [row], ("stream_id", "epoch")
        )


def quarantine(connection: Connection, address: NodeAddress, records: Iterable[Record], now_ns: int) -> int:
    """Keep the node's version of records that differ, beside the hub's own; return how many are new.

    All of them are of streams of the database that this connection is to.
    """
    found = list(records)
    letters = [
        DeadLetter(address, Code.RECORDS_DIFFER, encode([one]), one.stream, epoch_text(one.epoch), one.seq)
        for one in found
    ]
    if not found:
        return 0
    table = side_of(Name(address, found[0].stream, found[0].epoch)).dead
    return len(dead_letters.bury(connection, table, letters, now_ns))


def _side(care: bool) -> Side:
    return CARE if care else SAMPLES


def _merged(gaps: list[Run]) -> list[Run]:
    out: list[Run] = []
    for first, last in sorted(gaps):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return out

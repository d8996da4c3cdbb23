"""Reading Observations out of the sample store, newest first, a page at a time.

A monitor sends its last cuff reading again with every message.  The observation key (decision 31) makes all of
them one: a value with a time of its own is taken from the record in which it first appears.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from cloud_hub.fhir.observation import Draft, Source, drafts
from cloud_hub.store.samples import StoredRecord, newest_of, numeric_set, records_between
from cloud_hub.store.schema import samples_stream

CHUNK, LARGEST_CHUNK = 32, 512
SCAN_LIMIT = 10_000
"""Records looked at for one page (under a second of work); a page that ends for it has a link to the next."""
OWN_TIME_MARGIN_NS = 3600 * 1_000_000_000
"""How far the own time of a value (OBX-14) may lie from that of the set in which it first appears."""

Position = tuple[int, int, int, int]
"""Measurement time, stream, number, and drafts of that record already given: where the next page begins."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stream, and from when to before when its records are looked at."""

    source: Source
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some drafts, newest first, and where the next page begins; None after the last."""

    drafts: tuple[Draft, ...]
    following: Position | None


def numeric_sources(connection: Connection, region: str, sites: frozenset[str] | None) -> list[Source]:
    """Return the devices that sent numerics at these sites (None = all of the region)."""
    return sources(connection, region, sites, "numeric")


def sources(connection: Connection, region: str, sites: frozenset[str] | None, kind: str) -> list[Source]:
    """Return the devices at these sites (None = all of the region) that sent one kind: numeric or wave."""
    c = samples_stream.c
    query = select(samples_stream).where(c.region == region, c.name.like(f"%/{kind}")).order_by(c.id)
    if sites is not None:
        query = query.where(c.site.in_(sorted(sites)))
    return [Source(row.id, row.site, row.node, row.device) for row in connection.execute(query)]


def page(
    connection: Connection,
    stretches: Sequence[Stretch],
    is_wanted: Callable[[Draft], bool],
    count: int,
    start: Position | None,
) -> Page:
    """Return the next `count` wanted drafts of these streams; two with the same id count once."""
    streams = [_records(connection, stretch, start) for stretch in stretches if stretch.from_ns < stretch.to_ns]
    found: list[Draft] = []
    seen: set[str] = set()
    for scanned, (order, fresh) in enumerate(heapq.merge(*streams, key=lambda one: one[0], reverse=True)):
        skip = start[3] if start is not None and order == start[:3] else 0
        for number, draft in enumerate(fresh[skip:], skip):
            if len(found) == count or scanned >= SCAN_LIMIT:
                return Page(tuple(found), (*order, number))
            if is_wanted(draft) and (fhir_id := draft.fhir_id) not in seen:
                seen.add(fhir_id)
                found.append(draft)
    return Page(tuple(found), None)


def _records(
    connection: Connection, stretch: Stretch, start: Position | None
) -> Iterator[tuple[tuple[int, int, int], list[Draft]]]:
    """Yield (measurement time, stream, number) and the drafts that first appear there, newest record first."""
    younger: tuple[StoredRecord, list[Draft]] | None = None
    for stored in _descending(connection, stretch, start):
        made = _drafts(stretch.source, stored)
        if younger is not None:
            yield _order(younger[0]), _new(younger, made)
        younger = (stored, made)
    if younger is not None:
        before = newest_of(connection, [stretch.source.stream_id], 1, before_ns=stretch.from_ns)
        yield _order(younger[0]), _new(younger, _drafts(stretch.source, before[0]) if before else [])


def _descending(connection: Connection, stretch: Stretch, start: Position | None) -> Iterator[StoredRecord]:
    """Yield the records of a stream from the newest on, read in growing chunks."""
    to_ns, last, limit = stretch.to_ns, None, CHUNK
    if start is not None:
        to_ns = min(to_ns, start[0] + 1)
    while True:
        chunk = records_between(connection, [stretch.source.stream_id], stretch.from_ns, to_ns, limit, True)
        fresh = [one for one in chunk if last is None or _order(one) < last]
        for stored in fresh:
            last = _order(stored)
            if start is None or last <= start[:3]:
                yield stored
        if len(chunk) < limit:
            return
        # Records of one instant may fill a chunk; then only a larger one gets further.
        limit = min(LARGEST_CHUNK, limit * 2) if fresh else limit * 2
        to_ns = chunk[-1].measured_ns + 1


def _order(stored: StoredRecord) -> tuple[int, int, int]:
    return stored.measured_ns, stored.stream_id, stored.record.seq


def _drafts(source: Source, stored: StoredRecord) -> list[Draft]:
    """Return the drafts of a record; none where its payload cannot be read: it was counted at ingest."""
    sample = numeric_set(stored)
    if sample is None:
        return []
    made = drafts(source, sample, stored.received_ns)
    return [replace(draft, moved_ns=stored.shift_ns) for draft in made] if stored.shift_ns else made


def _new(younger: tuple[StoredRecord, list[Draft]], older: list[Draft]) -> list[Draft]:
    """Return what the younger record did not merely repeat from the older one."""
    stored, made = younger
    known = {_repeated(draft) for draft in older}
    return [draft for draft in made if draft.effective_ns >= stored.measured_ns or _repeated(draft) not in known]


def _repeated(draft: Draft) -> tuple[object, ...]:
    values = tuple((one.measure, one.value, one.raw_value, one.status, one.quality) for one in draft.values)
    return draft.effective_ns, draft.key, values

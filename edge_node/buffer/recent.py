"""The newest records of each stream, kept at hand: what was just stored is sent next, without reading it back."""

from collections.abc import Iterable

from telemed.numbers import Run
from telemed.wire import Record

from edge_node.buffer.outbox import StreamKey

KEPT = 128
"""Records of a stream; more than a hub's usual credit."""


class Recent:
    """Used on the event loop alone."""

    def __init__(self) -> None:
        self._streams: dict[StreamKey, dict[int, Record]] = {}

    def add(self, key: StreamKey, record: Record) -> None:
        """Keep a record that is committed."""
        kept = self._streams.setdefault(key, {})
        kept[record.seq] = record
        if len(kept) > KEPT:
            del kept[next(iter(kept))]

    def forget(self, key: StreamKey, runs: Iterable[Run]) -> None:
        """Drop what was given up."""
        kept = self._streams.get(key, {})
        for first, last in runs:
            for seq in [seq for seq in kept if first <= seq <= last]:
                del kept[seq]

    def run(self, key: StreamKey, first: int, last: int) -> list[Record] | None:
        """Return the records first to last in order; None where not all of them are at hand."""
        kept = self._streams.get(key)
        if kept is None or first not in kept or last - first >= KEPT:
            return None
        found = [kept.get(seq) for seq in range(first, last + 1)]
        whole = [record for record in found if record is not None]
        return whole if len(whole) == len(found) else None

"""The site's event log in memory: the hub's order, what waits on top of it, and who is who by both."""

from collections.abc import Callable, Iterable, Sequence

from telemed.v1 import event_pb2

from edge_node.buffer import eventlog
from edge_node.buffer.store import Buffer
from edge_node.samples.roster import Roster, build

Changed = Callable[[list[event_pb2.Event]], None]


class SiteLog:
    """Joins the buffer's log with the roster; used on the event loop alone."""

    def __init__(self, buffer: Buffer) -> None:
        self.on_change: list[Changed] = []
        """Told of events newly ordered by the hub or proposed here."""
        self._buffer = buffer
        self._ordered: list[event_pb2.OrderedEvent] = []
        self._pending: list[event_pb2.Event] = []
        self._roster = Roster()

    @property
    def roster(self) -> Roster:
        """Who is who now."""
        return self._roster

    async def load(self) -> None:
        """Read everything that is stored."""
        self._ordered = await self._buffer.ordered_events()
        self._pending = await self._buffer.pending_events()
        self._roster = build(self._ordered, self._pending)

    def ordered(self, aggregate_type: str) -> Sequence[event_pb2.OrderedEvent]:
        """Return the hub's order of the events about one kind of thing."""
        return [row for row in self._ordered if row.event.aggregate_type == aggregate_type]

    def pending(self) -> Sequence[event_pb2.Event]:
        """Return what was proposed here and is not ordered yet."""
        return self._pending

    async def propose(self, event: event_pb2.Event) -> None:
        """Store an event for the hub to order; returns after the synced commit."""
        await self._buffer.propose(event)
        self._pending.append(event)
        self._roster.take(event)
        self._tell([event])

    def take_ordered(self, events: Iterable[event_pb2.OrderedEvent]) -> None:
        """Take events that the uplink has stored, in the hub's order."""
        last = self._ordered[-1].site_seq if self._ordered else 0
        new = [row for row in events if row.site_seq > last]
        if not new:
            return
        self._ordered += new
        erasures = [row for row in new if eventlog.is_erasure(row)]
        if erasures:
            left = eventlog.left_by(erasures, self._ordered)
            self._ordered = [
                old if emptied is None else emptied for old, emptied in zip(self._ordered, left, strict=True)
            ]
        ids = {row.event.event_id for row in new}
        self._pending = [event for event in self._pending if event.event_id not in ids]
        self._roster = build(self._ordered, self._pending)
        self._tell([row.event for row in new])

    def _tell(self, events: list[event_pb2.Event]) -> None:
        for told in self.on_change:
            told(events)

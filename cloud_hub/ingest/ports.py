"""What the intake asks of the rest of the hub."""

from typing import Protocol

from sqlalchemy import Connection
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, audit_pb2, event_pb2, sample_pb2, uplink_pb2


class CareIntake(Protocol):
    """What is made of alarms and proposed events; runs inside the transaction that stores the record."""

    def take_alarm(
        self, connection: Connection, address: NodeAddress, event: alarm_pb2.AlarmEvent, received_ns: int
    ) -> bool:
        """Fold one step of an alarm and return whether it is new; called once for each record, in the writer thread.

        Whatever it raises undoes the record; after three tries the record is dead-lettered instead.
        """

    def take_event(
        self, connection: Connection, address: NodeAddress, event: event_pb2.Event, received_ns: int
    ) -> event_pb2.OrderedEvent:
        """Order one proposed event and return it as it is kept; called once for each record, in the writer thread."""

    def take_audit(
        self, connection: Connection, address: NodeAddress, message: audit_pb2.Audit, received_ns: int
    ) -> None:
        """Keep one entry or head of a node's audit trail; called once for each record, in the writer thread."""

    def committed(self) -> None:
        """Called on the event loop after each commit in which alarms, events or audit entries were taken."""


class LiveSink(Protocol):
    """Who wants to know at once what was committed; all called on the event loop, and must not block."""

    def numerics(
        self, address: NodeAddress, device: str, sample: sample_pb2.NumericSet, received_ns: int, came_ns: int = 0
    ) -> None:
        """A numeric set is committed; called once for each new one.

        Args:
            address: node that sent it.
            device: that measured.
            sample: the set.
            received_ns: when it arrived here.
            came_ns: when it arrived at the node, by the hub's clock; 0 = when it arrived here.
        """

    def waves(self, address: NodeAddress, device: str, sample: sample_pb2.WaveformSet, received_ns: int) -> None:
        """A stretch of waves is committed; called once for each new one."""

    def presence(self, address: NodeAddress, presence: uplink_pb2.Presence, received_ns: int) -> None:
        """A node tells how it is."""

    def signal(self, address: NodeAddress, signal: uplink_pb2.Signal) -> None:
        """One step of consult signalling came up from a node."""

    def contact(self, address: NodeAddress, received_ns: int) -> None:
        """Any message at all came from a node, told before what it holds; silence of a node is judged by this alone."""


class EventLog(Protocol):
    """The reading half of `cloud_hub.store.events`, for the pages that go down."""

    def events_after(self, connection: Connection, site: str, after: int, limit: int) -> list[event_pb2.OrderedEvent]:
        """Return at most `limit` events of the site with a number over `after`, in order."""

    def head(self, connection: Connection, site: str) -> int:
        """Return the last number given out for the site, 0 if none."""

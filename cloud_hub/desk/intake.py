"""What is made of alarms and proposed events when they come in: called by the intake inside its transaction."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection
from telemed.audit_check import Fault
from telemed.consent import Purpose
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, audit_pb2, event_pb2

from cloud_hub.access.glass import WITHOUT_CONSENT
from cloud_hub.access.seed import publish_accounts
from cloud_hub.store import accounts, alarms, consents, edge_trails, events
from cloud_hub.store.accounts import AuditEntry

EMERGENCIES = frozenset({"T0", "T1"})
"""Levels of a referral that wait for nobody's consent."""


@dataclass(frozen=True, slots=True)
class AlarmTaken:
    """A step of an alarm that is committed now."""

    address: NodeAddress
    event: alarm_pb2.AlarmEvent
    received_ns: int


@dataclass(frozen=True, slots=True)
class EventTaken:
    """An event that a site's log holds now."""

    region: str
    site: str
    ordered: event_pb2.OrderedEvent


Taken = AlarmTaken | EventTaken


class Intake:
    """Folds alarms and orders events; tells the rest of the hub once they are committed.

    The two `take_...` run in the writer thread, `committed` on the event loop.  What was taken in a transaction
    that failed afterwards may still be told: listeners are idempotent, and the records come again.
    """

    def __init__(self, tell: Callable[[list[Taken]], None]) -> None:
        self.on_audit_fault: Callable[[NodeAddress, Fault], None] = lambda _address, _fault: None
        """Told on the event loop of a node's audit trail that does not verify; set by whoever joins the parts."""
        self._tell = tell
        self._lock = threading.Lock()
        self._taken: list[Taken] = []
        self._faults: list[tuple[NodeAddress, Fault]] = []

    def take_alarm(
        self, connection: Connection, address: NodeAddress, event: alarm_pb2.AlarmEvent, received_ns: int
    ) -> bool:
        """Fold one step of an alarm; a step that is known already is passed over, and False is returned."""
        is_new = alarms.take_step(connection, address, event, received_ns)
        if is_new:
            self._note(AlarmTaken(address, event, received_ns))
        return is_new

    def take_event(
        self, connection: Connection, address: NodeAddress, event: event_pb2.Event, received_ns: int
    ) -> event_pb2.OrderedEvent:
        """Order one proposed event; a refused one is in the log too, so that its author sees it.

        A node that describes itself is told who may sign in at its site, in the same transaction.
        """
        ordered = events.take_proposal(connection, address, event, received_ns)
        if event.WhichOneof("body") == "referral_submitted" and not ordered.refused:
            note_emergency(connection, address, event, received_ns)
        self._note(EventTaken(address.region, address.site, ordered))
        if event.aggregate_type == "node" and not ordered.refused:
            publish_accounts(connection, address.region, address.site, received_ns)
        return ordered

    def take_audit(
        self, connection: Connection, address: NodeAddress, message: audit_pb2.Audit, received_ns: int
    ) -> None:
        """Keep one entry or head of a node's audit trail, and follow the trail as far as it has come."""
        if message.WhichOneof("body") == "head":
            fault = edge_trails.take_head(connection, address, message.head, received_ns)
        else:
            fault = edge_trails.take_entry(connection, address, message.entry, received_ns)
        if fault is not None:
            with self._lock:
                self._faults.append((address, fault))

    def committed(self) -> None:
        """Tell what was taken since the last call."""
        with self._lock:
            taken, self._taken = self._taken, []
            faults, self._faults = self._faults, []
        if taken:
            self._tell(taken)
        for address, fault in faults:
            self.on_audit_fault(address, fault)

    def _note(self, taken: Taken) -> None:
        with self._lock:
            self._taken.append(taken)


def note_emergency(connection: Connection, address: NodeAddress, event: event_pb2.Event, now_ns: int) -> None:
    """Write down that somebody was referred in an emergency who did not agree to being shown to the hub.

    The referral goes on: saving a life needs no consent (clinical 9.3), but it is told.
    """
    body = event.referral_submitted
    if body.level_claim not in EMERGENCIES or not body.person_id:
        return
    if consents.permits(connection, body.person_id, Purpose.SHARING, now_ns):
        return
    actor, target = event.actor, f"Patient/{body.person_id}"
    entry = AuditEntry(now_ns, actor.username, actor.role, WITHOUT_CONSENT, target, "ok", address.region, address.site)
    accounts.write_audit(connection, entry)

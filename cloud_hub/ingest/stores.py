"""What one transaction of each database consists of; runs in the writer threads."""

from collections.abc import Collection, Iterable

import structlog
from google.protobuf.message import Message
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError
from telemed.errors import Code
from telemed.numbers import Run, epoch_text
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, audit_pb2, event_pb2, sample_pb2
from telemed.wire import Record

from cloud_hub.care.identifiers import uuid7
from cloud_hub.ingest.batch import TRIES, Batch
from cloud_hub.ingest.ports import CareIntake
from cloud_hub.store import alarms, boot_clocks, dead_letters, erasure, remains, reopening, untimed_steps
from cloud_hub.store.care_records import CareLedger
from cloud_hub.store.dead_letters import DeadLetter
from cloud_hub.store.intake import Taken, take
from cloud_hub.store.samples import SampleLedger
from cloud_hub.store.streams import Incoming
from cloud_hub.store.trends import Pair, Trends

UNREADABLE = "alarm-unreadable"
HUB_NODE = "hub"
"""Node name of alarms that the hub raises itself."""

log = structlog.get_logger()


class SampleStore:
    """Vitals and waves: records, watermarks, and behind them the minute trends."""

    def __init__(self) -> None:
        self._ledger = SampleLedger()
        self.trends = Trends()
        self._asked_again: dict[tuple[int, str], list[Run]] | None = None
        """Numbers whose sets may be counted in the minutes already; None: look it up."""

    def kept(self) -> None:
        """Called after the commit."""
        self.trends.kept()

    def forget(self) -> None:
        """Drop what is remembered, after a transaction that did not commit."""
        self._ledger.streams.forget()
        self.trends.forget()
        self._asked_again = None

    def store(self, connection: Connection, batch: Batch) -> Taken:
        """Store a batch."""
        taken = take(connection, self._ledger, batch.records, batch.received_ns)
        taken.buried += dead_letters.bury(connection, self._ledger.dead, batch.unusable, batch.received_ns)
        self.trends.clocks.learn(connection, taken.fresh)
        self._fold(connection, taken.fresh, batch.received_ns)
        return taken

    def _fold(self, connection: Connection, fresh: Iterable[Incoming], received_ns: int) -> None:
        """Let the minutes have what is new, and make those anew whose sets had vanished."""
        if self._asked_again is None:
            self._asked_again = reopening.asked_again(connection)
        streams, new, again = self._ledger.streams, list[Pair](), list[Pair]()
        for item in fresh:
            if isinstance(item.message, sample_pb2.NumericSet | sample_pb2.MinuteSet):
                stream_id = streams.stream_id(connection, item.address, item.record.stream, received_ns)
                is_again = bool(self._asked_again) and self._is_again(stream_id, item.record)
                (again if is_again else new).append((stream_id, item.message))
        self.trends.stage(new)
        if again:
            self.trends.heal(connection, again)

    def _is_again(self, stream_id: int, record: Record) -> bool:
        asked = (self._asked_again or {}).get((stream_id, epoch_text(record.epoch)), ())
        return any(first <= record.seq <= last for first, last in asked)


def _left_of(connection: Connection, item: Incoming, nameless: Collection[str]) -> Message | None:
    """Return what may be kept of an alarm or an event: the message itself, unless its person was erased.

    One look for all alarms of a batch, because a storm of them is when they must be quick.
    """
    message, region = item.message, item.address.region
    if isinstance(message, alarm_pb2.AlarmEvent):
        return erasure.left_of_step(connection, region, message) if message.person_id in nameless else message
    return erasure.left_of(connection, region, message) if isinstance(message, event_pb2.Event) else message


class CareStore:
    """Alarms and proposed events: records, watermarks, and what care makes of them."""

    def __init__(self, intake: CareIntake) -> None:
        self._ledger = CareLedger()
        self._intake = intake

    def kept(self) -> None:
        """Called after the commit: nothing to do, care was folded inside the transaction."""

    def forget(self) -> None:
        """Drop what is remembered, after a transaction that did not commit."""
        self._ledger.streams.forget()

    def store(self, connection: Connection, batch: Batch) -> Taken:
        """Store a batch, in the order of arrival; of a person who was erased no word is kept."""
        emptied: list[tuple[Incoming, Message]] = []
        persons = {item.message.person_id for item in batch.records if isinstance(item.message, alarm_pb2.AlarmEvent)}
        nameless = erasure.nameless(connection, persons - {""})

        def fold(item: Incoming) -> str:
            left = _left_of(connection, item, nameless)
            if left is not item.message and left is not None:
                emptied.append((item, left))
            return self._fold(connection, item._replace(message=left), batch.received_ns)

        taken = take(connection, self._ledger, batch.records, batch.received_ns, fold)
        for item, left in emptied:
            stream_id = self._ledger.streams.stream_id(connection, item.address, item.record.stream, batch.received_ns)
            remains.empty_arrived(connection, (stream_id, epoch_text(item.record.epoch)), item, left)
        for letter in taken.buried:
            if letter.stream.endswith("/alarm") and letter.reason != Code.KEY_CONFLICT:
                self._raise_generic(connection, letter, batch.received_ns)
        taken.buried += dead_letters.bury(connection, self._ledger.dead, batch.unusable, batch.received_ns)
        return taken

    def _raise_generic(self, connection: Connection, letter: DeadLetter, now_ns: int) -> None:
        """Raise an alarm that an alarm cannot be read, unless one stands at the site (reliability 2.7)."""
        site = letter.address.site
        if any(alarm.is_active for alarm in alarms.of_condition(connection, site, UNREADABLE, now_ns)):
            return
        step = alarm_pb2.AlarmEvent(
            alarm_id=uuid7(now_ns),
            alarm_seq=1,
            phase=alarm_pb2.PHASE_START,
            priority=alarm_pb2.PRIORITY_HIGH,
            condition=UNREADABLE,
            technical=True,
            latching=True,
            onset_unix_ns=now_ns,
            at_unix_ns=now_ns,
            ruleset_id="hub-intake",
            ruleset_version="1",
            note=letter.address.node,
        )
        # Raised by the hub: it is the hub, not the node, that can be asked to end it.
        place = NodeAddress(letter.address.region, site, HUB_NODE)
        self._intake.take_alarm(connection, place, step, now_ns)

    def _fold(self, connection: Connection, item: Incoming, received_ns: int) -> str:
        """Hand a record to care; a record that breaks it three times is buried instead."""
        if item.message is None:
            return ""
        for attempt in range(1, TRIES + 1):
            try:
                with connection.begin_nested():
                    self._hand_over(connection, item, item.message, received_ns)
                return ""
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:
                # Whatever it is: one record must not stop all others of its stream.
                log.error(
                    "care-record-failed", why=type(error).__name__, node=item.address.node, seq=item.record.seq,
                    attempt=attempt,
                )  # fmt: skip
        return Code.POISON

    def _hand_over(self, connection: Connection, item: Incoming, message: Message, received_ns: int) -> None:
        if isinstance(message, alarm_pb2.AlarmEvent):
            is_new = self._intake.take_alarm(connection, item.address, message, received_ns)
            if is_new and boot_clocks.is_unknown(item.record.stamp):
                untimed_steps.wait(connection, item.address, item.record.stamp, message)
        elif isinstance(message, event_pb2.Event):
            self._intake.take_event(connection, item.address, message, received_ns)
        elif isinstance(message, audit_pb2.Audit):
            self._intake.take_audit(connection, item.address, message, received_ns)

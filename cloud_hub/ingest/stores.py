"""What one transaction of each database consists of; runs in the writer threads."""

from collections.abc import Iterable
from dataclasses import dataclass

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
from cloud_hub.store import alarms, boot_clocks, dead_letters, dialect, erasure, remains, reopening, untimed_steps
from cloud_hub.store.care_records import CareLedger
from cloud_hub.store.dead_letters import DeadLetter
from cloud_hub.store.erasure import Where
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
            if type(item.message) is sample_pb2.NumericSet or type(item.message) is sample_pb2.MinuteSet:
                stream_id = streams.stream_id(connection, item.address, item.record.stream, received_ns)
                is_again = bool(self._asked_again) and self._is_again(stream_id, item.record)
                (again if is_again else new).append((stream_id, item.message))
        self.trends.stage(new)
        if again:
            self.trends.heal(connection, again)

    def _is_again(self, stream_id: int, record: Record) -> bool:
        asked = (self._asked_again or {}).get((stream_id, epoch_text(record.epoch)), ())
        return any(first <= record.seq <= last for first, last in asked)


@dataclass(frozen=True, slots=True)
class Suspects:
    """Of whom the alarms of a batch may be who were erased; nearly always nobody.

    One look for all alarms of a batch, because a storm of them is when they must be quick.
    """

    persons: frozenset[str]
    beds: frozenset[tuple[Where, str]]

    @classmethod
    def of(cls, connection: Connection, records: Iterable[Incoming]) -> "Suspects":
        """Look for them."""
        persons, at_beds = set[str](), dict[Where, dict[str, int]]()
        for item in records:
            if isinstance(step := item.message, alarm_pb2.AlarmEvent) and step.person_id:
                persons.add(step.person_id)
            elif isinstance(step, alarm_pb2.AlarmEvent) and step.bed:
                onsets = at_beds.setdefault((item.address.region, item.address.site), {})
                onsets[step.bed] = min(step.onset_unix_ns, onsets.get(step.bed, step.onset_unix_ns))
        beds = frozenset(
            (where, bed)
            for where, onsets in at_beds.items()
            for bed in erasure.nameless_beds(connection, where, onsets.keys(), min(onsets.values()))
        )
        return cls(erasure.nameless(connection, persons), beds)

    def has(self, where: Where, step: alarm_pb2.AlarmEvent) -> bool:
        """Return whether a step of an alarm has to be looked at."""
        return step.person_id in self.persons if step.person_id else (where, step.bed) in self.beds


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
        """Store a batch, in the order of arrival; of a person who was erased no word is kept.

        Nor in a dead letter, where it can be read and it can be seen whom it is about (`erasure`).
        """
        # Who is looked for here must not be taken out between that look and the commit.
        dialect.hold_persons(connection)
        emptied: list[tuple[Incoming, Message]] = []
        suspects = Suspects.of(connection, batch.records)

        def fold(item: Incoming) -> str:
            refusal, left = self._fold(connection, item, suspects, batch.received_ns)
            if left is not item.message and left is not None:
                emptied.append((item, left))
            return refusal

        taken = take(connection, self._ledger, batch.records, batch.received_ns, fold)
        for item, left in emptied:
            stream_id = self._ledger.streams.stream_id(connection, item.address, item.record.stream, batch.received_ns)
            remains.empty_arrived(connection, (stream_id, epoch_text(item.record.epoch)), item, left)
        for letter in taken.buried:
            if letter.stream.endswith("/alarm") and letter.reason != Code.KEY_CONFLICT:
                self._raise_generic(connection, letter, batch.received_ns)
        taken.buried += dead_letters.bury(connection, self._ledger.dead, batch.unusable, batch.received_ns)
        for letter in taken.buried:
            remains.empty_buried(connection, letter)
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

    def _fold(
        self, connection: Connection, item: Incoming, suspects: Suspects, received_ns: int
    ) -> tuple[str, Message | None]:
        """Hand a record to care, return what may be kept of it; one that breaks care three times is buried instead."""
        if item.message is None:
            return "", None
        for attempt in range(1, TRIES + 1):
            try:
                with connection.begin_nested():
                    return "", self._hand_over(connection, item, suspects, received_ns)
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:
                # Whatever it is: one record must not stop all others of its stream.
                log.error(
                    "care-record-failed", why=type(error).__name__, node=item.address.node, seq=item.record.seq,
                    attempt=attempt,
                )  # fmt: skip
        return Code.POISON, item.message

    def _hand_over(
        self, connection: Connection, item: Incoming, suspects: Suspects, received_ns: int
    ) -> Message | None:
        """Hand the message of a record to care; return what may be kept of it."""
        message, where = item.message, (item.address.region, item.address.site)
        if isinstance(message, alarm_pb2.AlarmEvent):
            step = erasure.left_of_step(connection, where, message) if suspects.has(where, message) else message
            is_new = self._intake.take_alarm(connection, item.address, step, received_ns)
            if is_new and boot_clocks.is_unknown(item.record.stamp):
                untimed_steps.wait(connection, item.address, item.record.stamp, step)
            return step
        if isinstance(message, event_pb2.Event):
            # It is judged with its words; whoever keeps it empties it, and what differs is looked at again.
            kept = self._intake.take_event(connection, item.address, message, received_ns).event
            return message if kept == message else erasure.left_of(connection, where, message)
        if isinstance(message, audit_pb2.Audit):
            self._intake.take_audit(connection, item.address, message, received_ns)
        return message

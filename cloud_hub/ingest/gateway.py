"""The intake as a whole: from the broker to the databases, and back down to the nodes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection
from telemed.audit import Head
from telemed.audit_wire import head_of
from telemed.errors import Code
from telemed.numbers import epoch_text
from telemed.shed import Reason
from telemed.topics import STORED, NodeAddress, Up, parse_up
from telemed.v1 import sample_pb2, uplink_pb2

from cloud_hub.access import tls
from cloud_hub.broker_rights import read_secrets
from cloud_hub.config import HubConfig
from cloud_hub.errors import ConfigRefused, StoreFailure
from cloud_hub.ingest import credit
from cloud_hub.ingest.admit import admit
from cloud_hub.ingest.batch import Batch, Batcher
from cloud_hub.ingest.clones import ON_THE_WAY_S, CloneWatch, Run, RunWatch, Verdict
from cloud_hub.ingest.downlink import Downlink
from cloud_hub.ingest.greetings import Greetings
from cloud_hub.ingest.metrics import IngestMetrics
from cloud_hub.ingest.mqtt import BrokerLink, BrokerLogin
from cloud_hub.ingest.ports import CareIntake, EventLog, LiveSink
from cloud_hub.ingest.stores import CareStore, SampleStore
from cloud_hub.store import partitions
from cloud_hub.store.engine import Database
from cloud_hub.store.holdings import CARE_KINDS, Name
from cloud_hub.store.intake import Taken
from cloud_hub.store.schema import care_stream, care_watermark, samples_stream, samples_watermark
from cloud_hub.store.streams import epochs_of, watermark_of
from cloud_hub.store.trends import write_after_s
from cloud_hub.store.watermarks import Watermark

NS_PER_DAY = 86_400 * 1_000_000_000
_CARE = (Up.ALARM, Up.CARE)
"""What goes into the care store; to name the members of an enumeration each time takes many times as long."""
HELLO_STREAMS_LIMIT, HELLOS_LIMIT = 500, 1000
HEARD_EVERY_NS = 100_000_000
"""A node that talks all the time is noted as heard this often: silence is judged in seconds."""
TRENDS_TICK_S = 1.0
LATE_NS = round(ON_THE_WAY_S * 1e9)
_NOTICES: dict[str, Code] = {Code.KEY_CONFLICT: Code.KEY_CONFLICT, Code.TOO_LARGE: Code.TOO_LARGE}
"""Dead letters that the operator is told of in their own words; all others could not be read."""
_DECLARED: dict[str, Code] = {
    Reason.DISK: Code.DATA_SHED,
    Reason.DAMAGED: Code.DATA_DAMAGED,
    Reason.COPY_GONE: Code.DATA_COPY_GONE,
}
"""What the operator is told of numbers that a node gave up."""
Note = Callable[[NodeAddress, str, int], None]
"""Told of a node, a code of telemed.stuck, and how often it happened; on the event loop, must not block."""

log = structlog.get_logger()


async def _unasked(_head: Head) -> bool:
    return True


class Ingest:
    """Joins broker, databases, care and live screens; `run` does everything."""

    def __init__(
        self,
        config: HubConfig,
        samples: Database,
        care: Database,
        *,
        intake: CareIntake,
        events: EventLog,
        registry: CollectorRegistry,
        sinks: Sequence[LiveSink] = (),
    ) -> None:
        """Connect nothing yet.

        Args:
            config: the hub's configuration.
            samples: migrated sample store.
            care: migrated care store.
            intake: what is made of alarms and events, inside their transaction.
            events: reads the event log for the pages that go down (the module `cloud_hub.store.events`).
            registry: where the metrics are registered.
            sinks: told right after each commit; more may be appended to `sinks` later.

        Raises:
            ConfigRefused: the hub's own secret is not in the secrets file.
        """
        self.sinks = list(sinks)
        self.metrics = IngestMetrics(registry)
        self.note: Note = lambda _address, _code, _times: None
        """Told of what the operator must look at; set by whoever joins the parts."""
        self.agrees_with: Callable[[Head], Awaitable[bool]] = _unasked
        """Says whether the hub's audit trail holds what a node keeps a head of; set by whoever joins the parts."""
        self._samples, self._care, self._intake = samples, care, intake
        self._link = BrokerLink(_login(config), ["up/#"], self.take)
        self._window = config.ingest.window
        self.downlink = Downlink(self._link.publish, care, events, self._credit)
        store = SampleStore()
        self._trends = store.trends
        self._sample_batches = Batcher(samples, store, self._samples_committed, self.metrics)
        self._sample_batches.longest_wait_s = config.ingest.batch_ms / 1000
        self._care_batches = Batcher(care, CareStore(intake), self._care_committed, self.metrics)
        for batches in (self._sample_batches, self._care_batches):
            batches.most_records = config.ingest.batch_records
            batches.on_failure = self._store_failed
        self._hellos = Greetings(HELLOS_LIMIT)
        self._clones = CloneWatch()
        self._runs = RunWatch()
        self._shut_out: set[tuple[NodeAddress, int]] = set()
        self._heard_ns: dict[NodeAddress, int] = {}
        self._is_dropping = False
        self._is_outdated = False

    @property
    def is_connected(self) -> bool:
        """Whether messages can arrive from the broker."""
        return self._link.is_connected

    async def run(self) -> None:
        """Take in until cancelled.

        Raises:
            StoreFailure: the sample store cannot be read.
        """
        await self._samples.write(self._trends.catch_up, self._trends.written)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run())
            tasks.create_task(self._sample_batches.run())
            tasks.create_task(self._care_batches.run())
            tasks.create_task(self.downlink.run())
            tasks.create_task(self._answer_hellos())
            tasks.create_task(self._prepare_days())
            tasks.create_task(self._write_trends())

    def not_ready(self) -> list[str]:
        """Return what keeps records from being taken and receipted; empty where nothing does."""
        failing = {"samples": self._sample_batches.failure, "care": self._care_batches.failure}
        stores = [f"store {name}" for name, failure in failing.items() if failure is not None]
        return ([] if self.is_connected else ["broker"]) + stores

    def _store_failed(self, failure: StoreFailure, batch: Batch) -> None:
        """Tell the operator of each node whose records wait because there is no room for them."""
        if failure.is_full:
            for address in {item.address for item in batch.records}:
                self.note(address, Code.HUB_STORE_FULL, 1)

    def _credit(self) -> int:
        behind = self._sample_batches
        return credit.window(self._window, behind.waited_s, behind.queued_share)

    async def reopen(self, name: Name, work: Callable[[Connection], tuple[Watermark, int]]) -> int:
        """Do work that takes back what of a stream is stored, and tell its node at once; return what the work counted.

        Raises:
            StoreFailure: nothing is changed.
        """
        database, batches = (self._care, self._care_batches) if name.is_care else (self._samples, self._sample_batches)
        mark, count = await database.write(work, batches.forget)
        self.downlink.committed({(name.address, name.stream, name.epoch): mark}, urgent=True)
        return count

    def take(self, topic: str, payload: bytes) -> None:
        """Take one message from the broker; called on the event loop."""
        try:
            address, what = parse_up(topic)
        except ValueError:
            self.metrics.topic_errors.inc()
            return
        self.metrics.received_bytes[what] += len(payload)
        received_ns = time.time_ns()
        if received_ns - self._heard_ns.get(address, 0) >= HEARD_EVERY_NS:
            self._heard_ns[address] = received_ns
            self.downlink.heard(address)
            for sink in self.sinks:
                sink.contact(address, received_ns)
        if what in STORED:
            self._take_container(address, what, payload, received_ns)
            return
        try:
            self._take_talk(address, what, payload, received_ns)
        except DecodeError:
            self.metrics.dead_letters.labels(Code.PAYLOAD_UNREADABLE).inc()
            self.note(address, Code.PAYLOAD_UNREADABLE, 1)

    def _take_container(self, address: NodeAddress, what: Up, payload: bytes, received_ns: int) -> None:
        admission = admit(address, what, payload)
        held = self._runs.held(address)
        if held:  # of a second machine under this name: not taken, nor receipted, and so kept there
            admission.records = [item for item in admission.records if item.record.epoch not in held]
        if admission.newer:
            if not self._is_outdated:
                log.error("upgrade-hub", why="records of a newer schema arrive; kept, readable after an upgrade")
            self._is_outdated = True
            self.metrics.newer.inc(admission.newer)
            self.note(address, Code.SCHEMA_UNKNOWN, admission.newer)
        batches = self._care_batches if what in _CARE else self._sample_batches
        taken = batches.put(admission.records, admission.unusable, admission.size_bytes, received_ns)
        if not taken:
            self.metrics.dropped.inc()
        if taken == self._is_dropping:
            log.warning("intake-behind" if not taken else "intake-caught-up")
            self._is_dropping = not taken

    def _take_talk(self, address: NodeAddress, what: Up, payload: bytes, received_ns: int) -> None:
        if what is Up.HELLO:
            hello = uplink_pb2.Hello.FromString(payload)
            if self._is_taken(address, hello):
                self._hellos.put(address, hello)
        elif what is Up.PRESENCE:
            presence = uplink_pb2.Presence.FromString(payload)
            is_late = received_ns - presence.at_unix_ns > LATE_NS
            verdict = self._runs.heard(address, presence.run, time.monotonic(), is_late=is_late)
            if not self._may_speak(address, presence.run, verdict):
                return
            if self._clones.is_clone(address, presence.boottime_ns, time.monotonic_ns()):
                self.metrics.clones.labels(address.node).inc()
                log.error("node-cloned", node=address.node, site=address.site)
                self.note(address, Code.NODE_CLONED, 1)
            self.downlink.present(address, presence)
            for sink in self.sinks:
                sink.presence(address, presence, received_ns)
        elif what is Up.SIGNAL:
            signal = uplink_pb2.Signal.FromString(payload)
            for sink in self.sinks:
                sink.signal(address, signal)

    def _is_taken(self, address: NodeAddress, hello: uplink_pb2.Hello) -> bool:
        """Judge who greets; whoever is not taken is left without an answer, and what it numbers without a receipt."""
        known = frozenset(state.epoch for state in hello.streams)
        run = Run(hello.run, frozenset(hello.previous_runs), hello.boot, frozenset(hello.epochs), known)
        verdict = self._runs.greeted(address, run, time.monotonic())
        if verdict is not Verdict.TAKEN:
            log.warning("node-held", node=address.node, site=address.site, verdict=verdict.value)
        return self._may_speak(address, hello.run, verdict)

    def _may_speak(self, address: NodeAddress, run: int, verdict: Verdict) -> bool:
        """Tell second machines to be silent, and the operator, once for each; whether this one is the first."""
        if verdict is Verdict.REFUSED:
            self.downlink.refuse(address, run)
        for second in self._runs.refused(address):
            if (address, second) not in self._shut_out:
                self._shut_out.add((address, second))
                self.downlink.refuse(address, second)
                self.metrics.clones.labels(address.node).inc()
                log.error("node-cloned", node=address.node, site=address.site, run=f"{second:016x}")
                self.note(address, Code.NODE_CLONED, 1)
        return verdict is Verdict.TAKEN

    async def _answer_hellos(self) -> None:
        while True:
            address, hello = await self._hellos.get()
            try:
                await self._answer(address, hello)
            except StoreFailure as failure:
                # The edge resends all the same; its next presence asks for events.
                log.error("hello-unanswered", node=address.node, why=str(failure))

    async def _answer(self, address: NodeAddress, hello: uplink_pb2.Hello) -> None:
        states, as_of_ns = hello.streams[:HELLO_STREAMS_LIMIT], time.time_ns()
        marks = await self._marks_of(address, [(state.stream, state.epoch) for state in states])
        for state in states:
            if marks[state.stream, state.epoch].contig < state.acked:
                self.metrics.lost_history.inc()
                self.note(address, Code.HUB_LOST_HISTORY, 1)
                log.error("hub-lost-history", node=address.node, stream=state.stream, edge_acked=state.acked)
        if not hello.is_part and len(hello.streams) <= HELLO_STREAMS_LIMIT:
            await self._mind_epochs(address, states)
        self.downlink.greeted(address, marks, as_of_ns, hello.event_cursor, hello.run)
        if hello.HasField("hub_audit") and not await self.agrees_with(head_of(hello.hub_audit)):
            self.note(address, Code.HUB_AUDIT_DIFFERS, 1)
            log.error("hub-audit-differs", node=address.node, n=hello.hub_audit.n)

    async def _mind_epochs(self, address: NodeAddress, states: Sequence[uplink_pb2.StreamState]) -> None:
        """Tell of a store that does not know how far it had come: begun anew, or put back.  The unsent is lost."""
        told: dict[str, set[str]] = {}
        for state in states:
            told.setdefault(state.stream, set()).add(epoch_text(state.epoch))
        here = await self._epochs_of(address, told)
        for stream, epochs in told.items():
            if here[stream] and here[stream][-1] not in epochs:
                code = Code.STORE_SET_BACK if epochs.intersection(here[stream]) else Code.EPOCH_LOST
                self.note(address, code, 1)
                log.error(code, node=address.node, stream=stream)

    async def _epochs_of(self, address: NodeAddress, names: Iterable[str]) -> dict[str, list[str]]:
        def look(connection: Connection, care: bool) -> dict[str, list[str]]:
            tables = (care_stream, care_watermark) if care else (samples_stream, samples_watermark)
            mine = [name for name in names if (name.rpartition("/")[2] in CARE_KINDS) == care]
            return {name: epochs_of(connection, *tables, address, name) for name in mine}

        found = await self._care.read(lambda connection: look(connection, care=True))
        return found | await self._samples.read(lambda connection: look(connection, care=False))

    async def _marks_of(self, address: NodeAddress, names: list[tuple[str, int]]) -> dict[tuple[str, int], Watermark]:
        def look(connection: Connection, care: bool) -> dict[tuple[str, int], Watermark]:
            tables = (care_stream, care_watermark) if care else (samples_stream, samples_watermark)
            mine = [name for name in names if (name[0].rpartition("/")[2] in CARE_KINDS) == care]
            return {name: watermark_of(connection, *tables, address, name) or Watermark() for name in mine}

        found = await self._care.read(lambda connection: look(connection, care=True))
        return found | await self._samples.read(lambda connection: look(connection, care=False))

    async def _prepare_days(self) -> None:
        while True:
            today = time.time_ns() // NS_PER_DAY
            try:
                self.metrics.no_day.set(await self._samples.write(partial(partitions.prepare, today=today)))
            except StoreFailure as failure:
                log.error("days-not-prepared", why=str(failure))
            await asyncio.sleep(3600)

    async def _write_trends(self) -> None:
        written_s = time.monotonic()
        while True:
            await asyncio.sleep(TRENDS_TICK_S)
            if time.monotonic() - written_s < write_after_s(self._trends.minutes):
                continue
            written_s = time.monotonic()
            try:
                await self._samples.write(self._trends.write, self._trends.written)
            except StoreFailure as failure:
                # What is folded stays in memory and goes with the next try.
                log.error("trends-not-written", why=str(failure))

    def _samples_committed(self, taken: Taken, batch: Batch) -> None:
        self._count("samples", taken)
        self.downlink.committed(taken.marks, urgent=False)
        for item in taken.fresh:
            device = item.record.stream.partition("/")[0]
            message = item.message
            if type(message) is sample_pb2.NumericSet:
                came_ns = item.record.stamp.not_after_ns(batch.received_ns)
                for sink in self.sinks:
                    sink.numerics(item.address, device, message, batch.received_ns, came_ns)
            elif type(message) is sample_pb2.WaveformSet:
                for sink in self.sinks:
                    sink.waves(item.address, device, message, batch.received_ns)

    def _care_committed(self, taken: Taken, _batch: Batch) -> None:
        self._count("care", taken)
        self.downlink.committed(taken.marks, urgent=True)
        if taken.fresh or taken.buried:
            self._intake.committed()
        for site in {item.address.site for item in taken.fresh if item.record.stream.endswith("/care")}:
            self.downlink.events_changed(site)

    def _count(self, store: str, taken: Taken) -> None:
        self.metrics.records.labels(store).inc(len(taken.fresh))
        self.metrics.duplicates.labels(store).inc(taken.duplicates)
        for letter in taken.buried:
            self.metrics.dead_letters.labels(letter.reason).inc()
            self.note(letter.address, _NOTICES.get(letter.reason, Code.PAYLOAD_UNREADABLE), 1)
            if letter.reason == Code.KEY_CONFLICT:
                log.error("key-conflict", node=letter.address.node, stream=letter.stream, seq=letter.seq)
            else:
                log.warning("dead-letter", reason=letter.reason, node=letter.address.node, stream=letter.stream)
        for one in taken.declared:
            self.metrics.declared.labels(one.reason).inc(one.missing)
            if one.missing:
                self.note(one.address, _DECLARED[one.reason], one.missing)
                log.warning("declared-shed", node=one.address.node, stream=one.stream, why=one.reason, n=one.missing)
        for address, stream in taken.jumped:
            self.metrics.jumps.inc()
            self.note(address, Code.SEQ_JUMP, 1)
            log.error("stream-quarantined", node=address.node, stream=stream, why="numbers jumped by over 10^6")


def _login(config: HubConfig) -> BrokerLogin:
    broker = config.broker
    if config.pki is not None:
        # Where the embedded broker listens everywhere it is met on this machine.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(broker.host, broker.host)  # noqa: S104
        return BrokerLogin(host, broker.port, broker.user, "", tls.client(config.pki.folder))
    secret = read_secrets(broker.secrets_file).get(broker.user, {}).get("secret", "")
    if not secret:
        raise ConfigRefused(f"{broker.secrets_file}: {broker.user}: no secret for the hub itself")
    return BrokerLogin(broker.host, broker.port, broker.user, secret)

"""Joins links, pumps and presence to the one uplink of a node."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import structlog
from google.protobuf.message import DecodeError
from telemed.audit import Head
from telemed.audit_wire import head_message, head_of
from telemed.errors import Code
from telemed.topics import CLASS_OF, CONNECTIONS, STORED, Down, NodeAddress, Up
from telemed.v1 import event_pb2, uplink_pb2
from telemed.wire import WIRE_VERSION

from edge_node.buffer.clock import boottime_ns
from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.buffer.store import Buffer
from edge_node.config import PathConfig, UplinkConfig
from edge_node.errors import BufferFailure
from edge_node.uplink import greeting, mqtt, presence
from edge_node.uplink.alarm_paths import AlarmPaths
from edge_node.uplink.certificates import CertificateCredentials, CertificateFolder
from edge_node.uplink.datagram import AlarmPath, PathEvents, credentials_of
from edge_node.uplink.datagram_socket import PathSettings
from edge_node.uplink.device_sync import behind
from edge_node.uplink.gate import Gate
from edge_node.uplink.link import Connect, LinkEvents
from edge_node.uplink.presence import LinkView, OffsetEstimate
from edge_node.uplink.pump import GATHER_S, PRESSED_GATHER_S, WATCHED_GATHER_S, Pump, receipt_of
from edge_node.uplink.schedule import Traffic
from edge_node.uplink.second_way import SecondWay

WATCH_EVERY_S = 1.0

log = structlog.get_logger(__name__)


def _nothing(_: object) -> None:
    """Take no notice."""


def _none() -> Sequence[uplink_pb2.DeviceState]:
    return ()


def _no_radios() -> Sequence[uplink_pb2.Radio]:
    return ()


def _no_stuck() -> Sequence[uplink_pb2.Stuck]:
    return ()


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the uplink tells the node and asks of it; all called on the event loop, none may block."""

    on_events: Callable[[list[event_pb2.OrderedEvent]], None] = _nothing
    """Events of the site's log newly stored here, in order; after a restart read the log instead."""
    on_signal: Callable[[uplink_pb2.Signal], None] = _nothing
    on_link: Callable[[LinkView], None] = _nothing
    """The state of the link changed."""
    devices: Callable[[], Sequence[uplink_pb2.DeviceState]] = _none
    """State of every device, for the presence message."""
    radios: Callable[[], Sequence[uplink_pb2.Radio]] = _no_radios
    """What the modems see, for the presence message."""
    stuck: Callable[[], Sequence[uplink_pb2.Stuck]] = _no_stuck
    """What cannot go on and why, for the presence message."""


class _SecondMachine(Exception):
    """The hub has another machine under this node's name."""


class Uplink:
    """The node's way to the hub; `run` holds it, `link` says how it stands."""

    def __init__(
        self,
        config: UplinkConfig,
        buffer: Buffer,
        address: NodeAddress,
        callbacks: Callbacks | None = None,
        *,
        connect: Connect | None = None,
        second_way: SecondWay | None = None,
    ) -> None:
        """Prepare the connections without opening them.

        `second_way` stands in for all of them while the hub is not heard through the broker.

        Raises:
            ConfigRefused: the file with the node's secret cannot be read.
        """
        self._config = config
        self._buffer = buffer
        self._address = address
        self._callbacks = callbacks or Callbacks()
        self._offset = OffsetEstimate()
        self._began_s = time.monotonic()
        self._heard_s: float | None = None
        self._heard_ns = 0
        self._hub_run = 0
        """The run of the hub that answered our hello; 0: none has since we are connected."""
        self._roll = greeting.Roll()
        self._is_stranger = asyncio.Event()
        """Set when the hub is to be greeted anew."""
        self._event_cursor = 0
        self._anchor: Head | None = None
        """Newest head of the hub's audit trail that is kept here."""
        self._stuck_before: set[str] = set()
        self._set_back: set[str] = set()
        """Streams of which the hub had numbers that were never given out here: a disk that was put back."""
        self.is_second = False
        """Whether the hub has another machine under this node's name; then nothing is said until the next start."""
        self._refused = asyncio.Event()
        self._state: presence.LinkState = "never"
        self._since_ns = buffer.clock.now_ns()
        self._messages: asyncio.Queue[tuple[Down, bytes]] = asyncio.Queue()
        connect = connect or mqtt.connector(config, address)
        self.gate = Gate()
        self._second_way = second_way
        if second_way is not None:
            connect = second_way.beside(connect)
            second_way.on_switch = self.gate.restart
        self._links = {up: connect(CONNECTIONS[up], up is Up.CARE, self._events_of(up)) for up in STORED}
        self._pumps = {
            up: Pump(up, buffer, self._links[up].publish, self.gate, resend_after_s=config.resend_after_s)
            for up in STORED
        }
        self._pumps[Up.VITALS].gather_s = self._gather_s
        self._pumps[Up.WAVES].is_watched = self._is_watched
        self._pumps[Up.WAVES].block_s = config.wave_block_s
        self._pumps[Up.WAVES].may_send_backlog = lambda: not self._pumps[Up.VITALS].has_backlog
        self.alarm_paths = AlarmPaths(buffer, self._make_paths() if config.datagram_enabled else ())
        self._ways = asyncio.Event()
        """Set when a pump may have to be opened."""
        self._watched: dict[str, float] = {}
        """Devices whose waves somebody looks at -> until when, monotonic seconds."""

    @property
    def link(self) -> LinkView:
        """How things stand with the hub now."""
        return LinkView(
            state=self._state,
            since_ns=self._since_ns,
            last_hub_ns=self._heard_ns,
            caught_up_to_ns=presence.caught_up_to_ns(self._buffer.waiting(), self._buffer.clock.now_ns()),
            hub_offset_ms=self._buffer.clock.hub_offset_ms(),
        )

    @property
    def hub_silent_s(self) -> float:
        """How long the hub has not been heard; since the start where it never was."""
        return time.monotonic() - (self._began_s if self._heard_s is None else self._heard_s)

    def send_signal(self, signal: uplink_pb2.Signal) -> bool:
        """Send a step of consult signalling; False if there is no connection: signals are not kept."""
        return self._say(Up.SIGNAL, signal.SerializeToString())

    async def run(self) -> None:
        """Hold the connections and carry everything both ways, until cancelled; a second machine falls silent."""
        self._event_cursor = await self._buffer.event_cursor()
        self._anchor = await self._buffer.audit.newest_anchor()
        self._buffer.on_stored.append(self._stored)
        try:
            await self._carry()
        except* _SecondMachine:
            log.error("uplink.second-machine", node=self._address.node)
        finally:
            self._buffer.on_stored.remove(self._stored)
        for pump in self._pumps.values():
            pump.close()
        while True:
            self._judge()
            await asyncio.sleep(WATCH_EVERY_S)

    async def _carry(self) -> None:
        async with asyncio.TaskGroup() as group:
            for up in STORED:
                group.create_task(self._links[up].run(), name=f"link-{up}")
                group.create_task(self._pumps[up].run(), name=f"pump-{up}")
            group.create_task(self.alarm_paths.run(), name="alarm-paths")
            if self._second_way is not None:
                group.create_task(self._second_way.run(), name="second-way")
            group.create_task(self.gate.run(), name="uplink-gate")
            group.create_task(self._open_ways(), name="uplink-ways")
            group.create_task(self._listen(), name="uplink-listen")
            group.create_task(self._beat(), name="uplink-beat")
            group.create_task(self._greet(), name="uplink-greet")
            group.create_task(self._watch(), name="uplink-watch")
            await self._refused.wait()
            raise _SecondMachine

    def _events_of(self, up: Up) -> LinkEvents:
        return LinkEvents(
            on_up=lambda: self._link_up(up),
            on_down=lambda: self._link_down(up),
            on_message=lambda down, payload: self._messages.put_nowait((down, payload)),
            on_acknowledged=self.gate.acknowledged,
            on_lost=self.gate.lost,
        )

    def _make_paths(self) -> list[AlarmPath]:
        config = self._config
        credentials = (
            CertificateCredentials(CertificateFolder(config.certificates))
            if config.certificates is not None
            else credentials_of(self._address.node, config.secret_file)
        )
        events = PathEvents(self._take_from_path, self.gate.may_repeat, self._path_changed)
        ways: Sequence[PathConfig | None] = config.paths or (None,)
        settings = PathSettings(config.datagram_host or config.broker_host, config.datagram_port)
        bound = [
            replace(settings, interface=way.interface, local_address=way.local_address) if way else settings
            for way in ways
        ]
        return [AlarmPath(each, credentials, events) for each in bound]

    def _path_changed(self) -> None:
        """Let the connections try at once when the hub is heard by datagram: after an outage they would wait long."""
        if any(path.is_up for path in self.alarm_paths.paths):
            for link in self._links.values():
                link.hurry()

    def _take_from_path(self, receipts: uplink_pb2.Receipts) -> None:
        self._messages.put_nowait((Down.RECEIPT, receipts.SerializeToString()))

    def _link_up(self, up: Up) -> None:
        if not any(link.is_up for other, link in self._links.items() if other is not up):
            self.gate.restart()
            # One that is back shows that the broker is: the alarms' connection, and then the others, need not wait.
            for other in STORED:
                self._links[other].hurry()
        if up is Up.CARE:
            self._hub_run = 0
            self._say_hello()
            # The heartbeat may never meet a connection that is up while another machine takes the name again and again.
            self._say_presence()
            self._is_stranger.set()
        self._ways.set()

    def _link_down(self, up: Up) -> None:
        self._pumps[up].close()

    async def _open_ways(self) -> None:
        """Open the pumps that may send: alarms as soon as there is a link, the rest once the hub answered our hello."""
        while True:
            await self._ways.wait()
            self._ways.clear()
            for up, pump in self._pumps.items():
                may_send = self._links[up].is_up and (self._hub_run or up is Up.ALARM)
                if may_send and not pump.is_open:
                    await self._open(pump)

    async def _open(self, pump: Pump) -> None:
        try:
            await pump.open()
        except BufferFailure as failure:
            log.warning("uplink.buffer-failed", code=failure.code)
            asyncio.get_running_loop().call_later(WATCH_EVERY_S, self._ways.set)

    def _gather_s(self) -> float:
        if self.gate.scheduler.is_pressed:
            return PRESSED_GATHER_S
        return WATCHED_GATHER_S if self._is_anybody_looking() else GATHER_S

    def _is_anybody_looking(self) -> bool:
        return any(until_s > time.monotonic() for until_s in self._watched.values())

    def _is_watched(self, stream: str) -> bool:
        return self._watched.get(stream.partition("/")[0], 0.0) > time.monotonic()

    def _stored(self, up: Up, keys: Collection[StreamKey]) -> None:
        self._pumps[up].stored(keys)
        if up is Up.ALARM:
            self.alarm_paths.stored()

    async def _listen(self) -> None:
        failing = False
        while True:
            down, payload = await self._messages.get()
            self._hear()
            try:
                await self._take(down, payload)
                failing = False
            except DecodeError:
                log.warning("uplink.unreadable", what=down.value, size=len(payload))
            except BufferFailure as failure:
                if not failing:
                    log.warning("uplink.buffer-failed", code=failure.code)
                failing = True

    def _hear(self) -> None:
        self._heard_s, self._heard_ns = time.monotonic(), self._buffer.clock.now_ns()
        if self._state in ("lost", "never"):
            self._judge()

    async def _take(self, down: Down, payload: bytes) -> None:
        if down is Down.RECEIPT:
            await self._take_receipts(uplink_pb2.Receipts.FromString(payload))
        elif down is Down.EVENTS:
            await self._take_events(event_pb2.EventPage.FromString(payload))
        elif down is Down.PRESENCE:
            message = uplink_pb2.HubPresence.FromString(payload)
            self._take_presence(message)
            await self._keep_anchor(message)
        elif down is Down.WATCH:
            self._take_watch(uplink_pb2.Watch.FromString(payload))
        else:
            self._callbacks.on_signal(uplink_pb2.Signal.FromString(payload))

    async def _take_receipts(self, message: uplink_pb2.Receipts) -> None:
        if message.refused_run:
            if message.refused_run == self._buffer.life:
                self.is_second = True
                self._refused.set()
            return
        by_class: dict[Up, list[uplink_pb2.Receipt]] = {}
        for receipt in message.receipts:
            up = CLASS_OF.get(receipt.stream.rpartition("/")[2])
            if up is not None:
                by_class.setdefault(up, []).append(receipt)
        failures = []
        for up, receipts in by_class.items():
            try:
                await self._yield(up, receipts, message.hub_unix_ns)
                await self._pumps[up].take(receipts, message.hub_unix_ns, message.window_hint)
            except BufferFailure as failure:
                # Trouble in the file of one class must not stop the others.
                failures.append(failure)
        if message.hub_run and message.node_run in (0, self._buffer.life):
            self._hub_run = message.hub_run
            # What could not be taken in is to be said again.
            named = [StreamKey(each.stream, each.epoch) for each in message.receipts]
            if not failures and self._roll.answered(named, self._hub_run):
                self._say_part()
                self._is_stranger.set()
            for up in (Up.VITALS, Up.WAVES):
                self._pumps[up].history_packer = message.history_packer
            self._ways.set()
        if Up.ALARM in by_class:
            self.alarm_paths.take(by_class[Up.ALARM])
        if failures:
            raise failures[0]

    async def _yield(self, up: Up, receipts: Sequence[uplink_pb2.Receipt], hub_ns: int) -> None:
        """Give up the numbers that the hub has and that were never given out here."""
        for each in receipts:
            state = self._buffer.streams(up).get(StreamKey(each.stream, each.epoch))
            if state is None or each.max < state.next_seq:
                continue
            log.error("uplink.set-back", stream=each.stream, next_seq=state.next_seq, hub_max=each.max)
            self._set_back.add(each.stream)
            await self._buffer.yield_to(up, state.key, receipt_of(each, hub_ns))

    async def _take_events(self, page: event_pb2.EventPage) -> None:
        applied = await self._buffer.apply_page(page)
        if applied:
            self._event_cursor = applied[-1].site_seq
            self._callbacks.on_events(applied)
        if applied and page.head <= self._event_cursor:
            self._say_presence()
        elif applied or (page.events and page.events[0].site_seq > self._event_cursor + 1):
            self._say_hello()

    def _take_watch(self, message: uplink_pb2.Watch) -> None:
        until_s = time.monotonic() + message.for_s
        self._watched = dict.fromkeys(message.devices, until_s)
        self._pumps[Up.WAVES].look_again()

    def _take_presence(self, message: uplink_pb2.HubPresence) -> None:
        self._offset.take(message, boottime_ns())
        best = self._offset.best()
        if best:
            self._buffer.clock.hear(best.ahead_ns, best.round_trip_ns // 2, best.at_ns)
        # Another run has not told what it still has of ours: it may have been restored from a backup.  While a greeting
        # is unanswered it is said again by itself.
        if self._hub_run and (message.hub_run != self._hub_run or message.event_head > self._event_cursor):
            self._say_hello()

    async def _keep_anchor(self, message: uplink_pb2.HubPresence) -> None:
        """Keep a head of the hub's audit trail, against a hub that rewrites its past."""
        head = head_of(message.audit_head)
        if message.HasField("audit_head") and head != self._anchor and head.is_genuine:
            await self._buffer.audit.keep_anchor(head)
            self._anchor = head

    async def _beat(self) -> None:
        while True:
            self._say_presence()
            await asyncio.sleep(self._config.presence_every_s)

    async def _greet(self) -> None:
        """Say our hello again until the hub answers, less and less often."""
        unanswered = 0
        while True:
            steady_s = self._config.presence_every_s
            wait_s = steady_s if self._hub_run else greeting.wait_s(unanswered, steady_s, random.random)
            try:
                async with asyncio.timeout(wait_s if self._must_greet() else None):
                    await self._is_stranger.wait()
            except TimeoutError:
                unanswered += 1
                if self._must_greet():
                    say = self._say_part if self._hub_run else self._say_hello
                    say()
            else:
                self._is_stranger.clear()
                unanswered = 0

    def _must_greet(self) -> bool:
        return self._links[Up.CARE].is_up and (not self._hub_run or self._roll.is_open)

    async def _watch(self) -> None:
        while True:
            self._judge()
            self._tell_what_is_worse()
            for pump in self._pumps.values():
                pump.look_again()
            await asyncio.sleep(WATCH_EVERY_S)

    def _judge(self) -> None:
        """Bring the state of the link up to date and tell of a change."""
        now_ns = self._buffer.clock.now_ns()
        heard_ago_s = None if self._heard_s is None else time.monotonic() - self._heard_s
        oldest_ns = self._buffer.waiting()[Up.VITALS].oldest_ns
        lag_ns = now_ns - oldest_ns if oldest_ns else 0
        state = presence.link_state(
            heard_ago_s, self._config.silence_after_s, self._offset.last_round_trip_ms(), lag_ns
        )
        if state == "lost" and self._hub_run:
            # Whoever comes back is greeted again: it may be another hub, or one without its last hour.
            self._hub_run = 0
            self._is_stranger.set()
            for up, pump in self._pumps.items():
                if up is not Up.ALARM:
                    pump.close()
        if state != self._state:
            log.info("uplink.state", state=state, before=self._state)
            self._state, self._since_ns = state, now_ns
            self._callbacks.on_link(self.link)

    def stuck(self) -> list[uplink_pb2.Stuck]:
        """Return what cannot go on and why: of the way to the hub, and of the node around it."""
        own = [uplink_pb2.Stuck(code=Code.STORE_SET_BACK, what=stream) for stream in sorted(self._set_back)]
        if self.is_second:
            own.append(uplink_pb2.Stuck(code=Code.NODE_SECOND))
        if self._second_way is not None and self._second_way.is_open:
            own.append(uplink_pb2.Stuck(code=Code.BROKER_SILENT))
        return [*own, *self._callbacks.stuck()]

    def _tell_what_is_worse(self) -> None:
        # By code alone: a count that goes up is told with the next heartbeat.
        stuck = {each.code for each in self.stuck()}
        if stuck - self._stuck_before:
            self._say_presence()
        self._stuck_before = stuck

    def _say_hello(self) -> None:
        """Greet the hub; where it is another run of it than the one that was told of all, `_say_part` goes on."""
        self._roll.begin({up: self._buffer.streams(up) for up in STORED})
        self._say_part()

    def _say_part(self) -> None:
        part = self._roll.part()
        states = [self._buffer.streams(CLASS_OF[key.kind]).get(key, StreamState(*key)) for key in part]
        hello = uplink_pb2.Hello(
            node=self._address.node,
            streams=[
                uplink_pb2.StreamState(
                    stream=state.stream, epoch=state.epoch, next_seq=state.next_seq, acked=state.acked
                )
                for state in states
            ],
            event_cursor=self._event_cursor,
            software_version=version("yuanzhen"),
            wire_version=WIRE_VERSION,
            run=self._buffer.life,
            previous_runs=self._buffer.former_lives,
            boot=self._buffer.clock.boot,
            epochs=self._buffer.epochs,
            hub_audit=None if self._anchor is None else head_message(self._anchor),
            is_part=len(part) < sum(len(self._buffer.streams(up)) for up in STORED),
        )
        self._say(Up.HELLO, hello.SerializeToString())

    def _say_presence(self) -> None:
        now_ns = self._buffer.clock.now_ns()
        waiting = self._buffer.waiting()
        hours = self._buffer.hours_left()
        message = uplink_pb2.Presence(
            at_unix_ns=now_ns,
            boottime_ns=boottime_ns(),
            waiting=presence.waiting_messages(presence.held_up(waiting, now_ns)),
            buffer_hours=-1 if hours is None else hours,
            stuck=self.stuck(),
            event_cursor=self._event_cursor,
            caught_up_to_unix_ns=presence.caught_up_to_ns(waiting, now_ns),
            devices=self._callbacks.devices(),
            radios=self._callbacks.radios(),
            behind=behind({up: self._buffer.streams(up).values() for up in (Up.VITALS, Up.WAVES)}, now_ns),
            tells_behind=True,
            run=self._buffer.life,
            hub_audit_n=0 if self._anchor is None else self._anchor.n,
        )
        self._say(Up.PRESENCE, message.SerializeToString())

    def _say(self, what: Up, payload: bytes) -> bool:
        """Send small talk at once; it is counted, and waits for nobody."""
        is_sent = self._links[Up.CARE].publish(what, payload)
        if is_sent:
            self.gate.spend(Traffic.ALARM, len(payload))
        return is_sent

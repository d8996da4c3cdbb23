"""What goes down to the nodes: receipts, event pages, presence of the hub, signalling.

Nothing here is remembered on disk: an edge that missed something says so with its next hello or presence.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection
from telemed.audit import Head
from telemed.audit_wire import head_message
from telemed.history import PACKER
from telemed.topics import Down, NodeAddress
from telemed.v1 import event_pb2, uplink_pb2

from cloud_hub.errors import StoreFailure
from cloud_hub.ingest.ports import EventLog
from cloud_hub.ingest.receipts import ReceiptBook, receipt
from cloud_hub.store.engine import Database
from cloud_hub.store.watermarks import Watermark

PRESENCE_S = 5.0
TICK_S = 0.25
GONE_AFTER_S = 60.0
WATCH_REPEAT_S, WATCH_FOR_S = 10.0, 30
"""How often nodes are told again whose waves are looked at, and how long one telling holds."""
PAGE_EVENTS = 200
PAGE_BYTES = 128 * 1024
LATEST_SEQ = 2**63 - 1
PAGE_AGAIN_S = 4.0
"""A node whose cursor stands still for this long after a page is sent the page again."""

Publish = Callable[[str, bytes, int], None]

log = structlog.get_logger()


@dataclass(slots=True)
class _Node:
    """What is known of one node since the hub started."""

    heard_s: float
    cursor: int | None = None
    """Last event that the node says it has; None until it says so."""
    sent: int = 0
    """Last event sent to it."""
    sent_s: float = float("-inf")
    wants_page: bool = False
    presence_s: float = float("-inf")
    boottime_ns: int = 0
    boottime_at_ns: int = 0
    audit_n: int = 0
    """Number of the head of the hub's audit trail that it keeps."""


class Downlink:
    """Sends to the nodes; all methods but `run` are called on the event loop and return at once."""

    def __init__(self, publish: Publish, care: Database, log_of_events: EventLog, window: Callable[[], int]) -> None:
        """Send nothing yet.

        Args:
            publish: topic, payload, QoS; what it loses is sent again later.
            care: where the event log is.
            log_of_events: reads the event log.
            window: credit per stream that receipts give to the edges now.
        """
        self.outlets = [publish]
        """Where everything goes down; each is given all of it."""
        self._care = care
        self._events = log_of_events
        self._window = window
        self._book = ReceiptBook()
        self._nodes: dict[NodeAddress, _Node] = {}
        self._heads: dict[str, int] = {}
        self._watched: dict[NodeAddress, frozenset[str]] = {}
        self._run = secrets.randbits(63) + 1
        self._pages_wanted = asyncio.Event()
        self.on_receipts: Callable[[NodeAddress, uplink_pb2.Receipts], None] = lambda _address, _receipts: None
        """Told of each message of receipts, for the nodes' other ways down."""
        self.audit_head: Callable[[], Head | None] = lambda: None
        """The newest signed head of the hub's audit trail, for the nodes to keep; set by whoever joins the parts."""

    def _publish(self, topic: str, payload: bytes, qos: int) -> None:
        for publish in self.outlets:
            publish(topic, payload, qos)

    def signal(self, address: NodeAddress, signal: uplink_pb2.Signal) -> None:
        """Send one step of consult signalling to a node."""
        self._publish(address.down(Down.SIGNAL), signal.SerializeToString(), 1)

    def watch(self, watched: Mapping[NodeAddress, frozenset[str]]) -> None:
        """Tell the nodes whose waves are looked at now, by node and device; those not named: nobody's."""
        before, self._watched = self._watched, dict(watched)
        for address in {**before, **watched}:
            devices = watched.get(address, frozenset())
            if devices != before.get(address, frozenset()):
                self._send_watch(address, devices)

    def events_changed(self, site: str) -> None:
        """Send the new events of a site to its nodes."""
        for address, node in self._nodes.items():
            if address.site == site and node.cursor is not None:
                node.wants_page = True
        self._pages_wanted.set()

    def heard(self, address: NodeAddress) -> None:
        """Note that a node is there."""
        node = self._nodes.get(address)
        if node is None:
            self._nodes[address] = _Node(heard_s=time.monotonic())
        else:
            node.heard_s = time.monotonic()

    def committed(self, marks: Mapping[tuple[NodeAddress, str, int], Watermark], *, urgent: bool) -> None:
        """Tell the nodes what is stored of their streams, in one message each: at once if urgent, else now and then."""
        now_s = time.monotonic()
        due = {
            address
            for (address, stream, epoch), mark in marks.items()
            if self._book.note(address, (stream, epoch), mark, now_s, urgent=urgent)
        }
        for address in due:
            self._send_receipts(address, now_s)

    def refuse(self, address: NodeAddress, run: int) -> None:
        """Tell a second machine under a node's name, by its run, to be silent."""
        self._send(uplink_pb2.Receipts(refused_run=run), address)

    def greeted(
        self,
        address: NodeAddress,
        marks: dict[tuple[str, int], Watermark],
        as_of_ns: int,
        cursor: int,
        node_run: int = 0,
    ) -> None:
        """Answer a hello: a receipt for each stream that it named, and an event page from its cursor.

        Args:
            address: the node.
            marks: how far each stream had come.
            as_of_ns: wall clock before that was looked up; what is committed later may have been told already, and a
                node takes a later receipt that says less for a hub that lost data.
            cursor: the last event that the node has.
            node_run: its run, as it said.
        """
        self.heard(address)
        receipts = [receipt(stream, epoch, mark) for (stream, epoch), mark in marks.items()]
        answer = uplink_pb2.Receipts(receipts=receipts, hub_run=self._run, node_run=node_run, history_packer=PACKER)
        self._send(answer, address, as_of_ns)
        node = self._nodes[address]
        node.cursor, node.sent, node.wants_page = cursor, cursor, True
        self._pages_wanted.set()

    def present(self, address: NodeAddress, presence: uplink_pb2.Presence) -> None:
        """Answer a presence, and send events again that the node should have and has not."""
        self.heard(address)
        node, now_s = self._nodes[address], time.monotonic()
        node.boottime_ns, node.boottime_at_ns = presence.boottime_ns, time.monotonic_ns()
        node.audit_n = presence.hub_audit_n
        stands_still = presence.event_cursor < node.sent and now_s - node.sent_s > PAGE_AGAIN_S
        # The hub started again while the node stayed connected to the broker: it will say no hello.
        is_new = node.cursor is None
        if node.cursor is None or stands_still or presence.event_cursor < node.cursor:
            node.sent = presence.event_cursor
        node.cursor = presence.event_cursor
        if is_new or stands_still or node.sent < self._heads.get(address.site, 0):
            node.wants_page = True
            self._pages_wanted.set()
        self._send_presence(address, node, now_s)

    async def run(self) -> None:
        """Keep sending what is due until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick())
            tasks.create_task(self._page())

    async def _tick(self) -> None:
        watched_s = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            for address in self._book.nodes():
                self._send_receipts(address, now_s)
            if now_s - watched_s >= WATCH_REPEAT_S:
                watched_s = now_s
                for address, devices in self._watched.items():
                    self._send_watch(address, devices)
            for address, node in self._nodes.items():
                if now_s - node.heard_s < GONE_AFTER_S and now_s - node.presence_s >= PRESENCE_S:
                    self._send_presence(address, node, now_s)

    def _send_watch(self, address: NodeAddress, devices: frozenset[str]) -> None:
        message = uplink_pb2.Watch(devices=sorted(devices), for_s=WATCH_FOR_S)
        self._publish(address.down(Down.WATCH), message.SerializeToString(), 1)

    def _send_receipts(self, address: NodeAddress, now_s: float) -> None:
        message = self._book.due(address, now_s)
        if message.receipts:
            self._send(message, address)

    def _send(self, message: uplink_pb2.Receipts, address: NodeAddress, as_of_ns: int = 0) -> None:
        message.hub_unix_ns, message.window_hint = as_of_ns or time.time_ns(), self._window()
        self._publish(address.down(Down.RECEIPT), message.SerializeToString(), 0)
        self.on_receipts(address, message)

    def _send_presence(self, address: NodeAddress, node: _Node, now_s: float) -> None:
        node.presence_s = now_s
        message = uplink_pb2.HubPresence(
            hub_unix_ns=time.time_ns(),
            echo_boottime_ns=node.boottime_ns,
            held_ns=time.monotonic_ns() - node.boottime_at_ns if node.boottime_at_ns else 0,
            event_head=self._heads.get(address.site, 0),
            hub_run=self._run,
        )
        head = self.audit_head()
        if head is not None and head.n != node.audit_n:
            message.audit_head.CopyFrom(head_message(head))
        self._publish(address.down(Down.PRESENCE), message.SerializeToString(), 0)

    async def _page(self) -> None:
        while True:
            await self._pages_wanted.wait()
            self._pages_wanted.clear()
            for address, node in list(self._nodes.items()):
                if node.wants_page:
                    node.wants_page = False
                    await self._send_page(address, node)

    async def _send_page(self, address: NodeAddress, node: _Node) -> None:
        after = node.sent

        def look(connection: Connection) -> event_pb2.EventPage:
            # A cursor that no database can hold is as good as the last one that it can.
            known = min(after, LATEST_SEQ)
            events = self._events.events_after(connection, address.site, known, PAGE_EVENTS)
            return event_pb2.EventPage(events=events, head=self._events.head(connection, address.site))

        try:
            page = await self._care.read(look)
        except StoreFailure as failure:
            log.error("event-page-failed", why=str(failure))
            return
        while len(page.events) > 1 and page.ByteSize() > PAGE_BYTES:
            del page.events[len(page.events) // 2 :]
        if node.sent != after:
            # A hello came meanwhile and asks from elsewhere.
            node.wants_page = True
            self._pages_wanted.set()
            return
        self._heads[address.site] = page.head
        self._publish(address.down(Down.EVENTS), page.SerializeToString(), 1)
        node.sent_s = time.monotonic()
        if page.events:
            node.sent = page.events[-1].site_seq
            if node.sent < page.head:
                node.wants_page = True
                self._pages_wanted.set()

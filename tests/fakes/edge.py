"""An edge as the hub sees it: an outbox, resending until the receipt, nothing else."""

import asyncio
import contextlib
from collections.abc import Callable

from telemed.topics import Down, NodeAddress, Up
from telemed.v1 import audit_pb2, event_pb2, uplink_pb2
from telemed.wire import Record, encode, split

from cloud_hub.ingest.mqtt import BrokerLink, BrokerLogin

RESEND_S = 0.4


class FakeEdge:
    """Sends what is not receipted, again and again."""

    def __init__(self, login: BrokerLogin, address: NodeAddress) -> None:
        self.address = address
        self.link = BrokerLink(login, [address.down_prefix + "#"], self._take)
        self.outbox: dict[tuple[str, int, int], tuple[Up, Record]] = {}
        self.receipts: list[uplink_pb2.Receipt] = []
        self.pages: list[event_pb2.EventPage] = []
        self.presences: list[uplink_pb2.HubPresence] = []
        self.signals: list[uplink_pb2.Signal] = []
        self.window = 0
        self.history_packer = 0
        self._news = asyncio.Event()

    def send(self, what: Up, *records: Record) -> None:
        """Put records into the outbox and send them once at once."""
        for record in records:
            self.outbox[record.stream, record.epoch, record.seq] = (what, record)
        self._publish(what, list(records))

    def raw(self, what: Up, payload: bytes) -> None:
        """Send any bytes, without the outbox."""
        self.link.publish(self.address.up(what), payload, 1)

    async def run(self) -> None:
        """Connect, and resend on a timer."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run())
            tasks.create_task(self._resend())

    async def until(self, condition: Callable[[], bool], within_s: float = 40) -> None:
        """Wait until something that came down makes a condition true."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await self._news.wait()

    async def drained(self, within_s: float = 40) -> None:
        """Wait until everything is receipted."""
        await self.until(lambda: not self.outbox, within_s)

    def last(self, stream: str) -> uplink_pb2.Receipt:
        """Return the newest receipt of a stream."""
        return [receipt for receipt in self.receipts if receipt.stream == stream][-1]

    def hello(
        self,
        *streams: uplink_pb2.StreamState,
        cursor: int = 0,
        anchor: audit_pb2.AuditHead | None = None,
        is_part: bool = False,
    ) -> None:
        """Say hello."""
        message = uplink_pb2.Hello(
            node=self.address.node,
            streams=streams,
            event_cursor=cursor,
            wire_version=1,
            hub_audit=anchor,
            is_part=is_part,
        )
        self.raw(Up.HELLO, message.SerializeToString())

    async def _resend(self) -> None:
        while True:
            await asyncio.sleep(RESEND_S)
            for what in Up:
                self._publish(what, [record for kind, record in self.outbox.values() if kind is what])

    def _publish(self, what: Up, records: list[Record]) -> None:
        if self.link.is_connected:
            for run in split(records):
                self.link.publish(self.address.up(what), encode(run), 1)

    def _take(self, topic: str, payload: bytes) -> None:
        what = Down(topic.removeprefix(self.address.down_prefix))
        if what is Down.RECEIPT:
            message = uplink_pb2.Receipts.FromString(payload)
            self.window = message.window_hint
            self.history_packer = message.history_packer or self.history_packer
            for receipt in message.receipts:
                self.receipts.append(receipt)
                self._acked(receipt)
        elif what is Down.EVENTS:
            self.pages.append(event_pb2.EventPage.FromString(payload))
        elif what is Down.PRESENCE:
            self.presences.append(uplink_pb2.HubPresence.FromString(payload))
        else:
            self.signals.append(uplink_pb2.Signal.FromString(payload))
        self._news.set()

    def _acked(self, receipt: uplink_pb2.Receipt) -> None:
        for key in list(self.outbox):
            stream, epoch, seq = key
            in_gap = any(gap.first <= seq <= gap.last for gap in receipt.gaps)
            if (stream, epoch) == (receipt.stream, receipt.epoch) and (
                seq <= receipt.contig or (seq <= receipt.max and not in_gap)
            ):
                del self.outbox[key]

"""What a node's alarms that come again by datagram are answered with, without asking the store again: pure.

Every repeat of a datagram would otherwise cost a synced commit; at half the packets lost there are four an alarm.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from enum import Enum

from telemed.datagram import covers
from telemed.v1 import uplink_pb2
from telemed.wire import Record

REMEMBERED = 512
STREAMS_LIMIT = 64
UNDER_WAY_S = 0.25
"""A record handed to the intake is not handed again within this; afterwards the intake may have let it go."""


class Came(Enum):
    """How much of a container is news."""

    NEW = "new"
    UNDER_WAY = "under way"
    STORED = "stored"


class Recent:
    """The records that one node sent lately and the newest receipts of its alarm streams."""

    def __init__(self) -> None:
        self._handed: OrderedDict[tuple[str, int, int, int], float] = OrderedDict()
        self._receipts: OrderedDict[tuple[str, int], tuple[uplink_pb2.Receipt, int]] = OrderedDict()
        """With the hub's time at which each was given."""
        self._window_hint = 0

    def judge(self, records: Sequence[Record], now_s: float) -> Came:
        """Return whether the records must go to the intake, and remember those that do.

        The checksum belongs to what is remembered: another content under the same number is always news.
        """
        keys = [(record.stream, record.epoch, record.seq, record.crc) for record in records]
        if all(key in self._handed for key in keys):
            if all(self._is_stored(*key[:3]) for key in keys):
                return Came.STORED
            if all(now_s - self._handed[key] < UNDER_WAY_S for key in keys):
                return Came.UNDER_WAY
        for key in keys:
            self._handed[key] = now_s
        while len(self._handed) > REMEMBERED:
            self._handed.popitem(last=False)
        return Came.NEW

    def note(self, told: uplink_pb2.Receipts) -> None:
        """Take in what the hub has committed; the answer to a greeting may be older than what was told meanwhile."""
        for receipt in told.receipts:
            name = (receipt.stream, receipt.epoch)
            _, known_ns = self._receipts.get(name, (None, 0))
            if told.hub_unix_ns >= known_ns:
                self._receipts[name] = (receipt, told.hub_unix_ns)
        self._window_hint = told.window_hint
        while len(self._receipts) > STREAMS_LIMIT:
            self._receipts.popitem(last=False)

    def receipts_for(self, records: Iterable[Record]) -> uplink_pb2.Receipts:
        """Return the newest receipts of the streams of these records, as old as the oldest of them."""
        names = dict.fromkeys((record.stream, record.epoch) for record in records)
        found = [self._receipts[name] for name in names if name in self._receipts]
        return uplink_pb2.Receipts(
            receipts=[receipt for receipt, _ in found],
            hub_unix_ns=min((given_ns for _, given_ns in found), default=0),
            window_hint=self._window_hint,
        )

    def _is_stored(self, stream: str, epoch: int, seq: int) -> bool:
        found = self._receipts.get((stream, epoch))
        return found is not None and covers(found[0], seq)


def fitted(message: uplink_pb2.Receipts, room_bytes: int) -> bytes | None:
    """Return the receipts in at most `room_bytes`; where gaps must be left out, less is claimed; None if nothing fits.

    What claims less than the hub has bears no time: a node takes a later receipt that says less for a hub that lost
    data.  It is repeated with every datagram that comes again, so that what is left out costs a repeat and no more.
    """
    if message.ByteSize() <= room_bytes:
        return message.SerializeToString()
    for gaps in (8, 2, 0):
        short = uplink_pb2.Receipts(window_hint=message.window_hint)
        short.receipts.extend(_shortened(receipt, gaps) for receipt in message.receipts)
        if short.ByteSize() <= room_bytes:
            return short.SerializeToString()
    return None


def _shortened(receipt: uplink_pb2.Receipt, gaps: int) -> uplink_pb2.Receipt:
    if len(receipt.gaps) <= gaps:
        return receipt
    return uplink_pb2.Receipt(
        stream=receipt.stream,
        epoch=receipt.epoch,
        contig=receipt.contig,
        max=receipt.gaps[gaps].first - 1,
        gaps=receipt.gaps[:gaps],
    )

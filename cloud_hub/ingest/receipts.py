"""When which receipt is due: pure (reliability 2.3.4).

A receipt is idempotent and monotone within an epoch: it may be lost, repeated or late.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from telemed.topics import NodeAddress
from telemed.v1 import uplink_pb2

from cloud_hub.store.watermarks import Watermark

GAPS_LIMIT = 32
SPACING_S = 1.0
EAGER_SPACING_S = 0.1
EAGER_RECORDS = 32
"""So many more records since it was last told: an edge that is catching up waits for the receipt to go on."""
REPEAT_S = 10.0
ACTIVE_S = 60.0
"""Streams that nothing arrived of for this long are not repeated; a hello asks for them again."""

StreamName = tuple[str, int]
"""Name and epoch within a node."""


@dataclass(slots=True)
class _Slot:
    mark: Watermark
    told: Watermark
    sent_s: float = float("-inf")
    changed_s: float = 0.0

    def is_due(self, now_s: float) -> bool:
        """Whether the news of this stream may be told now."""
        since_s = now_s - self.sent_s
        return since_s >= SPACING_S or (since_s >= EAGER_SPACING_S and self._is_eager())

    def is_active(self, now_s: float) -> bool:
        return now_s - self.changed_s < ACTIVE_S

    def _is_eager(self) -> bool:
        mark, told = self.mark, self.told
        if mark.max - told.max >= EAGER_RECORDS or mark.contig - told.contig >= EAGER_RECORDS:
            return True
        return bool(told.gaps) and told.missing - mark.missing >= EAGER_RECORDS


@dataclass(slots=True)
class _Node:
    slots: dict[StreamName, _Slot] = field(default_factory=dict)
    news: dict[StreamName, _Slot] = field(default_factory=dict)
    """Streams whose watermark was not told yet."""
    repeat_s: float = float("inf")
    """No stream without news is told again before this."""


class ReceiptBook:
    """The newest watermark of every stream that is active, and when it was last told.

    It is asked of every node several times a second.  Then only streams with news are looked at, and all of a node
    when one of them may be due to be told once more.
    """

    def __init__(self) -> None:
        self._nodes: dict[NodeAddress, _Node] = {}

    def note(self, address: NodeAddress, name: StreamName, mark: Watermark, now_s: float, *, urgent: bool) -> bool:
        """Take a committed watermark; return whether a receipt should go out now."""
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = _Node()
        slot = node.slots.get(name)
        if slot is None:
            slot = node.slots[name] = _Slot(mark, Watermark())
        slot.mark, slot.changed_s = mark, now_s
        if urgent:
            slot.sent_s = float("-inf")
        node.news[name] = slot
        return slot.is_due(now_s)

    def due(self, address: NodeAddress, now_s: float) -> uplink_pb2.Receipts:
        """Return the receipts to send to a node now, perhaps none, and take them as sent.

        Where one is due, all streams with news are told with it: a message more costs both sides more than a line more.
        """
        out, node = uplink_pb2.Receipts(), self._nodes.get(address)
        if node is None:
            return out
        told = self._again(node, now_s)
        if told or any(slot.is_due(now_s) for slot in node.news.values()):
            told |= node.news
            node.news = {}
        for slot in told.values():
            slot.sent_s, slot.told = now_s, slot.mark
        if told:
            node.repeat_s = min(node.repeat_s, now_s + REPEAT_S)
        for (stream, epoch), slot in told.items():
            mark = slot.mark
            # Made in its place: to copy it there takes as long as to make it.
            _tell_gaps(out.receipts.add(stream=stream, epoch=epoch, contig=mark.contig, max=mark.max), mark)
        return out

    def nodes(self) -> Iterable[NodeAddress]:
        """Return the nodes that have streams."""
        return list(self._nodes)

    def _again(self, node: _Node, now_s: float) -> dict[StreamName, _Slot]:
        """Return the streams that are to be told once more, without news."""
        if now_s < node.repeat_s:
            return {}
        quiet = {name: slot for name, slot in node.slots.items() if name not in node.news and slot.is_active(now_s)}
        again = {name: slot for name, slot in quiet.items() if now_s - slot.sent_s >= REPEAT_S}
        waits_s = [slot.sent_s for name, slot in quiet.items() if name not in again]
        node.repeat_s = min(waits_s, default=float("inf")) + REPEAT_S
        return again


def receipt(stream: str, epoch: int, mark: Watermark) -> uplink_pb2.Receipt:
    """Return the receipt of a watermark; one with too many gaps speaks only of the numbers before the rest."""
    out = uplink_pb2.Receipt(stream=stream, epoch=epoch, contig=mark.contig, max=mark.max)
    _tell_gaps(out, mark)
    return out


def _tell_gaps(out: uplink_pb2.Receipt, mark: Watermark) -> None:
    if not mark.gaps:
        return
    if len(mark.gaps) > GAPS_LIMIT:
        out.max = mark.gaps[GAPS_LIMIT][0] - 1
    out.gaps.extend(uplink_pb2.SeqRange(first=first, last=last) for first, last in mark.gaps[:GAPS_LIMIT])

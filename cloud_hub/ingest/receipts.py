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
    sent_s: float = float("-inf")
    changed_s: float = 0.0
    is_due: bool = True
    told: Watermark = field(default_factory=Watermark)

    def may_go(self, now_s: float) -> bool:
        """Whether a receipt is due now.

        Asked of every stream several times a second, so the cheap answers come first.
        """
        since_s = now_s - self.sent_s
        if since_s < EAGER_SPACING_S:
            return False
        if self.is_due:
            return since_s >= SPACING_S or self._is_eager()
        return since_s >= REPEAT_S and now_s - self.changed_s < ACTIVE_S

    def _is_eager(self) -> bool:
        more = max(
            self.mark.max - self.told.max, self.mark.contig - self.told.contig, self.told.missing - self.mark.missing
        )
        return more >= EAGER_RECORDS


class ReceiptBook:
    """The newest watermark of every stream that is active, and when it was last told."""

    def __init__(self) -> None:
        self._slots: dict[NodeAddress, dict[StreamName, _Slot]] = {}

    def note(self, address: NodeAddress, name: StreamName, mark: Watermark, now_s: float, *, urgent: bool) -> bool:
        """Take a committed watermark; return whether a receipt should go out now."""
        slots = self._slots.setdefault(address, {})
        slot = slots.get(name)
        if slot is None:
            slot = slots[name] = _Slot(mark)
        slot.mark, slot.changed_s, slot.is_due = mark, now_s, True
        if urgent:
            slot.sent_s = float("-inf")
        return slot.may_go(now_s)

    def due(self, address: NodeAddress, now_s: float) -> list[uplink_pb2.Receipt]:
        """Return the receipts to send to a node now, and take them as sent.

        Where one is due, all streams with news are told with it: a message more costs both sides more than a line more.
        """
        slots = self._slots.get(address, {})
        due, news = [], []
        for name, slot in slots.items():
            if slot.may_go(now_s):
                due.append((name, slot))
            elif slot.is_due:
                news.append((name, slot))
        if not due:
            return []
        out = []
        for name, slot in (*due, *news):
            slot.sent_s, slot.is_due, slot.told = now_s, False, slot.mark
            out.append(receipt(*name, slot.mark))
        return out

    def nodes(self) -> Iterable[NodeAddress]:
        """Return the nodes that have streams."""
        return list(self._slots)


def receipt(stream: str, epoch: int, mark: Watermark) -> uplink_pb2.Receipt:
    """Return the receipt of a watermark; one with too many gaps speaks only of the numbers before the rest."""
    out = uplink_pb2.Receipt(stream=stream, epoch=epoch, contig=mark.contig, max=mark.max)
    if len(mark.gaps) > GAPS_LIMIT:
        out.max = mark.gaps[GAPS_LIMIT][0] - 1
    out.gaps.extend(uplink_pb2.SeqRange(first=first, last=last) for first, last in mark.gaps[:GAPS_LIMIT])
    return out

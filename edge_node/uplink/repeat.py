"""When which alarm goes out by datagram, again and again until its receipt (pure).

At once, then every `wait` until a receipt covers it; `wait` is the smoothed round trip and a quarter, at least 50 ms.
Two goes without an answer may be chance, but mostly mean that much is lost: the next ones follow twice as fast,
unless round trips show a queue.  Where pings tell that much is lost, and no queue stands, none waits for its answer:
the second goes 20 ms after the first, the others half a wait apart.

After eight goes the wait grows, up to a second: by then at half the packets lost an alarm has arrived 255 times in 256,
and what is still missing is missing for another reason.  Where much is known to be lost chance is reason enough, and
the wait grows only after twenty-four.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from telemed.datagram import BODY_LIMIT_BYTES, SEALED_BYTES, covers
from telemed.v1 import uplink_pb2
from telemed.wire import HEAD_BYTES, Record, encode

PACKET_HEAD_BYTES = 28
"""IPv4 and UDP: what a datagram costs the link beside itself."""
CONTAINER_HEAD_BYTES = 7
MOST_RECORDS = 255
GATHER_S = 0.01
"""A record due within this goes along with one that is due now."""
HELD_S = 0.02
"""How soon the budget is asked again after it refused."""

SLOWER_WEIGHT, QUICKER_WEIGHT = 0.5, 0.125
"""How much one measured round trip counts."""

MaySend = Callable[[int, float], bool]
"""Ask the budget of the alarm class for so many bytes on the link, at a time; True takes them."""


@dataclass(frozen=True, slots=True)
class RepeatPolicy:
    """How alarms are repeated."""

    shortest_s: float = 0.05
    longest_s: float = 1.0
    round_trips: float = 1.25
    patient_times: int = 2
    """So many goes wait for their answers; those after them half as long."""
    steady_times: int = 8
    """After so many the waits grow."""
    twin_s: float = 0.02
    """Where much is lost the second go follows the first so soon."""
    lossy_steady_times: int = 24
    """The same where much is lost."""
    growth: float = 1.5
    most_waiting: int = 256
    """Records under way at once; the others wait in the buffer."""


@dataclass(slots=True)
class _Item:
    record: Record
    due_s: float
    sends: int = 0
    first_s: float = 0.0

    @property
    def size_bytes(self) -> int:
        return HEAD_BYTES + len(self.record.payload) + 1 + len(self.record.stream.encode())


class Repeats:
    """The alarms of one path that the hub has not receipted; all times are of one steady clock."""

    def __init__(self, policy: RepeatPolicy | None = None) -> None:
        self._policy = policy or RepeatPolicy()
        self._items: dict[tuple[str, int, int], _Item] = {}
        self._round_trip_s: float | None = None
        self._held_until_s = 0.0
        self.is_queue_known_short = True
        """False where a queue on the way explains that answers are late: then nothing is repeated faster."""
        self.is_much_lost = False
        """Whether many pings go unanswered: then, unless a queue explains it, nothing waits for its answer."""
        self.body_limit_bytes = BODY_LIMIT_BYTES
        """Largest container; made smaller where the path takes less."""
        self.too_large = 0
        """Records that fit no datagram, left to the other paths."""

    @property
    def waiting(self) -> int:
        """How many records wait for their receipt."""
        return len(self._items)

    @property
    def wait_s(self) -> float:
        """The wait between two goes of a record, while it does not grow."""
        trip_s = self._round_trip_s or 0.0
        return min(self._policy.longest_s, max(self._policy.shortest_s, self._policy.round_trips * trip_s))

    def add(self, records: Iterable[Record], now_s: float) -> int:
        """Take records to be sent at once; return how many of them, from the first, need not be offered again.

        A record that fits no datagram is passed over and counted in `too_large`.
        """
        taken = 0
        for record in records:
            if len(self._items) >= self._policy.most_waiting:
                break
            taken += 1
            item = _Item(record, now_s)
            if CONTAINER_HEAD_BYTES + item.size_bytes > self.body_limit_bytes:
                self.too_large += 1
                continue
            self._items.setdefault((record.stream, record.epoch, record.seq), item)
        return taken

    def acknowledged(self, stream: str, epoch: int, seqs: Iterable[int]) -> None:
        """Drop records that the hub has by whatever path."""
        for seq in seqs:
            self._items.pop((stream, epoch, seq), None)

    def take(self, receipts: Iterable[uplink_pb2.Receipt], now_s: float) -> None:
        """Drop what receipts that came by this path cover."""
        for item in self._covered(receipts):
            # Of one that went twice nobody knows which of them was answered (RFC 6298, 3).
            if item.sends == 1:
                self.measured(now_s - item.first_s)

    def forget(self, receipts: Iterable[uplink_pb2.Receipt]) -> None:
        """Drop what receipts that came by another path cover."""
        self._covered(receipts)

    def _covered(self, receipts: Iterable[uplink_pb2.Receipt]) -> list[_Item]:
        told = {(receipt.stream, receipt.epoch): receipt for receipt in receipts}
        done = [key for key in self._items if key[:2] in told and covers(told[key[:2]], key[2])]
        return [self._items.pop(key) for key in done]

    def measured(self, round_trip_s: float) -> None:
        """Take in one measured round trip."""
        before_s = self._round_trip_s
        if before_s is None:
            self._round_trip_s = round_trip_s
        else:
            # A way that has become slow is believed soon: repeats that come too early make its queue longer.
            weight = SLOWER_WEIGHT if round_trip_s > before_s else QUICKER_WEIGHT
            self._round_trip_s = before_s + (round_trip_s - before_s) * weight

    def answered(self, round_trip_s: float) -> None:
        """Take in the round trip of a ping, which waits for no commit at the hub.

        While alarms wait for theirs only a longer one counts, unless hardly any of them would tell it.
        """
        if self.is_much_lost or not self._items or round_trip_s > (self._round_trip_s or 0.0):
            self.measured(round_trip_s)

    def restart(self, now_s: float) -> None:
        """Make everything due now: there is a new session, and what went into the old one may be lost."""
        for item in self._items.values():
            item.due_s, item.sends = now_s, 0

    def next_s(self) -> float | None:
        """Return when something is due, None if nothing waits."""
        due_s = min((item.due_s for item in self._items.values()), default=None)
        return None if due_s is None else max(due_s, self._held_until_s)

    def due(self, now_s: float, may_send: MaySend) -> list[bytes]:
        """Return the containers to send now, each for one datagram, and take them as sent.

        What was never sent goes before what is repeated; where the budget refuses, the first of a datagram is asked for
        alone, and the rest stays due.
        """
        if not any(item.due_s <= now_s for item in self._items.values()):
            return []
        ready = [item for item in self._items.values() if item.due_s <= now_s + GATHER_S]
        ready.sort(key=lambda item: (item.sends > 0, item.due_s))
        out = []
        for group in self._grouped(ready):
            parts = (group, group[:1]) if len(group) > 1 else (group,)
            sent = next((part for part in parts if may_send(_cost_bytes(part), now_s)), [])
            for item in sent:
                self._sent(item, now_s)
            if sent:
                out.append(encode([item.record for item in sent]))
            if len(sent) < len(group):
                self._held_until_s = now_s + HELD_S
                break
        return out

    def _grouped(self, items: Sequence[_Item]) -> list[list[_Item]]:
        groups: list[list[_Item]] = []
        room_bytes = 0
        for item in items:
            if not groups or item.size_bytes > room_bytes or len(groups[-1]) >= MOST_RECORDS:
                groups.append([])
                room_bytes = self.body_limit_bytes - CONTAINER_HEAD_BYTES
            groups[-1].append(item)
            room_bytes -= item.size_bytes
        return groups

    def _sent(self, item: _Item, now_s: float) -> None:
        if item.sends == 0:
            item.first_s = now_s
        item.sends += 1
        item.due_s = now_s + self._wait_after_s(item.sends)

    def _wait_after_s(self, sends: int) -> float:
        policy = self._policy
        is_hasty = self.is_queue_known_short and self.is_much_lost
        if is_hasty and sends == 1:
            return policy.twin_s
        patient_times = 0 if is_hasty else policy.patient_times
        steady_times = policy.lossy_steady_times if is_hasty else policy.steady_times
        if self.is_queue_known_short and patient_times < sends <= steady_times:
            return max(policy.shortest_s, self.wait_s / 2)
        grown = max(0, sends - steady_times)
        return min(policy.longest_s, self.wait_s * policy.growth ** min(grown, 20))


def _cost_bytes(items: Sequence[_Item]) -> int:
    """What a datagram with these records costs the link."""
    return len(encode([item.record for item in items])) + SEALED_BYTES + PACKET_HEAD_BYTES

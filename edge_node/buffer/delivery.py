"""What of one stream is under way to the hub: stored, sent, acknowledged (pure; decision 27).

A record is done only by the hub's receipt after its commit.  What is not receipted in time is sent again;
what was stored while connected goes ahead of the backlog, which never fills more than half the window.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

WINDOW = 64
"""Records of one stream under way at most, until the hub gives more or less credit (reliability 2.2, 2.3)."""
LARGEST_WINDOW = 256
"""However much credit a hub gives."""
ALARM_WINDOW = 32
"""The alarms' own credit, which no slow hub can take away."""
GAP_LIMIT = 32
"""A receipt names no more gaps than this; beyond the last one nothing is known."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the hub has of a stream."""

    contig: int
    """Every number up to this one is there."""
    max: int
    gaps: tuple[tuple[int, int], ...]
    """Runs of missing numbers between contig and max, both ends included."""
    hub_ns: int
    """Hub's clock when it said so; tells an old receipt from a hub that lost data."""

    def has(self, seq: int) -> bool:
        """Whether the hub is known to have this number."""
        if seq <= self.contig:
            return True
        return seq <= self.known_to and not any(first <= seq <= last for first, last in self.gaps)

    @property
    def known_to(self) -> int:
        """Last number of which this receipt says whether the hub has it."""
        return self.gaps[-1][1] if len(self.gaps) >= GAP_LIMIT else self.max

    def lost_since(self, earlier: "Receipt") -> bool:
        """Whether numbers that the hub had by the earlier receipt are missing in this one."""
        # Where the list of gaps is cut short, max is too.
        is_whole = len(self.gaps) < GAP_LIMIT
        if self.contig < earlier.contig or (is_whole and self.max < earlier.max):
            return True
        return any(
            first <= min(last, earlier.known_to)
            and not any(low <= first and min(last, earlier.known_to) <= high for low, high in earlier.gaps)
            for first, last in self.gaps
        )


NOTHING = Receipt(0, 0, (), 0)


@dataclass(slots=True)
class Delivery:
    """The delivery state of one stream; numbers only, the caller reads and sends the records."""

    acked: int
    next_seq: int
    window: int = WINDOW
    receipt: Receipt = NOTHING
    flying: dict[int, float] = field(default_factory=dict)
    """Number -> when it was last sent, seconds."""
    turn: int = 0
    """Counts restarts: what was planned before one must not be noted as sent after it."""
    live_from: int = field(init=False)
    live_at: int = field(init=False)
    backlog_at: int = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew after a reconnection: all that is not acknowledged is to be sent, as backlog."""
        self.turn += 1
        self.flying.clear()
        self.backlog_at = self.acked + 1
        self.live_from = self.live_at = self.next_seq

    def plan(self, now_s: float, resend_after_s: float) -> list[int]:
        """Return the numbers to send now: overdue ones, then live ones, then backlog."""
        overdue = [seq for seq, sent_s in self.flying.items() if now_s - sent_s >= resend_after_s]
        room = max(0, self.window - len(self.flying))
        live = list(range(self.live_at, min(self.next_seq, self.live_at + room)))
        old_flying = sum(seq < self.live_from for seq in self.flying)
        old_room = min(room - len(live), max(1, self.window // 2) - old_flying)
        return overdue + live + self._backlog(old_room)

    def sent(self, seqs: Iterable[int], now_s: float) -> None:
        """Note that these numbers were handed to the network."""
        for seq in seqs:
            if not self.receipt.has(seq) and seq > self.acked:
                self.flying[seq] = now_s
            if seq >= self.live_from:
                self.live_at = max(self.live_at, seq + 1)
            else:
                self.backlog_at = max(self.backlog_at, seq + 1)

    def gone(self, seqs: Iterable[int]) -> None:
        """Note that these numbers are no longer in the store and cannot be sent."""
        seqs = list(seqs)
        self.sent(seqs, 0)
        for seq in seqs:
            self.flying.pop(seq, None)

    def take(self, receipt: Receipt) -> bool:
        """Take in a receipt; return whether `acked` changed.

        Less than before counts only if the hub said it after everything heard so far: then the hub has
        lost data, and all after its contig is sent again from the copies kept here.
        """
        if receipt.contig >= self.next_seq:
            return False  # numbers never given out here: another node writes under this name
        if receipt.hub_ns <= self.receipt.hub_ns and receipt.contig < self.acked:
            return False
        if receipt.contig < self.acked or (receipt.hub_ns > self.receipt.hub_ns and receipt.lost_since(self.receipt)):
            changed = receipt.contig != self.acked
            self.acked, self.receipt = receipt.contig, receipt
            self.restart()
            return changed
        changed = receipt.contig > self.acked
        self.acked = receipt.contig
        if receipt.hub_ns >= self.receipt.hub_ns:
            self.receipt = receipt
        self.flying = {seq: sent_s for seq, sent_s in self.flying.items() if not receipt.has(seq)}
        self.backlog_at = max(self.backlog_at, self.acked + 1)
        return changed

    def _backlog(self, room: int) -> list[int]:
        found: list[int] = []
        for seq in range(self.backlog_at, self.live_from):
            if len(found) >= room:
                break
            if not self.receipt.has(seq):
                found.append(seq)
        return found


def runs(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Return numbers as runs (first, last), ascending."""
    found: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if found and found[-1][1] == seq - 1:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    return found

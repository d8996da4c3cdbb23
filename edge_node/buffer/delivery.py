"""What of one stream is under way to the hub: stored, sent, acknowledged (pure; decision 27, reliability 2.4).

A record is done only by the hub's receipt after its commit.  What is not receipted in time is sent again.  Two lanes
ask what to send: what was stored while connected goes first and at once, the backlog behind it, the newest hour first,
because that is what a clinician opens.  A stream that nobody looks at now (waves) has no live lane: its records wait
until they make a block.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from telemed.numbers import Run

WINDOW = 64
"""Records of one stream under way at most, until the hub gives more or less credit (reliability 2.2, 2.3)."""
LARGEST_WINDOW = 1024
"""However much credit a hub gives."""
ALARM_WINDOW = 32
"""The alarms' own credit, which no slow hub can take away."""
GAP_LIMIT = 32
"""A receipt names no more gaps than this; beyond the last one nothing is known."""
BLOCK_RECORDS, BLOCK_S = 60, 60.0
"""A block of a stream that nobody looks at: so many records, or as many as came in so long."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the hub has of a stream."""

    contig: int
    """Every number up to this one is there."""
    max: int
    gaps: tuple[Run, ...]
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

    def up_to(self, last: int) -> "Receipt":
        """Return what this says of the numbers up to `last`."""
        gaps = tuple((first, min(end, last)) for first, end in self.gaps if first <= last)
        return Receipt(min(self.contig, last), min(self.max, last), gaps, self.hub_ns)

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
    is_live: bool = True
    """False: nobody looks at it now, it goes in blocks."""
    block_s: float = BLOCK_S
    receipt: Receipt = NOTHING
    flying: dict[int, float] = field(default_factory=dict)
    """Number -> when it was last sent, seconds."""
    turn: int = 0
    """Counts restarts: what was planned before one must not be noted as sent after it."""
    live_from: int = field(init=False)
    """What is older is backlog."""
    live_at: int = field(init=False)
    """The next live number to send; for a stream that is not live, the first that is in no block yet."""
    _todo: list[Run] = field(init=False, default_factory=list)
    """Backlog that was never sent since the last restart, first run first."""
    _block_began_s: float | None = None

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, newest_hour_from: int = 0) -> None:
        """Begin anew after a reconnection: all that is not acknowledged is to be sent, as backlog.

        Args:
            newest_hour_from: first number of the newest hour of what is stored; 0 where there is less than an hour.
        """
        self.turn += 1
        self.flying.clear()
        self.live_from = self.live_at = self.next_seq
        self._block_began_s = None
        first, last = self.acked + 1, self.next_seq - 1
        split = newest_hour_from if first < newest_hour_from <= last else first
        self._todo = [run for run in ((split, last), (first, split - 1)) if run[0] <= run[1]]

    def look(self, is_live: bool) -> bool:
        """Say whether somebody looks at this stream now; what came before goes as backlog.  True where that changed."""
        if is_live == self.is_live:
            return False
        self._shelve()
        self.is_live = is_live
        return True

    def plan_live(self, now_s: float, resend_after_s: float) -> list[int]:
        """Return the live numbers to send now: overdue ones, then new ones."""
        overdue = self._overdue(now_s, resend_after_s, live=True)
        if not self.is_live:
            return overdue
        room = max(0, self.window - len(self.flying))
        return overdue + list(range(self.live_at, min(self.next_seq, self.live_at + room)))

    def plan_backlog(self, now_s: float, resend_after_s: float) -> list[int]:
        """Return the backlog to send now: overdue numbers, then new ones in at most half of the window."""
        overdue = self._overdue(now_s, resend_after_s, live=False)
        old_flying = sum(seq < self.live_from for seq in self.flying)
        room = min(self.window - len(self.flying), max(1, self.window // 2) - old_flying)
        return overdue + list(self._unsent(room))

    @property
    def has_more(self) -> bool:
        """Whether something was not sent yet, so that room in the window is of use."""
        return bool(self._todo) or (self.is_live and self.live_at < self.next_seq)

    def gather(self, now_s: float) -> bool:
        """Make backlog of what nobody looks at once it is a block; return whether it became one.

        To be asked when records came in, and now and then.
        """
        count = self.next_seq - self.live_at
        if self.is_live or not count:
            return False
        if self._block_began_s is None:
            self._block_began_s = now_s
        is_block = count >= BLOCK_RECORDS or now_s - self._block_began_s >= self.block_s
        if is_block:
            self._shelve()
        return is_block

    def has_overdue(self, now_s: float, resend_after_s: float) -> bool:
        """Whether something was sent so long ago that it must be sent again."""
        return any(now_s - sent_s >= resend_after_s for sent_s in self.flying.values())

    def sent(self, seqs: Iterable[int], now_s: float) -> None:
        """Note that these numbers were handed to the network."""
        for seq in seqs:
            if not self.receipt.has(seq) and seq > self.acked:
                self.flying[seq] = now_s
            if seq >= self.live_from:
                self.live_at = max(self.live_at, seq + 1)
            else:
                self._done(seq)

    def gone(self, first: int, last: int) -> None:
        """Note that the numbers of a run are no longer in the store and cannot be sent, however many they are."""
        for seq in [seq for seq in self.flying if first <= seq <= last]:
            del self.flying[seq]
        parts = [((a, min(b, first - 1)), (max(a, last + 1), b)) for a, b in self._todo]
        self._todo = [run for pair in parts for run in pair if run[0] <= run[1]]
        if first <= self.live_at:
            self.live_at = max(self.live_at, min(last + 1, self.next_seq))

    def take(self, receipt: Receipt, newest_hour_from: int = 0) -> bool:
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
            self.restart(newest_hour_from)
            return changed
        changed = receipt.contig > self.acked
        self.acked = receipt.contig
        if receipt.hub_ns >= self.receipt.hub_ns:
            self.receipt = receipt
        self.flying = {seq: sent_s for seq, sent_s in self.flying.items() if not receipt.has(seq)}
        return changed

    def _overdue(self, now_s: float, resend_after_s: float, *, live: bool) -> list[int]:
        return [
            seq
            for seq, sent_s in self.flying.items()
            if now_s - sent_s >= resend_after_s and (seq >= self.live_from) == live
        ]

    def _unsent(self, room: int) -> Iterator[int]:
        for first, last in self._todo:
            for seq in range(max(first, self.acked + 1), last + 1):
                if room <= 0:
                    return
                if seq not in self.flying and not self.receipt.has(seq):
                    room -= 1
                    yield seq

    def _done(self, seq: int) -> None:
        """Take what was sent off the backlog, and with it what need not be sent before it in its run."""
        for place, (first, last) in enumerate(self._todo):
            if first <= seq <= last:
                if seq == last:
                    del self._todo[place]
                else:
                    self._todo[place] = (seq + 1, last)
                return

    def _shelve(self) -> None:
        """Make backlog of what was not sent live."""
        if self.live_at < self.next_seq:
            self._todo.append((self.live_at, self.next_seq - 1))
        self.live_from = self.live_at = self.next_seq
        self._block_began_s = None

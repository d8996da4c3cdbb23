"""What of a stream is stored: pure (reliability 2.3).

Numbers of a stream run 1, 2, 3 ... within an epoch.  They may arrive in any order and more than once.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from telemed.numbers import Run

GAP_LIMIT = 1000
"""Runs of missing numbers kept; beyond it neighbours are joined, so that stored numbers are asked for again."""
JUMP_LIMIT = 1_000_000
"""A jump over more numbers than this is no outage but a fault: the stream is flagged for the operator."""


class Watermark(NamedTuple):
    """Which numbers of one (stream, epoch) are accounted for: stored, dead-lettered or declared shed."""

    # A tuple: one is made for every record.

    contig: int = 0
    """Every number from 1 to this one."""
    max: int = 0
    """The highest one."""
    gaps: tuple[Run, ...] = ()
    """First and last of each run of missing numbers between contig and max, ascending."""
    is_quarantined: bool = False
    """A jump over JUMP_LIMIT was seen; data are kept all the same."""

    @property
    def missing(self) -> int:
        """How many numbers below the highest are not accounted for."""
        return sum(last - first + 1 for first, last in self.gaps) if self.gaps else 0

    @property
    def accounted(self) -> int:
        """How many numbers are accounted for."""
        return self.max - self.missing

    @property
    def is_exact(self) -> bool:
        """Whether `has` can be trusted when it says no; False once gaps had to be joined."""
        return len(self.gaps) < GAP_LIMIT

    def has(self, seq: int) -> bool:
        """Return whether a number is accounted for."""
        if seq <= self.contig:
            return True
        if seq > self.max:
            return False
        at = bisect_right(self.gaps, seq, key=lambda run: run[0]) - 1
        return at < 0 or self.gaps[at][1] < seq

    def plus(self, seqs: Iterable[int]) -> "Watermark":
        """Return the watermark with these numbers accounted for as well."""
        ordered = sorted(set(seqs))
        if ordered and not self.gaps and ordered[0] == self.max + 1 and ordered[-1] == self.max + len(ordered):
            # Nearly every record comes by here; `_replace` takes much longer.
            return Watermark(ordered[-1], ordered[-1], (), self.is_quarantined)
        mark = self
        for seq in ordered:
            mark = mark.plus_one(seq)
        return _bounded(mark)

    def plus_one(self, seq: int) -> "Watermark":
        """Return the watermark with this number accounted for; the gaps are not joined."""
        if self.has(seq):
            return self
        if seq == self.max + 1:
            contig = seq if not self.gaps else self.contig
            return self._replace(contig=contig, max=seq)
        if seq > self.max:
            gap = (self.max + 1, seq - 1)
            jumped = gap[1] - gap[0] + 1 > JUMP_LIMIT
            return self._replace(max=seq, gaps=(*self.gaps, gap), is_quarantined=self.is_quarantined or jumped)
        return self._filled(seq)

    def plus_run(self, first: int, last: int) -> "Watermark":
        """Return the watermark with all numbers of a run accounted for, however long it is."""
        if last <= self.contig:
            return self
        before = self.plus_one(first) if first > self.max else self
        gaps: list[Run] = []
        for low, high in before.gaps:
            gaps += [(a, b) for a, b in ((low, min(high, first - 1)), (max(low, last + 1), high)) if a <= b]
        highest = max(before.max, last)
        contig = gaps[0][0] - 1 if gaps else highest
        return _bounded(before._replace(max=highest, gaps=tuple(gaps), contig=contig))

    def _filled(self, seq: int) -> "Watermark":
        at = bisect_right(self.gaps, seq, key=lambda run: run[0]) - 1
        first, last = self.gaps[at]
        left = [(a, b) for a, b in ((first, seq - 1), (seq + 1, last)) if a <= b]
        gaps = (*self.gaps[:at], *left, *self.gaps[at + 1 :])
        return self._replace(gaps=gaps, contig=gaps[0][0] - 1 if gaps else self.max)


def _bounded(mark: Watermark) -> Watermark:
    gaps = list(mark.gaps)
    while len(gaps) > GAP_LIMIT:
        # Joined where the fewest stored numbers are forgotten; they come again and are dropped as duplicates.
        at = min(range(len(gaps) - 1), key=lambda i: gaps[i + 1][0] - gaps[i][1])
        gaps[at : at + 2] = [(gaps[at][0], gaps[at + 1][1])]
    return mark if len(gaps) == len(mark.gaps) else mark._replace(gaps=tuple(gaps))

"""One direction of a link as a model: what happens to each packet, and when (pure, seeded, its clock is an argument).

Every impairment draws from a generator of its own, so that turning one on does not change what another one strikes.
The same seed and the same calls give the same fates.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from heapq import heapify, heappop, heappush
from random import Random
from typing import Generic, NamedTuple, TypeVar

from tests.faults.relay.settings import Loss, Settings

Item = TypeVar("Item")


class Drop(Enum):
    """Why a packet does not arrive."""

    QUEUE = "queue"
    LOSS = "loss"
    CUT = "cut"


class Fate(NamedTuple):
    """What became of an offered packet, as things stand: a later change of settings can move or cancel it."""

    at_s: tuple[float, ...]
    """When each copy arrives: none if it is dropped, infinite while the rate is 0."""
    drop: Drop | None


class Flip(NamedTuple):
    """One changed byte."""

    where: float
    """Its place, as a share of the length."""
    mask: int
    """Which bits change; never 0."""

    def applied(self, content: bytes) -> bytes:
        """Return the content with the byte changed; nothing can be changed in nothing."""
        if not content:
            return content
        place = int(self.where * len(content))
        return content[:place] + bytes((content[place] ^ self.mask,)) + content[place + 1 :]


class Arrival(NamedTuple, Generic[Item]):
    """A copy of a packet at the far end."""

    due_s: float
    item: Item
    flip: Flip | None


@dataclass(slots=True)
class Counts:
    """What happened so far, in copies: offered + duplicated = delivered + the three dropped + under_way."""

    offered: int = 0
    offered_bytes: int = 0
    delivered: int = 0
    dropped_queue: int = 0
    dropped_loss: int = 0
    dropped_cut: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    wire_bytes: int = 0
    """What left the transmitter, lost packets included, second copies not."""
    waiting_bytes: int = 0
    """What stands in the queue now, the packet in transmission included."""
    under_way: int = 0


class _Flight(NamedTuple):
    travel_s: float
    keeps_order: bool


@dataclass(slots=True)
class _Waiting:
    number: int
    size_bytes: int
    bits_left: float
    begins_s: float
    departs_s: float
    flights: tuple[_Flight, ...]
    last_in_order_s: float


class Line(Generic[Item]):
    """One direction: a queue, a transmitter and a way, holding the packets that are on it.

    Times are seconds of any clock that never goes back; they may come from a test.
    """

    def __init__(self, settings: Settings, seed: str, now_s: float) -> None:
        self._settings = settings
        self._origin_s = now_s
        self._lottery = _Lottery(seed)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._arrivals: list[tuple[float, int, int, Item, Flip | None]] = []
        self._number = 0
        self._free_s = now_s
        self._departed_in_order_s = self._in_order_s = now_s
        self._counts = Counts()

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._settings

    @property
    def next_due_s(self) -> float:
        """When the next copy arrives; infinite if none does."""
        return self._arrivals[0][0] if self._arrivals else float("inf")

    @property
    def next_departure_s(self) -> float:
        """When the queue next has more room; infinite if nothing waits or nothing moves."""
        return self._waiting[0].departs_s if self._waiting else float("inf")

    def offer(self, item: Item, size_bytes: int, now_s: float) -> Fate:
        """Put a packet to the line and return what becomes of it; size_bytes is what it weighs on the wire."""
        self._advance(now_s)
        counts = self._counts
        counts.offered += 1
        counts.offered_bytes += size_bytes
        if self._settings.cut:
            counts.dropped_cut += 1
            return Fate((), Drop.CUT)
        if self._waiting and self._waiting_bytes + size_bytes > self._settings.queue_bytes:
            counts.dropped_queue += 1
            return Fate((), Drop.QUEUE)
        if self._lottery.loses(self._settings.loss):
            counts.dropped_loss += 1
            self._send(size_bytes, (), now_s)
            return Fate((), Drop.LOSS)
        flights = self._flights()
        flip = self._lottery.flip(self._settings.corrupt)
        counts.corrupted += flip is not None
        at_s = self._send(size_bytes, flights, now_s)
        for copy, due_s in enumerate(at_s):
            heappush(self._arrivals, (due_s, self._number, copy, item, flip))
        return Fate(at_s, None)

    def take_due(self, now_s: float) -> list[Arrival[Item]]:
        """Remove and return what has arrived by now, in order of arrival."""
        due: list[Arrival[Item]] = []
        while self._arrivals and self._arrivals[0][0] <= now_s:
            due_s, _, _, item, flip = heappop(self._arrivals)
            due.append(Arrival(due_s, item, flip))
        self._counts.delivered += len(due)
        return due

    def change(self, settings: Settings, now_s: float) -> None:
        """Put other settings in force.

        What still waits is sent at the new rate.  What was drawn for a packet when it was offered (loss, travel time)
        stays.  A rate that differs from the one before begins anew; an equal one goes on where it was.
        """
        self._advance(now_s)
        if settings.rate != self._settings.rate:
            self._stop_transmission(now_s)
            self._settings = settings
            self._origin_s = now_s
            self._plan_anew(now_s)
        self._settings = settings
        if settings.cut:
            self._lose_all(now_s)

    def counts(self, now_s: float) -> Counts:
        """Return what happened until now; the copy does not change any more."""
        self._advance(now_s)
        return replace(self._counts, waiting_bytes=self._waiting_bytes, under_way=len(self._arrivals))

    def _flights(self) -> tuple[_Flight, ...]:
        settings, lottery, counts = self._settings, self._lottery, self._counts
        travel_s = settings.delay_s
        if settings.jitter_s:
            travel_s = max(0.0, travel_s + lottery.jitter.uniform(-settings.jitter_s, settings.jitter_s))
        flight = _Flight(travel_s, keeps_order=True)
        if settings.reorder and lottery.reorder.random() < settings.reorder:
            counts.reordered += 1
            flight = _Flight(travel_s + settings.reorder_by_s, keeps_order=False)
        if settings.duplicate and lottery.duplicate.random() < settings.duplicate:
            counts.duplicated += 1
            return (flight, flight)
        return (flight,)

    def _send(self, size_bytes: int, flights: tuple[_Flight, ...], now_s: float) -> tuple[float, ...]:
        """Put a packet behind those that wait; return when its copies arrive."""
        self._number += 1
        bits = size_bytes * 8.0
        begins_s = max(now_s, self._free_s)
        departs_s = self._transmitted_s(bits, begins_s)
        at_s = self._arrive(departs_s, flights)
        if departs_s <= now_s:
            self._counts.wire_bytes += size_bytes
            self._departed_in_order_s = self._in_order_s
        else:
            self._free_s = departs_s
            self._waiting_bytes += size_bytes
            waiting = _Waiting(self._number, size_bytes, bits, begins_s, departs_s, flights, self._in_order_s)
            self._waiting.append(waiting)
        return at_s

    def _arrive(self, departs_s: float, flights: Iterable[_Flight]) -> tuple[float, ...]:
        at_s: list[float] = []
        for travel_s, keeps_order in flights:
            due_s = departs_s + travel_s
            if keeps_order:
                self._in_order_s = due_s = max(due_s, self._in_order_s)
            at_s.append(due_s)
        return tuple(at_s)

    def _transmitted_s(self, bits: float, begins_s: float) -> float:
        rate = self._settings.rate
        if rate is None or begins_s == float("inf"):
            return begins_s
        carried_at_s = rate.carried_at_s(rate.bits_until(begins_s - self._origin_s) + bits)
        # Nothing leaves before it began: a packet of no bits, and the rounding of the rest.
        return max(begins_s, self._origin_s + carried_at_s)

    def _advance(self, now_s: float) -> None:
        """Count what has left the transmitter by now."""
        while self._waiting and self._waiting[0].departs_s <= now_s:
            gone = self._waiting.popleft()
            self._waiting_bytes -= gone.size_bytes
            self._counts.wire_bytes += gone.size_bytes
            self._departed_in_order_s = gone.last_in_order_s

    def _stop_transmission(self, now_s: float) -> None:
        """Note how much of the first packet is already out, so that it is not sent twice."""
        rate = self._settings.rate
        if not self._waiting or rate is None:
            return
        first = self._waiting[0]
        done_bits = rate.bits_until(now_s - self._origin_s) - rate.bits_until(first.begins_s - self._origin_s)
        first.bits_left = max(0.0, first.bits_left - done_bits)

    def _plan_anew(self, now_s: float) -> None:
        """Work out departures and arrivals of all that waits, from now on."""
        self._free_s = now_s
        self._in_order_s = self._departed_in_order_s
        moved: dict[int, tuple[float, ...]] = {}
        for waiting in self._waiting:
            waiting.begins_s = self._free_s
            self._free_s = waiting.departs_s = self._transmitted_s(waiting.bits_left, self._free_s)
            moved[waiting.number] = self._arrive(waiting.departs_s, waiting.flights)
            waiting.last_in_order_s = self._in_order_s
        self._arrivals = [
            (moved[number][copy] if number in moved else at_s, number, copy, item, flip)
            for at_s, number, copy, item, flip in self._arrivals
        ]
        heapify(self._arrivals)

    def _lose_all(self, now_s: float) -> None:
        self._counts.dropped_cut += len(self._arrivals)
        self._arrivals.clear()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._free_s = self._in_order_s = self._departed_in_order_s = now_s


class _Lottery:
    """The draws of one line, a generator for each impairment."""

    def __init__(self, seed: str) -> None:
        self._loss = Random(f"{seed}/loss")
        self._flip = Random(f"{seed}/corrupt")
        self.jitter = Random(f"{seed}/jitter")
        self.reorder = Random(f"{seed}/reorder")
        self.duplicate = Random(f"{seed}/duplicate")
        self._is_bad = False

    def loses(self, loss: Loss) -> bool:
        """Step the state of the link and say whether this packet is lost."""
        if loss.to_bad == 0:
            self._is_bad = False
        elif self._loss.random() < (loss.to_good if self._is_bad else loss.to_bad):
            self._is_bad = not self._is_bad
        share = loss.in_bad if self._is_bad else loss.in_good
        return share > 0 and (share >= 1 or self._loss.random() < share)

    def flip(self, share: float) -> Flip | None:
        """Say whether and where this packet is corrupted."""
        if not share or self._flip.random() >= share:
            return None
        return Flip(self._flip.random(), self._flip.randrange(1, 256))

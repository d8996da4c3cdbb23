"""A thin link with one first-in-first-out queue, as a modem has it, and a node that sends over it."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_node.uplink.capacity import TICK_S, Capacity
from edge_node.uplink.gate import HEADER_BYTES
from edge_node.uplink.schedule import Scheduler, Traffic

STEP_S = 0.002
ALARM_BYTES, ALARM_EVERY_S = 300, 0.25


@dataclass
class Bottleneck:
    """Runs a scheduler against a link whose rate changes with time."""

    rate_bps: Callable[[float], float]
    one_way_s: float = 0.025
    capacity: Capacity = field(default_factory=Capacity)
    now_s: float = 0.0
    stall_every_s: float = 0.0
    """So often the other side stands still for `stall_s` and answers nothing; 0 = never."""
    stall_s: float = 0.0
    alarms_s: list[tuple[float, float]] = field(default_factory=list)
    """When each alarm was sent, and how long it took to the other side."""
    carried_bytes: dict[Traffic, int] = field(default_factory=dict)
    _free_s: float = 0.0
    _acks: list[tuple[float, int, float]] = field(default_factory=list)
    scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.capacity)

    def run(self, until_s: float, wants: tuple[Traffic, ...] = (Traffic.IMAGE,), *, alarms: bool = True) -> None:
        """Let time pass; each wanted class always has more to send."""
        asked = {traffic: self.scheduler.ask(traffic, 16_384) for traffic in wants}
        next_alarm_s = next_tick_s = self.now_s
        while self.now_s < until_s:
            while self._acks and self._acks[0][0] <= self.now_s:
                at_s, size_bytes, sent_s = heapq.heappop(self._acks)
                self.capacity.acknowledged(size_bytes, at_s - sent_s, at_s)
            if self.now_s >= next_tick_s:
                self.capacity.tick(self.now_s)
                next_tick_s += TICK_S
            if alarms and self.now_s >= next_alarm_s:
                self.scheduler.spend(Traffic.ALARM, ALARM_BYTES + HEADER_BYTES, self.now_s)
                self.alarms_s.append((self.now_s, self._put(Traffic.ALARM, ALARM_BYTES + HEADER_BYTES)))
                next_alarm_s += ALARM_EVERY_S
            for one in self.scheduler.grant(self.now_s):
                self.scheduler.settle(one, one.granted_bytes, self.now_s)
                self._put(one.traffic, one.granted_bytes)
                asked[one.traffic] = self.scheduler.ask(one.traffic, 16_384)
            self.now_s += STEP_S
        for one in asked.values():
            self.scheduler.withdraw(one)

    def worst_alarm_s(self, since_s: float, share: float = 0.99) -> float:
        """Return the delay that a share of the alarms sent since then stayed under."""
        delays_s = sorted(delay_s for at_s, delay_s in self.alarms_s if at_s >= since_s)
        return delays_s[int(share * (len(delays_s) - 1))]

    def carried_bps(self, traffic: Traffic, over_s: float) -> float:
        """Return the rate at which a class was carried."""
        return self.carried_bytes.get(traffic, 0) * 8 / over_s

    def _put(self, traffic: Traffic, size_bytes: int) -> float:
        """Put a message into the queue; return how long it takes to the other side."""
        begin_s = max(self.now_s, self._free_s)
        self._free_s = begin_s + size_bytes * 8 / self.rate_bps(begin_s)
        there_s = self._free_s + self.one_way_s
        heapq.heappush(self._acks, (self._after_stall_s(there_s + self.one_way_s), size_bytes, self.now_s))
        self.carried_bytes[traffic] = self.carried_bytes.get(traffic, 0) + size_bytes
        return there_s - self.now_s

    def _after_stall_s(self, at_s: float) -> float:
        if not self.stall_every_s or at_s % self.stall_every_s > self.stall_s:
            return at_s
        return at_s - at_s % self.stall_every_s + self.stall_s

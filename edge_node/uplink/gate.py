"""Lets everything of the node that sends wait for its turn: the scheduler's clockwork on the event loop."""

import asyncio
import time
from collections.abc import Callable

from edge_node.uplink.capacity import START_BPS, TICK_S, Capacity
from edge_node.uplink.schedule import Ask, Scheduler, Traffic

HEADER_BYTES = 110
"""What TCP/IP, TLS and MQTT add to a message, about (reliability 5f)."""


class Gate:
    """One for each uplink; all methods are called on the event loop."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.capacity = Capacity()
        self.scheduler = Scheduler(self.capacity)
        self._now_s = now_s
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._is_ticking = False
        """Whether the clockwork will look at the link soon by itself."""

    async def turn(self, traffic: Traffic, most_bytes: int) -> Ask:
        """Wait until this class may send; the answer says how many bytes.  `settle` must follow, whatever happens."""
        asked = self.scheduler.ask(traffic, most_bytes + HEADER_BYTES)
        self._grant()
        if not asked.granted_bytes:
            waits = self._waiting[id(asked)] = asyncio.get_running_loop().create_future()
            self._changed.set()
            try:
                await waits
            except asyncio.CancelledError:
                # Cancelled while it waited, or just after it was granted: nothing will be sent.
                if asked.granted_bytes:
                    self.settle(asked, 0)
                else:
                    self.scheduler.withdraw(asked)
                raise
            finally:
                self._waiting.pop(id(asked), None)
        return asked

    def settle(self, asked: Ask, sent_bytes: int) -> None:
        """Say how many bytes of a turn were sent, without headers; 0 = none."""
        self.scheduler.settle(asked, sent_bytes + HEADER_BYTES if sent_bytes else 0, self._now_s())
        self._wake()

    def spend(self, traffic: Traffic, sent_bytes: int) -> None:
        """Count a message that was sent at once: heartbeats, greetings, an alarm's datagram."""
        self.scheduler.spend(traffic, sent_bytes + HEADER_BYTES, self._now_s())

    def may_repeat(self, size_bytes: int, now_s: float) -> bool:
        """Take a datagram of an alarm, headers included, off the alarms' budget; False where nothing is left of it.

        The link's estimate takes no notice: a datagram has no acknowledgement of its own.
        """
        return self.scheduler.may_repeat(size_bytes, now_s)

    def acknowledged(self, sent_bytes: int, trip_s: float) -> None:
        """A message of this size, without headers, was acknowledged so long after it was sent."""
        self.capacity.acknowledged(sent_bytes + HEADER_BYTES, trip_s, self._now_s())
        self._wake()

    def lost(self, sent_bytes: int) -> None:
        """A message will not be acknowledged: its connection ended."""
        self.capacity.lost(sent_bytes + HEADER_BYTES)
        self._wake()

    def restart(self, estimate_bps: float = START_BPS) -> None:
        """The link came up or was handed over: what was known of it is forgotten."""
        self.capacity.restart(self._now_s(), estimate_bps)
        self._changed.set()

    async def run(self) -> None:
        """Judge the link and give out turns, until cancelled."""
        ticked_s = self._now_s()
        loop = asyncio.get_running_loop()
        while True:
            now_s = self._now_s()
            if now_s - ticked_s >= TICK_S:
                self.capacity.tick(now_s)
                ticked_s = now_s
            if self._waiting:
                self._grant()
            self._changed.clear()
            alarm = None
            if self.capacity.under_way_bytes or self._waiting:
                due_s = min(ticked_s + TICK_S, self.scheduler.next_s(now_s) or float("inf"))
                alarm = loop.call_later(max(0.0, due_s - now_s), self._changed.set)
            self._is_ticking = alarm is not None
            await self._changed.wait()
            if alarm is not None:
                alarm.cancel()

    def _wake(self) -> None:
        # Where nobody waits there is nothing to give out, and the next tick sees the rest.
        if self._waiting or not self._is_ticking:
            self._changed.set()

    def _grant(self) -> None:
        for asked in self.scheduler.grant(self._now_s()):
            waits = self._waiting.get(id(asked))
            if waits is not None and not waits.done():
                waits.set_result(None)

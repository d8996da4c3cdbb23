"""The second way of everything: a call to the hub itself, while the hub is not heard through the broker.

Every connection to the broker is given a stand-in (`beside`) that uses the call while it is open.  Whoever sends
notices no more than a connection that went down and came up: what counts is sent again, and a record that the hub gets
both ways is one row (reliability 2.8).
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import grpc
import structlog
from telemed.topics import Down, Up
from telemed.v1 import talk_pb2, talk_pb2_grpc

from edge_node.errors import HubRefuses, UplinkError
from edge_node.uplink import backoff
from edge_node.uplink.dscp import DSCP_OF_CLASS
from edge_node.uplink.link import Connect, Link, LinkEvents
from edge_node.uplink.schedule import Traffic
from edge_node.uplink.transfer.channel import Login, translated

LOOK_EVERY_S = 0.5
OPEN_LIMIT_S = 5.0
HEARD_LIMIT_S = 20.0
"""The hub says something every five seconds to a node that it hears."""
REFUSED_WAIT_S = 60.0

HoldCall = grpc.aio.StreamStreamCall[talk_pb2.Upward, talk_pb2.Downward]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waits:
    """When the second way is taken, and how long to wait between tries; seconds."""

    silence_s: float
    """The hub was not heard through the broker for so long."""
    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0


class _UnderWay(NamedTuple):
    """A message that the hub has not said it took."""

    size_bytes: int
    sent_s: float
    events: LinkEvents


class SecondWay:
    """The call of one node; `run` opens and ends it as needed."""

    def __init__(self, login: Login, waits: Waits, now_s: Callable[[], float] = time.monotonic) -> None:
        self._login = login
        self._waits = waits
        self._now_s = now_s
        self._heard_s = now_s()
        """When the hub was last heard through the broker."""
        self.on_switch: Callable[[], None] = lambda: None
        """Told when another way is taken: what was known of the link is no longer of use."""
        self._links: list[_StandIn] = []
        self._listener: LinkEvents | None = None
        self._to_write: asyncio.Queue[talk_pb2.Upward] | None = None
        """What goes out by the open call; None: there is none."""
        self._under_way: deque[_UnderWay] = deque()
        self._taken = 0

    @property
    def is_open(self) -> bool:
        """Whether the node talks this way now."""
        return self._to_write is not None

    @property
    def is_wanted(self) -> bool:
        """Whether the hub has been silent behind the broker for too long."""
        return self._now_s() - self._heard_s >= self._waits.silence_s

    def beside(self, connect: Connect) -> Connect:
        """Return how connections are made that use this way while it is open."""

        def made(name: str, listens: bool, events: LinkEvents) -> Link:
            link = _StandIn(self, events)
            link.broker = connect(name, listens, link.events_of_broker())
            self._links.append(link)
            if listens:
                self._listener = events
            return link

        return made

    def heard(self) -> None:
        """The hub was heard through the broker."""
        self._heard_s = self._now_s()

    def send(self, what: Up, payload: bytes, events: LinkEvents) -> bool:
        """Hand a message to the call; False if there is none."""
        if self._to_write is None:
            return False
        self._to_write.put_nowait(talk_pb2.Upward(what=what, payload=payload))
        self._under_way.append(_UnderWay(len(payload), self._now_s(), events))
        return True

    async def run(self) -> None:
        """Hold a call whenever the broker does not lead to the hub, until cancelled; logs the first failure."""
        failures = 0
        while True:
            if not self.is_wanted:
                failures = 0
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            wait_s = 0.0
            try:
                await self._session()
            except UplinkError as failure:
                failures += 1
                if failures == 1:
                    log.warning("second-way.down", reason=str(failure))
                waits = self._waits
                wait_s = backoff.wait_s(failures, waits.first_retry_s, waits.longest_retry_s, random.random)
                if isinstance(failure, HubRefuses):
                    wait_s = max(wait_s, REFUSED_WAIT_S)
            await asyncio.sleep(wait_s)

    async def _session(self) -> None:
        """Talk until the hub is heard through the broker again.

        Raises:
            LinkDown: there is no way to the hub either, or the call ended.
            HubRefuses: the hub does not take this node's calls.
        """
        async with self._login.channel(DSCP_OF_CLASS[Traffic.VITALS]) as channel:
            call: HoldCall = talk_pb2_grpc.TalkStub(channel).Hold(metadata=self._login.metadata)
            with translated():
                async with asyncio.timeout(OPEN_LIMIT_S):
                    # The hub sends it once it knows who calls.
                    await call.initial_metadata()
                if call.done():
                    await call.read()
            to_write = self._begin()
            steps = (self._write(call, to_write), self._read(call), self._until_needless())
            tasks = [asyncio.create_task(step) for step in steps]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                log.info("second-way.needless")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                call.cancel()
                self._end()

    def _begin(self) -> asyncio.Queue[talk_pb2.Upward]:
        to_write = self._to_write = asyncio.Queue()
        self._taken = 0
        log.info("second-way.up", silent_s=round(self._now_s() - self._heard_s))
        self.on_switch()
        for link in self._links:
            link.second_way_up()
        return to_write

    def _end(self) -> None:
        self._to_write = None
        while self._under_way:
            lost = self._under_way.popleft()
            lost.events.on_lost(lost.size_bytes)
        self.on_switch()
        for link in self._links:
            link.second_way_down()

    async def _write(self, call: HoldCall, to_write: asyncio.Queue[talk_pb2.Upward]) -> None:
        while True:
            message = await to_write.get()
            with translated():
                await call.write(message)

    async def _read(self, call: HoldCall) -> None:
        while True:
            with translated():
                async with asyncio.timeout(HEARD_LIMIT_S):
                    message = await call.read()
                if not isinstance(message, talk_pb2.Downward):
                    # How it ended is told as a failure.
                    raise asyncio.InvalidStateError
            self._take(message)

    def _take(self, message: talk_pb2.Downward) -> None:
        while self._taken < message.taken and self._under_way:
            self._taken += 1
            sent = self._under_way.popleft()
            sent.events.on_acknowledged(sent.size_bytes, self._now_s() - sent.sent_s)
        if message.what and self._listener is not None and message.what in frozenset(Down):
            self._listener.on_message(Down(message.what), message.payload)

    async def _until_needless(self) -> None:
        while self.is_wanted:  # noqa: ASYNC110 - time itself has no event
            await asyncio.sleep(LOOK_EVERY_S)


class _StandIn:
    """One connection to the broker, and the second way in its place while that is open."""

    broker: Link

    def __init__(self, way: SecondWay, events: LinkEvents) -> None:
        self._way = way
        self._events = events

    @property
    def is_up(self) -> bool:
        """Whether `publish` has a way to use."""
        return self._way.is_open or self.broker.is_up

    def publish(self, what: Up, payload: bytes) -> bool:
        """Hand a message to whichever way is in use; False if there is none."""
        if self._way.is_open:
            return self._way.send(what, payload, self._events)
        return self.broker.publish(what, payload)

    async def run(self) -> None:
        """Keep the connection to the broker up, until cancelled."""
        await self.broker.run()

    def hurry(self) -> None:
        """Another connection to the broker has just been made."""
        self.broker.hurry()

    def events_of_broker(self) -> LinkEvents:
        """Return what the connection to the broker tells, and whom."""
        return LinkEvents(
            on_up=lambda: None if self._way.is_open else self._events.on_up(),
            on_down=lambda: None if self._way.is_open else self._events.on_down(),
            on_message=self._heard,
            on_acknowledged=self._events.on_acknowledged,
            on_lost=self._events.on_lost,
        )

    def second_way_up(self) -> None:
        """The second way takes the place of the broker."""
        if self.broker.is_up:
            self._events.on_down()
        self._events.on_up()

    def second_way_down(self) -> None:
        """The broker is left, if it is there."""
        self._events.on_down()
        if self.broker.is_up:
            self._events.on_up()

    def _heard(self, down: Down, payload: bytes) -> None:
        self._way.heard()
        self._events.on_message(down, payload)

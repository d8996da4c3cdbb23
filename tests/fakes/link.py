"""A link that lives in memory: what is published is kept, what comes down is said by the test."""

import asyncio
from dataclasses import dataclass, field

from telemed.topics import Down, Up

from edge_node.uplink.link import LinkEvents


@dataclass(slots=True)
class FakeLink:
    """Up while `network` is set, as a real one is while there is a broker."""

    name: str
    listens: bool
    events: LinkEvents
    network: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: int = 0
    published: list[tuple[Up, bytes]] = field(default_factory=list)
    _is_up: bool = False
    _stalls: bool = False
    _under_way: list[int] = field(default_factory=list)
    _cut: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_up(self) -> bool:
        return self._is_up

    def publish(self, what: Up, payload: bytes) -> bool:
        if self._is_up:
            self.published.append((what, payload))
            if self._stalls:
                self._under_way.append(len(payload))
            else:
                self.events.on_acknowledged(len(payload), 0.01)
        return self._is_up

    async def run(self) -> None:
        while True:
            await self.network.wait()
            self._is_up = True
            self.events.on_up()
            try:
                await self._cut.wait()
            finally:
                self._is_up = False
                for size_bytes in self._under_way:
                    self.events.on_lost(size_bytes)
                self._under_way.clear()
                self.events.on_down()
            self._cut.clear()

    def hurry(self) -> None:
        """Take note: this one waits for its network alone."""
        self.hurried += 1

    def cut(self) -> None:
        """End the connection; a new one comes when `network` is set again."""
        self.network.clear()
        self._cut.set()

    def stall(self) -> None:
        """Acknowledge nothing from now on."""
        self._stalls = True

    def say(self, down: Down, payload: bytes) -> None:
        self.events.on_message(down, payload)

"""The port between the uplink and the network: one connection of this node to the broker."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from telemed.topics import Down, Up


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """What a connection tells; all called on the event loop."""

    on_up: Callable[[], None]
    """Connected, and subscribed where this connection listens."""
    on_down: Callable[[], None]
    on_message: Callable[[Down, bytes], None]
    on_acknowledged: Callable[[int, float], None]
    """A message of so many bytes arrived at the broker, so many seconds after it was handed over."""
    on_lost: Callable[[int], None]
    """The connection ended before a message of so many bytes was acknowledged."""


class Link(Protocol):
    """One connection that keeps itself up."""

    @property
    def is_up(self) -> bool:
        """Whether `publish` has a connection to use."""

    def publish(self, what: Up, payload: bytes) -> bool:
        """Hand a message to the network; False if there is no connection.  True promises nothing more."""

    async def run(self) -> None:
        """Connect, and connect again with growing waits, until cancelled."""

    def hurry(self) -> None:
        """Another connection of this node has just been made: end the wait before the next attempt, if there is one."""


Connect = Callable[[str, bool, LinkEvents], Link]
"""Make a connection of this name (`telemed.topics.CONNECTIONS`); True = it listens to what comes down."""

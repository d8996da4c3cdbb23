"""MQTT topics (decision 10): `up/<shard>/<region>/<site>/<node>/<what>`, `down/<region>/<site>/<node>/<what>`.

No topic names a person.  Everything is published with QoS 1 and not retained; a PUBACK counts for nothing.
"""

import re
import zlib
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Self

SHARDS = 16
"""Number of shards; a hub worker owns whole shards, so the order within a stream is kept by one worker."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Up(StrEnum):
    """Last level of an upward topic."""

    ALARM = "alarm"  # wire container, kinds ALARM_EVENT and SHED
    CARE = "care"  # wire container, kinds EVENT, AUDIT and SHED
    VITALS = "vitals"  # wire container, kinds NUMERIC_SET, MINUTE_SET and SHED
    WAVES = "waves"  # wire container, kinds WAVEFORM_SET and WAVE_ENVELOPE
    HELLO = "hello"  # Hello
    PRESENCE = "presence"  # Presence
    SIGNAL = "signal"  # Signal


class Down(StrEnum):
    """Last level of a downward topic."""

    RECEIPT = "receipt"  # Receipts
    EVENTS = "events"  # EventPage
    PRESENCE = "presence"  # HubPresence
    SIGNAL = "signal"  # Signal
    WATCH = "watch"  # Watch


STORED = (Up.ALARM, Up.CARE, Up.VITALS, Up.WAVES)
"""The stream classes: those whose payload is a wire container, numbered, receipted and never lost."""

STREAM_KINDS = {
    Up.ALARM: ("alarm", "alarmshed"),
    Up.CARE: ("care", "careshed", "audit"),
    Up.VITALS: ("numeric", "minute", "shed"),
    Up.WAVES: ("wave", "envelope"),
}
"""Last parts of the names of a class's streams."""
CLASS_OF = {kind: up for up, kinds in STREAM_KINDS.items() for kind in kinds}
"""The class of a stream, by the last part of its name."""

CONNECTIONS = {Up.ALARM: "alarm", Up.CARE: "control", Up.VITALS: "vitals", Up.WAVES: "bulk"}
"""Client id is `<node>.<connection>`; "control" also carries hello, presence, signals and all that comes down."""


class _Parts(NamedTuple):
    region: str
    site: str
    node: str


class NodeAddress(_Parts):
    """Where a node stands; each part is 1 to 40 of a-z, 0-9 and hyphen."""

    # A tuple: the hub looks up a dozen things by it for each message, and the hash of a dataclass is made in Python.
    __slots__ = ()

    def __new__(cls, region: str, site: str, node: str) -> Self:
        """Return the address; ValueError where a part is no name."""
        for part in (region, site, node):
            if not _NAME.fullmatch(part):
                raise ValueError(f"{part!r} is no name for a region, site or node (a-z, 0-9, hyphen, at most 40)")
        return super().__new__(cls, region, site, node)

    @property
    def shard(self) -> int:
        """Shard of this node, 0 to SHARDS - 1; the same on both sides for ever."""
        return zlib.crc32(f"{self.region}/{self.site}/{self.node}".encode()) % SHARDS

    @property
    def up_prefix(self) -> str:
        """Prefix of all topics this node may publish to, with the closing slash."""
        return f"up/{self.shard}/{self.region}/{self.site}/{self.node}/"

    @property
    def down_prefix(self) -> str:
        """Prefix of all topics this node may subscribe to, with the closing slash."""
        return f"down/{self.region}/{self.site}/{self.node}/"

    def up(self, what: Up) -> str:
        """Topic on which this node publishes `what`."""
        return self.up_prefix + what

    def down(self, what: Down) -> str:
        """Topic on which the hub publishes `what` to this node."""
        return self.down_prefix + what


@lru_cache(4096)
def parse_up(topic: str) -> tuple[NodeAddress, Up]:
    """Return who published on an upward topic, and what.

    Raises:
        ValueError: not an upward topic of ours, or the shard is not the node's own.
    """
    parts = topic.split("/")
    if len(parts) != 6 or parts[0] != "up":
        raise ValueError(f"{topic!r} is not up/<shard>/<region>/<site>/<node>/<what>")
    address = NodeAddress(*parts[2:5])
    if parts[1] != str(address.shard):
        raise ValueError(f"{topic!r}: node belongs to shard {address.shard}")
    return address, Up(parts[5])

"""How much the datagram server holds and does, and how much a stranger may ask of it: pure."""

from collections import OrderedDict
from dataclasses import dataclass

SOURCES_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class DatagramLimits:
    """How much the server holds and does."""

    sessions: int = 4096
    """Sessions at once, about 70 KB each; over that the one silent for the longest time goes."""
    sessions_per_node: int = 4
    """Two modems, and a session that is being set up anew on each."""
    pending: int = 256
    """Handshakes under way."""
    idle_s: float = 60.0
    """A session not heard for this long is forgotten; its node is told when it comes back."""
    handshakes_per_source_s: float = 20.0
    handshakes_per_source_burst: float = 200.0
    """A whole region behind one translated address comes back in seconds."""
    handshakes_per_s: float = 200.0
    """About a tenth of a core."""
    hellos_per_s: float = 2000.0
    """Cookies handed to strangers, whose addresses need not be their own."""
    unknowns_per_s: float = 2000.0
    """Datagrams of unknown sessions that are told so."""


@dataclass(slots=True)
class Bucket:
    """Tokens that come back at a steady rate, up to a burst."""

    rate_per_s: float
    burst: float
    left: float
    at_s: float

    def take(self, now_s: float) -> bool:
        """Take one token; False if there is none."""
        self.left = min(self.burst, self.left + (now_s - self.at_s) * self.rate_per_s)
        self.at_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True


class SourceRates:
    """A bucket for each source; those not heard for the longest time are forgotten first."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, source: str, now_s: float) -> bool:
        """Take one token of a source; False if it has none."""
        bucket = self._buckets.get(source)
        if bucket is None:
            bucket = self._buckets[source] = Bucket(self._rate_per_s, self._burst, self._burst, now_s)
            if len(self._buckets) > SOURCES_LIMIT:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(source)
        return bucket.take(now_s)

    def __len__(self) -> int:
        """Return how many sources are remembered."""
        return len(self._buckets)

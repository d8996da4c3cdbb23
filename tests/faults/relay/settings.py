"""What one direction of a bad link does to what passes through it (pure values)."""

from dataclasses import dataclass, field

from tests.faults.relay.traces import Capacity

QUEUE_BYTES = 48_000
"""A modem's queue: 1.5 s at 256 kbit/s."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Gilbert-Elliott loss: a good and a bad state, changed before each packet, each with its own share of losses.

    All four are probabilities; ValueError where one is not.  Plain loss is a link that is always in its good state.
    """

    to_bad: float = 0.0
    to_good: float = 1.0
    in_good: float = 0.0
    in_bad: float = 1.0

    def __post_init__(self) -> None:
        for name in ("to_bad", "to_good", "in_good", "in_bad"):
            _check_share(name, getattr(self, name))

    @property
    def mean_share(self) -> float:
        """Share of packets lost in the long run."""
        if self.to_bad == 0:
            return self.in_good
        bad_share = self.to_bad / (self.to_bad + self.to_good)
        return bad_share * self.in_bad + (1 - bad_share) * self.in_good


def plain(share: float) -> Loss:
    """Return loss that strikes each packet alike, whatever happened to the one before."""
    return Loss(in_good=share)


def bursts(share: float, mean_packets: float) -> Loss:
    """Return loss in bursts: everything in a burst is lost, nothing between two.

    Raises ValueError where bursts of that mean length (1 or more packets) cannot lose that share.
    """
    if mean_packets < 1 or not 0 <= share < 1:
        raise ValueError("a burst is 1 packet or more, and something passes between two")
    to_good = 1 / mean_packets
    return Loss(to_bad=share * to_good / (1 - share), to_good=to_good)


@dataclass(frozen=True, slots=True)
class Settings:
    """One direction of a link, from the queue in front of the transmitter to the far end.

    A packet waits in the queue, is transmitted at the rate, may be lost on the way (having used the rate), travels
    for the delay, and arrives.  Raises ValueError for what cannot be.
    """

    rate: Capacity | None = None
    """Capacity in bits per second over time, begun when it is set; None: without limit, so nothing ever waits."""
    queue_bytes: int = QUEUE_BYTES
    """What may wait, the packet in transmission included; what comes to a full queue is dropped (tail drop)."""
    delay_s: float = 0.0
    """Travel time in this direction, beside waiting and transmission."""
    jitter_s: float = 0.0
    """The travel time is drawn evenly from delay - jitter to delay + jitter, never below 0; order is kept."""
    loss: Loss = field(default_factory=Loss)
    reorder: float = 0.0
    """Share of packets held back, so that what comes after them overtakes them."""
    reorder_by_s: float = 0.02
    """For how long they are held back."""
    duplicate: float = 0.0
    """Share of packets that arrive twice; the second copy uses no capacity."""
    corrupt: float = 0.0
    """Share of packets of which one byte is changed."""
    cut: bool = False
    """Nothing passes: what is offered is dropped, and what was under way when it was set is lost."""
    piece_bytes: int = 1400
    """What the byte-stream relay forwards at once; small with a small rate makes a slow drip.  Others pass it over."""

    def __post_init__(self) -> None:
        for name in ("reorder", "duplicate", "corrupt"):
            _check_share(name, getattr(self, name))
        for name in ("delay_s", "jitter_s", "reorder_by_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is a time of 0 s or more")
        if self.queue_bytes < 0 or self.piece_bytes < 1:
            raise ValueError("a queue is 0 bytes or more, a piece 1 byte or more")


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name} is a share from 0 to 1, not {share:g}")

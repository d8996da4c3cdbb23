"""How far a device's clock is off, pure (decisions 4 and 22).

A device's time is mapped once its offset is known: after 20 live messages that agree.  Offsets of a few
seconds are left alone, because a measurement that is sent again and again (a cuff pressure, OBX-14) must
keep one time, or it would be filed again with every message.
"""

from collections import deque
from dataclasses import dataclass, field

MESSAGES_TO_KNOW = 20
AGREEMENT_NS = 2_000_000_000
"""Offsets that lie within this agree: a queue that drains does not, its offset shrinks with each message."""
MESSAGES_TO_ALARM_BEHIND = 5
SKEW_LIMIT_NS = 60_000_000_000
"""Clinical 3.1, MSH-7: beyond this the clock alarm is raised."""
TOLERANCE_NS = 5_000_000_000
"""Smaller offsets are not applied, smaller changes of a known one are not followed."""
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ClockState:
    """What is known of a device's clock at this moment."""

    offset_ms: int
    """To be added to the device's times: positive where its clock is behind; 0 until known."""
    is_known: bool
    is_suspect: bool
    """Its last message came with a time that is not to be believed."""


@dataclass(slots=True)
class DeviceClock:
    """What the live messages of one device have shown about its clock."""

    offset_ns: int = 0
    """To be added to the device's times; whole seconds; 0 until known."""
    is_known: bool = False
    error_ms: int = 0
    """Half the spread of the offsets the mapping rests on."""
    _recent_ns: deque[int] = field(default_factory=lambda: deque(maxlen=MESSAGES_TO_KNOW))

    def take(self, skew_ns: int) -> None:
        """Note one live message that was stored: arrival minus MSH-7."""
        self._recent_ns.append(skew_ns)
        if len(self._recent_ns) < MESSAGES_TO_KNOW or self._spread_ns(MESSAGES_TO_KNOW) > AGREEMENT_NS:
            return
        median_ns = sorted(self._recent_ns)[MESSAGES_TO_KNOW // 2]
        self.error_ms = self._spread_ns(MESSAGES_TO_KNOW) // 2_000_000
        if not self.is_known or abs(median_ns - self.offset_ns) > TOLERANCE_NS:
            self.offset_ns = _applied(median_ns)
            self.is_known = True

    def clock_set(self, by_ns: int) -> None:
        """Take in that the node's own clock was set by so much: all skews so far were against the old one."""
        self._recent_ns = deque((skew_ns + by_ns for skew_ns in self._recent_ns), MESSAGES_TO_KNOW)
        if self.is_known:
            self.offset_ns = _applied(self.offset_ns + by_ns)

    def is_off(self, skew_ns: int) -> bool:
        """True where, with a message of this skew, the clock must be called wrong.

        A time in the future is proof.  A time in the past may be a queue that is sent late, so several
        messages must agree.  What counts is what a known offset does not explain: a clock that was set since
        is wrong again until its new offset is known, and what it times is judged on arrival.
        """
        rest_ns = skew_ns - self.offset_ns
        if rest_ns < -SKEW_LIMIT_NS:
            return True
        if rest_ns <= SKEW_LIMIT_NS:
            return False
        recent = [*self._recent_ns, skew_ns][-MESSAGES_TO_ALARM_BEHIND:]
        return len(recent) == MESSAGES_TO_ALARM_BEHIND and max(recent) - min(recent) <= AGREEMENT_NS

    def _spread_ns(self, count: int) -> int:
        recent = list(self._recent_ns)[-count:]
        return max(recent) - min(recent)


def _applied(skew_ns: int) -> int:
    return 0 if abs(skew_ns) <= TOLERANCE_NS else round(skew_ns / _SECOND_NS) * _SECOND_NS

"""How long what a monitor sent waits for others to share its synced commit (pure).

A commit costs the same for one message as for ten, and monitors that send once a second arrive at moments of their
own.  So a message waits, but only while somebody is expected: a monitor alone never waits, and neither does one that
sends as fast as it is answered, because a wait would slow it.  A monitor that pauses after each answer would be slowed
as well; it is known by its pace, which becomes longer by what it waits.
"""

from dataclasses import dataclass, field

PUSHES_S = 0.5
"""Who speaks again sooner than this sends as fast as it is answered, or sends a queue after an outage."""
KNOWN_AFTER = 4
"""So many intervals, answered at once, tell the pace of a monitor."""
SLACK_S = 0.05
"""How much later than expected somebody may be."""
FORGOTTEN_AFTER_S = 30.0
"""Who was silent so long begins anew."""
SMOOTHING = 0.25
FOLLOWS_SHARE = 0.5
"""Who becomes slower by more than this share of what it waits takes its pace from the answers."""
TRIED_AGAIN_AFTER = 600
"""So many messages later it is asked again whether it does: it may have looked so by chance."""


@dataclass(slots=True)
class _Pace:
    """The rhythm of one monitor; seconds of any steady clock."""

    came_s: float
    gap_s: float = 0.0
    """Between its last two messages."""
    interval_s: float = 0.0
    """Between its messages of late."""
    alone_s: float = 0.0
    """Between a message that was answered at once and the next."""
    shared_s: float = 0.0
    """Between a message that waited and the next."""
    usual_wait_s: float = 0.0
    """How long those that waited did."""
    count: int = 0
    waited_s: float = 0.0
    """How long its last message waited."""
    waits: int = 0
    """How many messages waited since it was last asked whether it follows the answers."""
    free_until: int = 0
    """No message waits before this count, because it follows the answers."""

    def take(self, now_s: float) -> None:
        """It sent another message."""
        gap_s = self.gap_s = now_s - self.came_s
        self.came_s = now_s
        self.interval_s = _smoothed(self.interval_s, gap_s)
        self.count += 1
        if self.waited_s:
            self.shared_s = _smoothed(self.shared_s, gap_s)
            self.usual_wait_s = _smoothed(self.usual_wait_s, self.waited_s)
            self.waits += 1
            self._mind_answers()
        else:
            self.alone_s = _smoothed(self.alone_s, gap_s)
        self.waited_s = 0.0

    def _mind_answers(self) -> None:
        slower_s = self.shared_s - self.alone_s
        if self.waits >= KNOWN_AFTER and slower_s > FOLLOWS_SHARE * self.usual_wait_s:
            self.free_until = self.count + TRIED_AGAIN_AFTER
            self.shared_s, self.usual_wait_s, self.waits = 0.0, 0.0, 0

    @property
    def may_wait(self) -> bool:
        """Whether a wait does not slow it."""
        is_calm = min(self.gap_s, self.interval_s) >= PUSHES_S
        return is_calm and self.count >= max(KNOWN_AFTER, self.free_until)

    @property
    def expected_s(self) -> float:
        """When its next message should come."""
        return self.came_s + self.interval_s


@dataclass(slots=True)
class Company:
    """Everybody who sends to one file; told of every message and of every group that is let go."""

    longest_s: float
    """Longest wait of any message; 0: none waits."""
    _paces: dict[str, _Pace] = field(default_factory=dict)
    _waiting: list[_Pace] = field(default_factory=list)
    _until_s: float = 0.0

    def came(self, sender: str, now_s: float) -> None:
        """Note that a message of this sender came."""
        pace = self._paces.get(sender)
        if pace is None or now_s - pace.came_s > FORGOTTEN_AFTER_S:
            self._paces[sender] = _Pace(now_s)
        else:
            pace.take(now_s)

    def wait_s(self, sender: str, now_s: float) -> float:
        """Return how long the message that just came may wait; 0: all that wait go at once, and it with them."""
        pace = self._paces[sender]
        if not pace.may_wait:
            return 0.0
        until_s = self._until_s if self._waiting else now_s + self.longest_s
        last_s = self._last_before(until_s, now_s)
        if last_s <= now_s:
            return 0.0
        self._until_s = until_s
        self._waiting.append(pace)
        return min(until_s, last_s + SLACK_S) - now_s

    def next_s(self, now_s: float, most_s: float) -> float:
        """Return how long it is until somebody is expected next; 0 where nobody is within `most_s`."""
        if not self.longest_s:
            return 0.0
        soon = [pace.expected_s - now_s for pace in self._paces.values() if now_s < pace.expected_s <= now_s + most_s]
        return min(soon, default=0.0)

    def gone(self, now_s: float) -> None:
        """Note that all that waited was let go."""
        for pace in self._waiting:
            pace.waited_s = now_s - pace.came_s
        self._waiting.clear()

    def _last_before(self, until_s: float, now_s: float) -> float:
        """When the last of those comes that are expected before `until_s`; 0 where nobody is."""
        last_s = 0.0
        for pace in self._paces.values():
            if pace.count and now_s < pace.expected_s <= until_s and pace.expected_s > last_s:
                last_s = pace.expected_s
        return last_s


def _smoothed(before: float, now: float) -> float:
    return before + SMOOTHING * (now - before) if before else now

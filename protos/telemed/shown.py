"""Whose data somebody was shown: once for each session, kind and person, and again now and then (pure; audit trail)."""

STRETCH_NS = 15 * 60 * 10**9
"""Who goes on looking is written down again after this long."""
Key = tuple[str, ...]


class Shown:
    """Remembers what was written down; nothing is shown before it is."""

    def __init__(self, limit: int) -> None:
        """Remember nothing yet.

        Args:
            limit: so many are remembered; of more the oldest are forgotten, and so written down again.
        """
        self._limit = limit
        self._seen: dict[Key, int] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._seen)

    def is_due(self, key: Key, now_ns: int) -> bool:
        """Return whether this is to be written down now; it counts as written from now on.

        Args:
            key: session, what was shown, and of whom.
            now_ns: nanoseconds since the Unix epoch; a clock that was set back makes everything due again.
        """
        seen_ns = self._seen.get(key)
        if seen_ns is not None and 0 <= now_ns - seen_ns < STRETCH_NS:
            return False
        self._seen.pop(key, None)
        self._seen[key] = now_ns
        while len(self._seen) > self._limit:
            del self._seen[next(iter(self._seen))]
        return True

    def forget(self, key: Key) -> None:
        """Take back that it was written down."""
        self._seen.pop(key, None)

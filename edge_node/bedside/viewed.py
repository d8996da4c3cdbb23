"""Whose data somebody was shown, once for each session and stretch of time (pure; for the audit trail)."""

from collections.abc import Iterable

STRETCH_NS = 15 * 60 * 10**9
"""Who goes on looking is written down again after this long."""
LIMIT = 20_000


class Viewed:
    """Remembers what was written down; nothing is shown before it is."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], int] = {}

    def due(self, session: str, action: str, person_ids: Iterable[str], now_ns: int) -> list[str]:
        """Return the persons whose being looked at is to be written down now; they count as written from now on."""
        found = []
        for person_id in person_ids:
            key = (session, action, person_id)
            if now_ns - self._seen.get(key, -STRETCH_NS) >= STRETCH_NS:
                self._seen.pop(key, None)
                self._seen[key] = now_ns
                found.append(person_id)
        while len(self._seen) > LIMIT:
            del self._seen[next(iter(self._seen))]
        return found

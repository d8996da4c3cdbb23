"""Whom somebody was shown: written into the audit trail before it is, once for each session and stretch of time."""

from collections.abc import Iterable

import structlog
from starlette.requests import HTTPConnection

from cloud_hub.access.rights import Principal
from cloud_hub.access.sign_in import Access
from cloud_hub.errors import StoreFailure

STRETCH_NS = 15 * 60 * 10**9
"""Who goes on looking is written down again after this long."""
LIMIT = 500_000
Key = tuple[str, str, str]

log = structlog.get_logger()


class Viewed:
    """Remembers what was written down; used on the event loop alone."""

    def __init__(self, access: Access) -> None:
        """Write to this identity store's trail."""
        self._access = access
        self._seen: dict[Key, int] = {}
        self._is_failing = False

    async def show(self, who: Principal, action: str, person_ids: Iterable[str]) -> None:
        """Write down that somebody is shown data of some persons, where it is due.

        A trail that cannot be written does not keep a doctor from a patient: it is told, and tried again the next time.
        """
        now_ns = self._access.now_ns()
        due = self._due(who, action, person_ids, now_ns)
        if not due:
            return
        try:
            await self._access.audit_many(who, [(action, f"Patient/{key[2]}", "ok") for key in due])
        except StoreFailure as failure:
            for key in due:
                self._seen.pop(key, None)
            if not self._is_failing:
                log.error("view-not-audited", why=str(failure))
            self._is_failing = True
            return
        self._is_failing = False

    def _due(self, who: Principal, action: str, person_ids: Iterable[str], now_ns: int) -> list[Key]:
        session = who.csrf_token or who.username
        found = []
        for person_id in dict.fromkeys(person_ids):
            key = (session, action, person_id)
            if person_id and now_ns - self._seen.get(key, now_ns - STRETCH_NS) >= STRETCH_NS:
                self._seen.pop(key, None)
                self._seen[key] = now_ns
                found.append(key)
        while len(self._seen) > LIMIT:
            del self._seen[next(iter(self._seen))]
        return found


def viewed_of(connection: HTTPConnection) -> Viewed:
    """Return the application's memory of who was shown whom."""
    viewed: Viewed = connection.app.state.viewed
    return viewed

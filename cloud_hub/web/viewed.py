"""Whom somebody was shown: written into the audit trail before it is, once for each session and stretch of time."""

from collections.abc import Iterable

import structlog
from starlette.requests import HTTPConnection
from telemed.shown import Shown

from cloud_hub.access.rights import Principal, result_of_read
from cloud_hub.access.sign_in import Access
from cloud_hub.errors import StoreFailure

LIMIT = 500_000

log = structlog.get_logger()


class Viewed:
    """Remembers what was written down; used on the event loop alone."""

    def __init__(self, access: Access) -> None:
        """Write to this identity store's trail."""
        self._access = access
        self._shown = Shown(LIMIT)
        self._is_failing = False

    async def show(self, who: Principal, action: str, person_ids: Iterable[str]) -> None:
        """Write down that somebody is shown data of some persons, where it is due.

        A trail that cannot be written does not keep a doctor from a patient: it is told, and tried again the next time.
        """
        things = [(f"Patient/{one}", result_of_read(who, one)) for one in person_ids if one]
        await self.show_things(who, action, things)

    async def show_things(self, who: Principal, action: str, things: Iterable[tuple[str, str]]) -> None:
        """Do as `show` does, for whatever the trail names: each with what came of it."""
        now_ns, session = self._access.now_ns(), who.csrf_token or who.username
        keys = [(session, action, target, result) for target, result in things]
        due = [key for key in keys if self._shown.is_due(key, now_ns)]
        if not due:
            return
        try:
            await self._access.audit_many(who, [(action, target, result) for _, _, target, result in due])
        except StoreFailure as failure:
            for key in due:
                self._shown.forget(key)
            if not self._is_failing:
                log.error("view-not-audited", why=str(failure))
            self._is_failing = True
            return
        self._is_failing = False


def viewed_of(connection: HTTPConnection) -> Viewed:
    """Return the application's memory of who was shown whom."""
    viewed: Viewed = connection.app.state.viewed
    return viewed

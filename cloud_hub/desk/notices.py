"""Notices to the operator: what a node did, or what became of its data, that somebody must look at.

A notice begins with the first occurrence and is over when nothing of its kind happened for a day; that of records
of a newer schema is over when the hub can read them.  Both ends are audited; in between only the count goes up, so
that a hostile node cannot fill the trail.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

import structlog
from sqlalchemy import Connection
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.wire import SCHEMA

from cloud_hub.errors import StoreFailure
from cloud_hub.store import notices as stored
from cloud_hub.store.accounts import AuditEntry, write_audit
from cloud_hub.store.engine import Database
from cloud_hub.store.notices import Notice

OVER_AFTER_NS = 24 * 3600 * 10**9
KEEP_EVERY_S = 1.0
"""At most this often is written, however fast occurrences come."""
LOOK_EVERY_S = 60.0
"""How often is looked for notices that are over."""

Key = tuple[NodeAddress, str]
Told = Callable[[str, list[Notice]], None]
log = structlog.get_logger()


class Notices:
    """All notices of the region; used on the event loop alone."""

    def __init__(self, care: Database, region: str, told: Told, now_ns: Callable[[], int]) -> None:
        """Load nothing yet.

        Args:
            care: migrated care store.
            region: of which sites.
            told: called with a site and what stands there now, whenever that changes.
            now_ns: the hub's clock.
        """
        self._care, self._region, self._told, self._now_ns = care, region, told, now_ns
        self._standing: dict[Key, Notice] = {}
        self._changed: set[Key] = set()
        self._begun: set[Key] = set()
        self._news = asyncio.Event()
        self._is_failing = False

    async def load(self) -> None:
        """Take over what stood before the start."""
        for one in await self._care.read(lambda connection: stored.standing(connection, self._region)):
            self._standing[one.address, one.code] = one
        for site in {address.site for address, _ in self._standing}:
            self._tell(site)

    def note(self, address: NodeAddress, code: str, times: int = 1) -> None:
        """Something happened; returns at once and is stored within about KEEP_EVERY_S."""
        if address.region != self._region:
            return
        key, now_ns = (address, code), self._now_ns()
        known = self._standing.get(key)
        if known is None:
            self._begun.add(key)
            known = Notice(address, code, now_ns, now_ns, 0, SCHEMA)
        self._standing[key] = replace(known, last_ns=now_ns, times=known.times + times, hub_schema=SCHEMA)
        self._changed.add(key)
        self._news.set()
        self._tell(address.site)

    async def run(self) -> None:
        """Store what happens, and end what is over, until cancelled."""
        while True:
            await self.settle()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._news.wait()
            await asyncio.sleep(KEEP_EVERY_S)

    async def settle(self) -> None:
        """Store what happened since the last time, and end what is over."""
        self._news.clear()
        now_ns = self._now_ns()
        over = [one for one in self._standing.values() if is_over(one, now_ns)]
        changed, begun, self._changed, self._begun = self._changed, self._begun, set(), set()
        if not over and not changed:
            return
        kept = [self._standing[key] for key in changed]
        entries = [_entry(one, "notice", now_ns) for one in kept if (one.address, one.code) in begun]
        entries += [_entry(one, "notice-over", now_ns) for one in over]
        try:
            await self._care.write(lambda connection: _store(connection, kept, over, entries))
        except StoreFailure as failure:
            # Tried again with the next occurrence, or with the next look.
            self._changed |= changed
            self._begun |= begun
            if not self._is_failing:
                log.error("notices-not-stored", why=str(failure))
            self._is_failing = True
            return
        if self._is_failing:
            log.info("notices-stored-again")
        self._is_failing = False
        for one in over:
            self._end(one)

    def _end(self, one: Notice) -> None:
        # It may have happened again while the end was being stored.
        if self._standing.get((one.address, one.code)) == one:
            del self._standing[one.address, one.code]
            self._tell(one.address.site)
        else:
            self._begun.add((one.address, one.code))

    def _tell(self, site: str) -> None:
        self._told(site, [one for one in self._standing.values() if one.address.site == site])


def is_over(one: Notice, now_ns: int) -> bool:
    """Return whether nobody has to look at this any more."""
    if one.code == Code.SCHEMA_UNKNOWN:
        return one.hub_schema < SCHEMA
    return now_ns - one.last_ns > OVER_AFTER_NS


def _entry(one: Notice, action: str, now_ns: int) -> AuditEntry:
    address = one.address
    target = f"node/{address.site}/{address.node}"
    return AuditEntry(now_ns, address.node, "node", action, target, one.code, address.region, address.site)


def _store(connection: Connection, kept: list[Notice], over: list[Notice], entries: list[AuditEntry]) -> None:
    stored.keep(connection, kept)
    stored.drop(connection, over)
    for entry in entries:
        write_audit(connection, entry)

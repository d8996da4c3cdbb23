"""Signs how far the hub's audit trail has come, every minute in which it grew (reliability 4.2).

Before it signs it follows what was added since the last head.  What does not verify is told and written into the
trail itself, and the trail goes on: the entry that is wrong stays wrong for whoever verifies it later.
"""

import asyncio
import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Connection
from telemed.audit import HEAD_EVERY_S, LARGEST, Entry, Head, sign
from telemed.audit_check import Fault, Finding, Walk
from telemed.audit_seal import Seal

from cloud_hub.errors import StoreFailure
from cloud_hub.store import audit_trail
from cloud_hub.store.audit_trail import State
from cloud_hub.store.engine import Database

FAULT_ACTION = "audit-fault"
log = structlog.get_logger()


class AuditHeads:
    """Keeps the trail signed; used on the event loop alone."""

    def __init__(self, care: Database, region: str, seal: Seal, now_ns: Callable[[], int]) -> None:
        """Sign nothing yet.

        Args:
            care: migrated care store.
            region: of the hub, for the entry about a fault.
            seal: key and last head.
            now_ns: the hub's clock.
        """
        self.newest: Head | None = None
        """The head that goes down to the nodes."""
        self.faults = 0
        """How often the trail did not verify since the start."""
        self._care, self._region, self._seal, self._now_ns = care, region, seal, now_ns
        self._noting = threading.Lock()
        self._is_failing = False

    async def run(self) -> None:
        """Sign now, every minute in which the trail grew, and once more when cancelled."""
        try:
            while True:
                await self.settle()
                await asyncio.sleep(HEAD_EVERY_S)
        finally:
            # One commit, before the store is closed: what was added last must not stand unsigned until the next start.
            self._attempt(lambda: self._note(self._keep(*self._care.write_blocking(self._sign))))

    async def settle(self) -> None:
        """Sign what was added since the last head; where it cannot be stored, the next time does it."""
        try:
            head = self._keep(*await self._care.write(self._sign))
        except StoreFailure as failure:
            self._failed(failure)
        else:
            await asyncio.to_thread(self._note, head)

    async def agrees_with(self, anchor: Head) -> bool:
        """Return whether the trail holds what a node keeps a head of; a head that nobody signed says nothing.

        Raises:
            StoreFailure: the trail cannot be read.
        """
        if not anchor.is_genuine:
            return True
        state = await self._care.read(audit_trail.state)
        found = await self._care.read(lambda connection: audit_trail.hash_at(connection, anchor.n))
        return (anchor.trail, anchor.key, anchor.hash) == (state.trail, self._seal.public, found)

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoreFailure as failure:
            self._failed(failure)

    def _sign(self, connection: Connection) -> tuple[Head | None, Fault | None]:
        # Held first: on PostgreSQL another process may append, and its entries would seem to follow the last one.
        state = audit_trail.hold(connection)
        newest = audit_trail.newest_head(connection)
        fault = _since(connection, newest, self._seal.last(), state)
        if fault is not None:
            target = f"trail/{state.trail}/{fault.n}"
            entry = Entry(self._now_ns(), "hub", "system", FAULT_ACTION, target, fault.finding, self._region)
            audit_trail.append(connection, [entry])
            state = audit_trail.state(connection)
        if state.n == 0 or (newest is not None and _reached(newest) == state):
            return newest, fault
        # Later than the last one even where the clock was set back: the newest head is found by its time.
        at_ns = max(self._now_ns(), newest.at_ns + 1) if newest is not None else self._now_ns()
        head = sign(self._seal.key, state.trail, state.n, state.hash, min(at_ns, LARGEST))
        audit_trail.save_head(connection, head)
        return head, fault

    def _keep(self, head: Head | None, fault: Fault | None) -> Head | None:
        """Tell of a fault, and return the head if it is a new one, which is to be noted."""
        self._is_failing = False
        if fault is not None:
            self.faults += 1
            log.error("audit-trail-does-not-verify", finding=fault.finding.value, n=fault.n)
        if head is None or head == self.newest:
            return None
        self.newest = head
        return head

    def _note(self, head: Head | None) -> None:
        """Note a head beside its key; blocking."""
        with self._noting:
            # The end of the hub notes its own while an earlier one may still be under way.
            if head is None or head != self.newest:
                return
            try:
                self._seal.note(head)
            except OSError as error:
                log.error("audit-head-not-noted", why=error.strerror)

    def _failed(self, failure: StoreFailure) -> None:
        if not self._is_failing:
            log.error("audit-head-not-signed", why=str(failure))
        self._is_failing = True


def _reached(head: Head) -> State:
    return State(head.trail, head.n, head.hash)


def _since(connection: Connection, newest: Head | None, noted: Head | None, state: State) -> Fault | None:
    """Follow what came after the last head; the last head itself, and the one that is noted, must be met."""
    for head in (newest, noted):
        fault = _missed(connection, head, state) if head is not None else None
        if fault is not None:
            return fault
    walk = Walk(state.trail)
    if newest is not None:
        walk.resume(newest.n, newest.hash)
    for link in audit_trail.links(connection, walk.n):
        fault = walk.take(link)
        if fault is not None:
            return fault
    return None if (walk.n, walk.hash) == (state.n, state.hash) else Fault(Finding.STATE, walk.n)


def _missed(connection: Connection, head: Head, state: State) -> Fault | None:
    """Return what is wrong where the trail does not hold the entry of a head."""
    if head.trail != state.trail:
        return Fault(Finding.OTHER_TRAIL, head.n)
    found = audit_trail.hash_at(connection, head.n)
    if found == head.hash:
        return None
    return Fault(Finding.CUT if found is None else Finding.REWRITTEN, head.n)

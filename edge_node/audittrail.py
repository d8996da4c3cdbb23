"""The node's audit trail as the rest of the node uses it: entries go in at once, heads are signed every minute.

Care never waits for a trail that cannot be written: what could not be stored is tried again and told once.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
from telemed.audit import HEAD_EVERY_S, Entry
from telemed.audit_seal import Seal, SealUnusable, open_seal
from telemed.numbers import epoch_text
from telemed.topics import NodeAddress

from edge_node.buffer.outbox import Gone, StreamKey
from edge_node.buffer.store import Buffer
from edge_node.errors import BufferFailure, ConfigRefused
from edge_node.samples.alarm import Who

SETTLE_EVERY_S = 10.0
"""How soon what was given up is written down: chunks of one stream in between become one entry."""
WAITING_LIMIT = 10_000
"""Entries that wait for a store that takes none; of more the oldest go, and that is told."""
NODE_ROLE = "node"

log = structlog.get_logger(__name__)


class AuditTrail:
    """The trail of one node; used on the event loop alone."""

    def __init__(self, buffer: Buffer, address: NodeAddress, seal: Seal, clock: Callable[[], int]) -> None:
        """Write nothing yet.

        Args:
            buffer: the open store.
            address: of this node, written into each entry.
            seal: signs the heads.
            clock: nanoseconds since the Unix epoch.
        """
        self._log = buffer.audit
        self._address, self._seal, self._clock = address, seal, clock
        self._waiting: list[Entry] = []
        self._fallen = 0
        self._writing, self._signing = asyncio.Lock(), asyncio.Lock()
        self._gone: dict[tuple[StreamKey, str], tuple[int, int]] = {}
        self._is_failing = False
        buffer.on_gone.append(self.given_up)

    async def note(self, who: Who | None, action: str, target: str, result: str = "ok") -> None:
        """Write an entry; returns after the synced commit, or at once where the store takes nothing now.

        Args:
            who: a person; None = the node itself.
            action: stable name, e.g. sign-in.
            target: id of the thing; never a name or value of a patient.
            result: ok, or the code of a refusal.
        """
        await self.note_all(who, [(action, target, result)])

    async def note_all(self, who: Who | None, entries: Iterable[tuple[str, str, str]]) -> None:
        """Write several (action, target, result) of one person by one commit."""
        self._keep([*self._waiting, *(self._entry(who, *entry) for entry in entries)])
        await self._write()

    def note_soon(self, who: Who | None, action: str, target: str, result: str = "ok") -> None:
        """Write an entry with the next ones, within SETTLE_EVERY_S."""
        self._keep([*self._waiting, self._entry(who, action, target, result)])

    def given_up(self, gone: Gone) -> None:
        """Note that numbers of a stream were given up."""
        key = (gone.key, "no-room" if gone.is_for_room else "damaged")
        first, last = gone.runs[0][0], gone.runs[-1][1]
        before = self._gone.get(key, (first, last))
        self._gone[key] = (min(first, before[0]), max(last, before[1]))

    async def began(self, how: str, standing: Iterable[tuple[StreamKey, tuple[int, int]]]) -> None:
        """Note a start, and what stands declared given up: it may have been declared just before a crash.

        Args:
            how: start, or config-reload.
            standing: streams and the first and last number that is declared and not receipted.
        """
        entries = [(how, self._node, "ok")]
        entries += [("shed", _range(key, run), "standing") for key, run in standing]
        await self.note_all(None, entries)

    async def run(self) -> None:
        """Write what waits and sign what grew, until cancelled."""
        signed_s = time.monotonic() - HEAD_EVERY_S
        while True:
            await self.settle()
            if time.monotonic() - signed_s >= HEAD_EVERY_S:
                signed_s = time.monotonic()
                await self.sign()
            await asyncio.sleep(SETTLE_EVERY_S)

    async def settle(self) -> None:
        """Write what waits."""
        gone, self._gone = self._gone, {}
        for (key, why), run in gone.items():
            self.note_soon(None, "shed", _range(key, run), why)
        await self._write()

    async def sign(self) -> None:
        """Sign how far the trail has come; where it cannot be stored, the next time does it.

        Whoever is cancelled meanwhile leaves it to be signed and noted to its end: two must not note at once.
        """
        await asyncio.shield(self._sign())

    async def _sign(self) -> None:
        try:
            async with self._signing:
                fault = await self._log.sign(self._seal)
        except BufferFailure as failure:
            log.warning("audit.not-signed", code=failure.code)
        else:
            if fault is not None:
                log.error("audit.does-not-verify", finding=fault.finding.value, n=fault.n)

    async def ended(self) -> None:
        """Note the end of the node and sign; called once, before the store is closed."""
        self.note_soon(None, "stop", self._node)
        await self.settle()
        await self.sign()

    @property
    def _node(self) -> str:
        return f"node/{self._address.site}/{self._address.node}"

    def _entry(self, who: Who | None, action: str, target: str, result: str) -> Entry:
        actor, role = (who.username, who.role) if who is not None else (self._address.node, NODE_ROLE)
        return Entry(self._clock(), actor, role, action, target, result, self._address.region, self._address.site)

    def _keep(self, entries: list[Entry]) -> None:
        """Have entries wait for the next write; of too many the oldest fall."""
        over = max(0, len(entries) - WAITING_LIMIT)
        self._waiting = entries[over:]
        if over and not self._fallen:
            log.error("audit.entries-fall", limit=WAITING_LIMIT)
        self._fallen += over

    async def _write(self) -> None:
        """Write what waits; whoever is cancelled meanwhile leaves it to be written to its end, once."""
        await asyncio.shield(self._store())

    async def _store(self) -> None:
        async with self._writing:
            # Out of the queue before it is stored: what comes meanwhile pushes nothing of it out.
            batch, self._waiting = self._waiting, []
            if not batch:
                return
            try:
                await self._log.append(batch)
            except BufferFailure as failure:
                self._keep([*batch, *self._waiting])
                if not self._is_failing:
                    log.error("audit.not-stored", code=failure.code, waiting=len(batch))
                self._is_failing = True
                return
            if self._is_failing or self._fallen:
                log.info("audit.stored-again", fallen=self._fallen)
            self._is_failing, self._fallen = False, 0


def seal_in(folder: Path) -> Seal:
    """Return the key that signs this node's heads, made at the first start.

    Raises:
        ConfigRefused: it cannot be made or read, or others may read it.
    """
    try:
        return open_seal(folder)
    except SealUnusable as error:
        raise ConfigRefused(f"buffer.folder: {error}") from error


def _range(key: StreamKey, run: tuple[int, int]) -> str:
    return f"stream/{key.stream}/{epoch_text(key.epoch)}/{run[0]}-{run[1]}"

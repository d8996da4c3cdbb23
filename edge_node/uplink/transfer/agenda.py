"""The queue as it stands now: what may go, in which order, and what is held; kept true in the file and in memory."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from telemed.transfer import FileKind

from edge_node.uplink.transfer import budget, rows
from edge_node.uplink.transfer.budget import Rule, Verdict, Wish
from edge_node.uplink.transfer.ledger import Ledger
from edge_node.uplink.transfer.parcel import Parcel
from edge_node.uplink.transfer.plan import NS, Plan, plan
from edge_node.uplink.transfer.states import State, Step


@dataclass(slots=True)
class Agenda:
    """Read by the sessions, refreshed by the client; everything on the event loop."""

    ledger: Ledger
    rules: Mapping[FileKind, Rule]
    zone: ZoneInfo
    clock_ns: Callable[[], int]
    ready: tuple[Parcel, ...] = ()
    """What may go, in its order; while the hub cannot be reached too."""
    wake_ns: int = 0
    """When something that is held may go; 0 = nothing waits for a time."""
    outage: str = ""
    """Why nothing goes at all, a code; empty while the hub answers."""
    waiting_bytes: Counter[FileKind] = field(default_factory=Counter)
    listeners: list[asyncio.Event] = field(default_factory=list)
    """Set whenever something changed."""
    _spent: Counter[tuple[str, FileKind]] = field(default_factory=Counter)
    """By day and kind, as committed."""
    _unsaved: Counter[tuple[str, FileKind]] = field(default_factory=Counter)

    async def refresh(self) -> None:
        """Look at the queue again, and write down what is held now and what is not any more.

        Raises:
            BufferFailure: the queue cannot be read or written.
        """
        day = self._today()
        found, spent = await self.ledger.read(lambda c: (rows.unfinished(c), rows.spent(c, day)))
        self._spent = Counter({(day, kind): size_bytes for kind, size_bytes in spent.items()})
        used = {kind: self.used_bytes(kind) for kind in FileKind}
        now = plan(found, self.rules, used, self.clock_ns(), self.zone)
        steps = self._steps(found, now)
        if steps:
            await self.ledger.write(lambda c: [rows.step(c, *each) for each in steps])
        self.ready, self.wake_ns = now.ready, now.wake_ns
        self.waiting_bytes = Counter()
        for parcel in found:
            self.waiting_bytes[parcel.labels.kind] += parcel.size_bytes - parcel.durable_bytes
        self.tell()

    def drop(self, parcel: Parcel) -> None:
        """Take a parcel off the list until the next look at the queue."""
        self.ready = tuple(each for each in self.ready if each.parcel_id != parcel.parcel_id)
        self.tell()

    def tell(self) -> None:
        """Wake whoever waits for a change."""
        for event in self.listeners:
            event.set()

    def judge(self, parcel: Parcel, least_bytes: int) -> Verdict:
        """Return whether so much more of a parcel may go by hours and budget."""
        return self.judge_kind(parcel.labels.kind, Wish(least_bytes, parcel.labels.is_urgent))

    def judge_kind(self, kind: FileKind, wish: Wish) -> Verdict:
        """Return what of a kind may go by hours and budget."""
        rule = self.rules.get(kind, Rule())
        return budget.judge(rule, wish, self.used_bytes(kind), self.clock_ns() / NS, self.zone)

    def used_bytes(self, kind: FileKind) -> int:
        """Return what was sent of a kind today."""
        key = (self._today(), kind)
        return self._spent[key] + self._unsaved[key]

    def spend(self, kind: FileKind, size_bytes: int) -> None:
        """Count bytes against today's budget; written down with the next progress."""
        self._unsaved[self._today(), kind] += size_bytes

    def take_unsaved(self) -> Callable[[sqlite3.Connection], None]:
        """Return work that writes down what was spent; it counts as written from now on."""
        taken, self._unsaved = self._unsaved, Counter()
        self._spent += taken

        def work(connection: sqlite3.Connection) -> None:
            for (day, kind), size_bytes in taken.items():
                rows.spend(connection, day, {kind: size_bytes})

        return work

    def _today(self) -> str:
        return budget.day_of(self.clock_ns() / NS, self.zone).isoformat()

    def _steps(self, found: list[Parcel], now: Plan) -> list[tuple[str, Step, str, int]]:
        held = now.held or {}
        steps = []
        for parcel in found:
            hold = held.get(parcel.parcel_id)
            code, resume_ns = (hold.code, hold.resume_ns) if hold else (self.outage, 0)
            if code and (parcel.code, parcel.resume_ns) != (code, resume_ns):
                steps.append((parcel.parcel_id, Step.HOLD, code, resume_ns))
            elif not code and parcel.state is State.PAUSED:
                steps.append((parcel.parcel_id, Step.RESUME, "", 0))
        return steps

"""Reports of the comparison of nodes and hub, in the care database: plain functions on a connection."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, insert, select, update
from telemed.topics import NodeAddress

from cloud_hub.store.schema import reconciliation

State = Literal["running", "finished", "broken"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one step of a comparison found."""

    streams: int = 0
    compared: int = 0
    lost: int = 0
    conflicts: int = 0
    damaged: int = 0

    def not_well(self) -> dict[str, int]:
        """Return what somebody must look at, by name."""
        found = {"lost": self.lost, "conflicts": self.conflicts, "damaged": self.damaged}
        return {name: count for name, count in found.items() if count}


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One comparison of what a node still holds with what is stored here."""

    run_id: str
    address: NodeAddress
    reason: str
    state: State
    began_ns: int
    ended_ns: int
    """0 while it runs."""
    tally: Tally
    healed: int
    """Were missing and are stored again."""
    open: int
    """Asked for again and not back yet."""
    by_stream: Mapping[str, Mapping[str, int]]
    """What is not well, by stream and name of a count."""


def begin(connection: Connection, run_id: str, address: NodeAddress, reason: str, now_ns: int) -> None:
    """Store that a run began; twice is harmless."""
    if find(connection, run_id, address) is not None:
        return
    values = {"run_id": run_id, "reason": reason, "state": "running", "began_ns": now_ns}
    place = {"region": address.region, "site": address.site, "node": address.node}
    connection.execute(insert(reconciliation).values(**values, **place))


def find(connection: Connection, run_id: str, address: NodeAddress) -> Reconciliation | None:
    """Return a run of a node, None where it has no such run."""
    found = connection.execute(select(reconciliation).where(reconciliation.c.run_id == run_id)).first()
    row = None if found is None else _of(found)
    return row if row is not None and row.address == address else None


def running(connection: Connection, address: NodeAddress) -> list[Reconciliation]:
    """Return the runs of a node that have not ended."""
    c = reconciliation.c
    query = select(reconciliation).where(
        c.region == address.region, c.site == address.site, c.node == address.node, c.state == "running"
    )
    return [_of(row) for row in connection.execute(query)]


def newest(connection: Connection, region: str) -> list[Reconciliation]:
    """Return the run of each node that ended last, the nodes in order."""
    c = reconciliation.c
    ended = (
        select(c.site, c.node, func.max(c.ended_ns).label("ended_ns"))
        .where(c.region == region, c.state != "running")
        .group_by(c.site, c.node)
        .subquery()
    )
    same = (c.site == ended.c.site) & (c.node == ended.c.node) & (c.ended_ns == ended.c.ended_ns)
    rows = connection.execute(select(reconciliation).join(ended, same).order_by(c.site, c.node))
    return [_of(row) for row in rows]


def add(connection: Connection, run: Reconciliation, stream: str, tally: Tally) -> None:
    """Add what a step found to a run; the run as it is stored is read again."""
    known = find(connection, run.run_id, run.address)
    if known is None:
        return
    c, by_stream = reconciliation.c, {name: dict(counts) for name, counts in known.by_stream.items()}
    for what, count in tally.not_well().items():
        counts = by_stream.setdefault(stream, {})
        counts[what] = counts.get(what, 0) + count
    values = {
        c.streams: c.streams + tally.streams,
        c.compared: c.compared + tally.compared,
        c.lost: c.lost + tally.lost,
        c.conflicts: c.conflicts + tally.conflicts,
        c.damaged: c.damaged + tally.damaged,
        c.by_stream: json.dumps(by_stream, sort_keys=True),
    }
    connection.execute(update(reconciliation).where(c.run_id == run.run_id).values(values))


def end(connection: Connection, run: Reconciliation, state: State, counts: tuple[int, int], now_ns: int) -> None:
    """Store that a run ended, with (healed, open)."""
    c = reconciliation.c
    values = {"state": state, "ended_ns": now_ns, "healed": counts[0], "open": counts[1]}
    connection.execute(update(reconciliation).where(c.run_id == run.run_id).values(values))


def _of(row: Row[Any]) -> Reconciliation:
    return Reconciliation(
        row.run_id,
        NodeAddress(row.region, row.site, row.node),
        row.reason,
        row.state,
        row.began_ns,
        row.ended_ns,
        Tally(row.streams, row.compared, row.lost, row.conflicts, row.damaged),
        row.healed,
        row.open,
        json.loads(row.by_stream),
    )

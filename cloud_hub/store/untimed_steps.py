"""Steps of alarms that a node made before it knew the hub's clock, put right once the clock of that boot is known.

As `boot_clocks` does it for measurements (reliability 2.6): the corrected times stand in the step, where everybody
reads them; the record as it came stays in `care_record`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2
from telemed.wire import Stamp

from cloud_hub.store import alarms, boot_clocks
from cloud_hub.store.boot_clocks import Boot
from cloud_hub.store.schema import alarm_step, untimed_step

AT_ONCE = 200
"""Steps corrected in one transaction, which holds up the writer."""


_LATEST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Step:
    """A step that waits, with what its record told of the node's clocks."""

    alarm_id: str
    alarm_seq: int
    wall_ns: int
    mono_ns: int


def wait(connection: Connection, address: NodeAddress, stamp: Stamp, event: alarm_pb2.AlarmEvent) -> None:
    """Note that a step is to be corrected; to be called for a step that was kept just now."""
    place = {"region": address.region, "site": address.site, "node": address.node, "boot": stamp.boot}
    step = {"alarm_id": event.alarm_id, "alarm_seq": event.alarm_seq}
    connection.execute(insert(untimed_step).values(**step, **place, wall_ns=stamp.wall_ns, mono_ns=stamp.mono_ns))


def boots(connection: Connection) -> set[Boot]:
    """Return the boots of which steps wait."""
    u = untimed_step.c
    return {Boot(*row) for row in connection.execute(select(u.region, u.site, u.node, u.boot).distinct())}


def correct(connection: Connection, ahead_ns: Mapping[Boot, int], now_ns: int) -> set[str]:
    """Correct steps of boots whose clock is known, at most AT_ONCE; return the alarms that changed.

    Args:
        connection: the care store, in a transaction.
        ahead_ns: of each boot, hub's clock minus the node's CLOCK_BOOTTIME.
        now_ns: hub's clock.
    """
    u, changed = untimed_step.c, set[str]()
    for boot, by_ns in ahead_ns.items():
        is_of = (u.region == boot.region, u.site == boot.site, u.node == boot.node, u.boot == boot.boot)
        query = select(u.alarm_id, u.alarm_seq, u.wall_ns, u.mono_ns).where(*is_of).limit(AT_ONCE)
        for row in connection.execute(query).all():
            step = _Step(*row)
            if _move(connection, step, by_ns):
                changed.add(step.alarm_id)
            is_it = (u.alarm_id == step.alarm_id, u.alarm_seq == step.alarm_seq)
            connection.execute(delete(untimed_step).where(*is_it))
    for alarm_id in changed:
        alarms.fold_anew(connection, alarm_id, now_ns)
    return changed


def _move(connection: Connection, step: _Step, ahead_ns: int) -> bool:
    found = {event.alarm_seq: event for event in alarms.steps_of(connection, step.alarm_id)}
    event = found[step.alarm_seq]

    def shift_ns(at_ns: int) -> int:
        return boot_clocks.shift_ns((step.wall_ns, step.mono_ns, at_ns), ahead_ns)

    onset_ns = event.onset_unix_ns
    changed = _shifted(event, shift_ns)
    if not changed:
        return False
    _rewrite(connection, event)
    # Later steps bear the same begin, also those that were made by a clock that was right by then.
    for later in found.values():
        if later.alarm_seq > step.alarm_seq and later.onset_unix_ns == onset_ns:
            later.onset_unix_ns = event.onset_unix_ns
            _rewrite(connection, later)
    return True


def _shifted(event: alarm_pb2.AlarmEvent, shift_ns: Callable[[int], int]) -> bool:
    """Correct the times of a step in place; True where one changed."""
    before = (event.onset_unix_ns, event.at_unix_ns, event.until_unix_ns)
    by_ns = shift_ns(event.at_unix_ns)
    event.at_unix_ns = _within(event.at_unix_ns + by_ns)
    event.onset_unix_ns = _within(event.onset_unix_ns + shift_ns(event.onset_unix_ns))
    if event.until_unix_ns:
        event.until_unix_ns = _within(event.until_unix_ns + by_ns)
    return before != (event.onset_unix_ns, event.at_unix_ns, event.until_unix_ns)


def _within(at_ns: int) -> int:
    """Return a time that can be stored: a node may have said anything."""
    return min(max(at_ns, 0), _LATEST_NS)


def _rewrite(connection: Connection, event: alarm_pb2.AlarmEvent) -> None:
    is_it = (alarm_step.c.alarm_id == event.alarm_id, alarm_step.c.alarm_seq == event.alarm_seq)
    values = {"at_ns": event.at_unix_ns, "body": event.SerializeToString()}
    connection.execute(update(alarm_step).where(*is_it).values(values))

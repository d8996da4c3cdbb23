"""The alarm that the hub raises itself: a site from which nothing comes (decision 23, reliability 2.5)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2

from cloud_hub.care.identifiers import uuid7
from cloud_hub.desk.alarms import HUB_NODE, next_step
from cloud_hub.desk.intake import AlarmTaken, Taken
from cloud_hub.store import alarms
from cloud_hub.store.engine import Database

CONDITION = "site-silent"
RULESET = ("hub-silence", "1")


@dataclass(frozen=True, slots=True)
class Change:
    """A site fell silent or is heard again."""

    site: str
    since_ns: int | None
    """When it was last heard; None where it is heard again."""


class Silence:
    """Raises and ends the alarm of a silent site; at most one stands for each site."""

    def __init__(
        self, database: Database, region: str, tell: Callable[[list[Taken]], None], now_ns: Callable[[], int]
    ) -> None:
        self._database = database
        self._region = region
        self._tell = tell
        self._now_ns = now_ns

    async def change(self, changes: Iterable[Change]) -> None:
        """Raise the alarms of sites that fell silent and end those of sites that are heard again, in one transaction.

        Harmless where the alarm of the one stands already, and where none of the other stands.

        Raises:
            StoreFailure: nothing is changed.
        """
        taken = await self._database.write(lambda c: [one for change in changes for one in self._changed(c, change)])
        if taken:
            self._tell(taken)

    def _changed(self, connection: Connection, change: Change) -> list[Taken]:
        if change.since_ns is None:
            return self._end(connection, change.site)
        return self._begin(connection, change.site, change.since_ns)

    def _begin(self, connection: Connection, site: str, since_ns: int) -> list[Taken]:
        now_ns = self._now_ns()
        if any(alarm.is_active for alarm in alarms.of_condition(connection, site, CONDITION, now_ns)):
            return []
        step = alarm_pb2.AlarmEvent(
            alarm_id=uuid7(now_ns),
            alarm_seq=1,
            phase=alarm_pb2.PHASE_START,
            priority=alarm_pb2.PRIORITY_MEDIUM,
            condition=CONDITION,
            technical=True,
            onset_unix_ns=since_ns,
            at_unix_ns=now_ns,
            ruleset_id=RULESET[0],
            ruleset_version=RULESET[1],
        )
        return [self._take(connection, site, step)]

    def _end(self, connection: Connection, site: str) -> list[Taken]:
        now_ns = self._now_ns()
        standing = [alarm for alarm in alarms.of_condition(connection, site, CONDITION, now_ns) if alarm.is_active]
        return [self._take(connection, site, next_step(alarm, alarm_pb2.PHASE_END, now_ns)) for alarm in standing]

    def _take(self, connection: Connection, site: str, step: alarm_pb2.AlarmEvent) -> Taken:
        address = NodeAddress(self._region, site, HUB_NODE)
        alarms.take_step(connection, address, step, step.at_unix_ns)
        return AlarmTaken(address, step, step.at_unix_ns)

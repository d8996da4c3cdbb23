"""What people at the hub do with an alarm.

The edge that raised an alarm owns it: the hub writes what was asked into the site's log, and the edge answers
with a step of its own.  Alarms that the hub itself raised (a silent site) it steps itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub.access.rights import Principal
from cloud_hub.care import alarms as care
from cloud_hub.care.alarms import Alarm
from cloud_hub.care.identifiers import uuid7
from cloud_hub.desk.intake import AlarmTaken, EventTaken, Taken
from cloud_hub.desk.referrals import actor_of
from cloud_hub.errors import NotFound, StepRefused
from cloud_hub.store import accounts, alarms, events
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.events import Place

HUB_NODE = "hub"
"""Stands as node on the alarms that the hub itself raised."""
SELF_ENDING = frozenset({"site-silent"})
"""Of the alarms that the hub raises, those whose condition can be seen to be over."""
_PHASES: dict[str, "alarm_pb2.Phase.ValueType"] = {
    "accept": alarm_pb2.PHASE_ACCEPTED,
    "seen": alarm_pb2.PHASE_SEEN,
    "pause": alarm_pb2.PHASE_AUDIO_PAUSED,
    "resolve": alarm_pb2.PHASE_RESOLVED,
    "reset": alarm_pb2.PHASE_RESET,
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody asks of an alarm."""

    action: str
    """accept, pause, resolve, reset or seen."""
    text: str = ""
    useful: str = ""
    pause_s: int = 120


class Alarms:
    """The desk's alarms; `tell` is called on the event loop after each commit."""

    def __init__(
        self, database: Database, region: str, tell: Callable[[list[Taken]], None], now_ns: Callable[[], int]
    ) -> None:
        self._database = database
        self._region = region
        self._tell = tell
        self._now_ns = now_ns

    async def act(self, principal: Principal, alarm_id: str, ask: Ask) -> Alarm:
        """Ask for a step of an alarm, once; return the alarm as it is known then.

        Raises:
            NotFound: no such alarm within this person's scope.
            StepRefused: somebody else has it already, or it is over; carries what is allowed.
        """
        alarm, taken = await self._database.write(lambda connection: self._act(connection, principal, alarm_id, ask))
        self._tell(taken)
        return alarm

    async def see(self, principal: Principal, alarm_ids: list[str]) -> None:
        """Note that this person saw these alarms; those unknown, out of scope or seen before are passed over."""
        taken = await self._database.write(lambda connection: self._see(connection, principal, alarm_ids))
        if taken:
            self._tell(taken)

    def _act(self, connection: Connection, principal: Principal, alarm_id: str, ask: Ask) -> tuple[Alarm, list[Taken]]:
        alarm = self._within_scope(connection, principal, alarm_id)
        if ask.action not in care.allowed_actions(alarm):
            raise StepRefused(_why_not(alarm, ask.action), care.allowed_actions(alarm))
        taken = self._steps(connection, principal, alarm, ask)
        self._audit(connection, principal, alarm, ask)
        return self._within_scope(connection, principal, alarm_id), taken

    def _see(self, connection: Connection, principal: Principal, alarm_ids: list[str]) -> list[Taken]:
        taken: list[Taken] = []
        for alarm_id in alarm_ids:
            alarm = alarms.alarm_of(connection, self._region, alarm_id)
            if alarm is None or not _sees(principal, alarm) or _was_seen(alarm):
                continue
            taken.extend(self._steps(connection, principal, alarm, Ask("seen")))
        return taken

    def _within_scope(self, connection: Connection, principal: Principal, alarm_id: str) -> Alarm:
        alarm = alarms.alarm_of(connection, self._region, alarm_id)
        if alarm is None or not _sees(principal, alarm):
            raise NotFound("no such alarm within scope")
        return alarm

    def _steps(self, connection: Connection, principal: Principal, alarm: Alarm, ask: Ask) -> list[Taken]:
        if alarm.node != HUB_NODE:
            return [self._asked(connection, principal, alarm, ask)]
        taken: list[Taken] = [self._own_step(connection, principal, alarm, ask)]
        if ask.action == "resolve" and alarm.is_active and alarm.first.condition not in SELF_ENDING:
            # It tells of something that happened, so nothing but a person ends it.
            later = self._within_scope(connection, principal, alarm.alarm_id)
            taken.append(self._own_step(connection, principal, later, Ask("reset")))
        return taken

    def _asked(self, connection: Connection, principal: Principal, alarm: Alarm, ask: Ask) -> Taken:
        where, now_ns = Place(alarm.region, alarm.site), self._now_ns()
        event = event_pb2.Event(
            event_id=uuid7(now_ns),
            aggregate_type="alarm",
            aggregate_id=alarm.alarm_id,
            base_version=events.version(connection, where, "alarm", alarm.alarm_id),
            at_unix_ns=now_ns,
            actor=actor_of(principal),
            alarm_action=event_pb2.AlarmAction(
                action=ask.action,
                text=ask.text,
                useful=ask.useful,
                pause_s=ask.pause_s if ask.action == "pause" else 0,
                alarm_seq=alarm.steps[-1].alarm_seq,
            ),
        )
        ordered = events.append_hub_event(connection, where, event, now_ns)
        if ordered.refused:
            raise StepRefused(ordered.refusal, care.allowed_actions(alarm))
        return EventTaken(alarm.region, alarm.site, ordered)

    def _own_step(self, connection: Connection, principal: Principal, alarm: Alarm, ask: Ask) -> Taken:
        now_ns = self._now_ns()
        step = next_step(alarm, _PHASES[ask.action], now_ns)
        step.actor.CopyFrom(actor_of(principal))
        step.note, step.useful = ask.text, ask.useful
        if ask.action == "pause":
            step.until_unix_ns = now_ns + ask.pause_s * 10**9
        address = NodeAddress(alarm.region, alarm.site, HUB_NODE)
        alarms.take_step(connection, address, step, now_ns)
        return AlarmTaken(address, step, now_ns)

    def _audit(self, connection: Connection, principal: Principal, alarm: Alarm, ask: Ask) -> None:
        accounts.write_audit(
            connection,
            AuditEntry(
                at_ns=self._now_ns(),
                actor=principal.username,
                role=principal.role,
                action=f"alarm-{ask.action}",
                target=f"alarm/{alarm.alarm_id}",
                result="ok",
                region=alarm.region,
                site=alarm.site,
            ),
        )


def next_step(alarm: Alarm, phase: "alarm_pb2.Phase.ValueType", now_ns: int) -> alarm_pb2.AlarmEvent:
    """Return a further step of an alarm that the hub itself raised."""
    step = alarm_pb2.AlarmEvent()
    step.CopyFrom(alarm.newest)
    for field in ("actor", "note", "until_unix_ns", "cause_event_id", "useful"):
        step.ClearField(field)
    step.alarm_seq = alarm.steps[-1].alarm_seq + 1
    step.phase = phase
    step.at_unix_ns = now_ns
    return step


def _sees(principal: Principal, alarm: Alarm) -> bool:
    """True where somebody may step an alarm; each asking here changes it, so a broken glass does not open it."""
    first = alarm.first
    return principal.for_changes().sees_alarm(alarm.site, first.person_id, is_technical=first.technical)


def _was_seen(alarm: Alarm) -> bool:
    return alarm.seen is not None or any(asked.action == "seen" for asked in alarm.asked)


def _why_not(alarm: Alarm, action: str) -> str:
    if action == "accept" and alarm.acceptor is not None:
        return f"accepted already by {alarm.acceptor.name_en or alarm.acceptor.username}"
    return f"{action} is not possible now"

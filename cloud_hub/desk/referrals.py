"""What the hub does with a referral: triage, accept, move on; each step one transaction with its audit entry."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection
from telemed import referral as table
from telemed.errors import Code
from telemed.referral import State
from telemed.v1 import event_pb2

from cloud_hub.access.rights import Principal, Right
from cloud_hub.care import referral
from cloud_hub.care.identifiers import uuid7
from cloud_hub.care.referral import Referral
from cloud_hub.desk.intake import EventTaken, Taken
from cloud_hub.errors import BadRequest, NotFound, StepRefused
from cloud_hub.store import accounts, events
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.events import Place


@dataclass(frozen=True, slots=True)
class Step:
    """What somebody asks of a referral."""

    to_states: tuple[str, ...]
    """One state, or those that one click goes through (decision 33)."""
    version: int
    """Version that the asker saw."""
    level: str = ""
    reason_code: str = ""
    text: str = ""


TRIAGE_ACCEPT = (State.TRIAGED, State.ACCEPTED)


class Referrals:
    """The desk's referrals; `tell` is called on the event loop after each commit."""

    def __init__(
        self, database: Database, region: str, tell: Callable[[list[Taken]], None], now_ns: Callable[[], int]
    ) -> None:
        self._database = database
        self._region = region
        self._tell = tell
        self._now_ns = now_ns

    async def move(self, principal: Principal, referral_id: str, step: Step) -> None:
        """Take a step, or all the steps of one click, in one transaction.

        Raises:
            NotFound: no such referral within this person's sites.
            BadRequest: a field that the step needs is missing.
            StepRefused: not legal now, or the referral has moved since `step.version`; carries what is allowed.
        """
        taken = await self._database.write(lambda connection: self._move(connection, principal, referral_id, step))
        self._tell(taken)

    def _move(self, connection: Connection, principal: Principal, referral_id: str, step: Step) -> list[Taken]:
        site = events.site_of(connection, self._region, "referral", referral_id)
        if site is None or not principal.sees_site(site):
            raise NotFound("no such referral within scope")
        for to_state in step.to_states:
            if principal.role not in table.ENTERED_BY[State(to_state)]:
                # Before the state is judged: who may not take a step at all is not told when it is possible.
                principal.demand(_right_for(to_state))
        where = Place(self._region, site)
        current = _present(connection, where, referral_id)
        if step.version != current.version:
            raise StepRefused(Code.REFUSED_VERSION, _allowed(current, principal))
        taken: list[Taken] = []
        for to_state in step.to_states:
            event = self._event(principal, current, to_state, step)
            _check(current, event, principal)
            ordered = events.append_hub_event(connection, where, event, self._now_ns())
            if ordered.refused:
                raise StepRefused(ordered.refusal, _allowed(current, principal))
            taken.append(EventTaken(self._region, site, ordered))
            current = _present(connection, where, referral_id)
        self._audit(connection, principal, site, referral_id, step)
        return taken

    def _event(self, principal: Principal, current: Referral, to_state: str, step: Step) -> event_pb2.Event:
        level = step.level or (current.level if to_state == State.TRIAGED else "")
        owner = principal.username if to_state == State.ACCEPTED else ""
        now_ns = self._now_ns()
        return event_pb2.Event(
            event_id=uuid7(now_ns),
            aggregate_type="referral",
            aggregate_id=current.referral_id,
            base_version=current.version,
            at_unix_ns=now_ns,
            actor=actor_of(principal),
            referral_moved=event_pb2.ReferralMoved(
                to_state=to_state, level=level, reason_code=step.reason_code, text=step.text, owner=owner
            ),
        )

    def _audit(self, connection: Connection, principal: Principal, site: str, referral_id: str, step: Step) -> None:
        accounts.write_audit(
            connection,
            AuditEntry(
                at_ns=self._now_ns(),
                actor=principal.username,
                role=principal.role,
                action="referral-move",
                target=f"referral/{referral_id} {'+'.join(step.to_states)}",
                result="ok",
                region=self._region,
                site=site,
            ),
        )


def actor_of(principal: Principal) -> event_pb2.Actor:
    """Return who acts, as it stands in events."""
    return event_pb2.Actor(
        username=principal.username, role=principal.role, name_zh=principal.name_zh, name_en=principal.name_en
    )


def _present(connection: Connection, where: Place, referral_id: str) -> Referral:
    found = referral.fold(referral_id, events.of_aggregate(connection, where, "referral", referral_id))
    if found is None:
        raise NotFound("no such referral within scope")
    return found


def _allowed(current: Referral, principal: Principal) -> list[str]:
    return [str(state) for state in referral.allowed(current, principal.role)]


def _check(current: Referral, event: event_pb2.Event, principal: Principal) -> None:
    refusal = referral.judge(current, event)
    if refusal is Code.REFUSED_RIGHTS:
        principal.demand(_right_for(event.referral_moved.to_state))
    if refusal is not None:
        raise StepRefused(refusal, _allowed(current, principal))
    lacking = referral.missing(current, event.referral_moved)
    if lacking:
        raise BadRequest(f"{event.referral_moved.to_state} needs {', '.join(lacking)}", lacking)


def _right_for(to_state: str) -> Right:
    roles = table.ENTERED_BY[State(to_state)]
    return Right.TRIAGE if "physician" in roles else Right.MAKE_REFERRAL

"""Referrals as this station knows them: the hub's order, with what was written here on top (decision 5)."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from telemed import referral as life
from telemed import screen
from telemed.errors import Code
from telemed.measures import MEASURES
from telemed.referral import State
from telemed.v1 import event_pb2

from edge_node.bedside import views
from edge_node.bedside.ports import LinkNow, Surroundings
from edge_node.bedside.problems import Refusal
from edge_node.errors import NotFound, NotPermitted, StepRefused
from edge_node.samples.alarm import Who
from edge_node.samples.identifiers import uuid7

MS = 1_000_000
AGGREGATE = "referral"
NS = 1_000_000_000
HUB_BEATS_MISSED = 2
"""A referral was written offline if the hub missed this many of its heartbeats."""


@dataclass(slots=True)
class Case:
    """One referral as the fold of its events."""

    submitted: event_pb2.Event
    state: State = State.SUBMITTED
    level: str = ""
    owner: str = ""
    version: int = 0
    """Version as the hub ordered it, with what waits here counted on top."""
    is_at_hub: bool = False
    has_pending: bool = False
    moves: list[screen.ReferralMove] = field(default_factory=list)

    @property
    def level_now(self) -> str:
        """The level set by triage, or the one claimed."""
        return self.level or self.submitted.referral_submitted.level_claim


def fold(ordered: Iterable[event_pb2.OrderedEvent], pending: Iterable[event_pb2.Event]) -> dict[str, Case]:
    """Return the referrals that the log and the proposals not yet ordered describe."""
    cases: dict[str, Case] = {}
    for row in ordered:
        _take(cases, row.event, row)
    for event in pending:
        if event.aggregate_type == AGGREGATE:
            _take(cases, event, None)
    return cases


def _take(cases: dict[str, Case], event: event_pb2.Event, ordered: event_pb2.OrderedEvent | None) -> None:
    case = cases.get(event.aggregate_id)
    if event.WhichOneof("body") == "referral_submitted":
        if case is None:
            case = cases[event.aggregate_id] = Case(event)
        target, level, text = State.SUBMITTED, "", ""
    elif case is not None and event.referral_moved.to_state in State.__members__:
        moved = event.referral_moved
        target, level, text = State(moved.to_state), moved.level, moved.text
    else:
        return
    refused = ordered.refusal if ordered is not None and ordered.refused else ""
    if not refused:
        case.state, case.level = target, level or case.level
        case.owner = event.referral_moved.owner or case.owner
    if ordered is None:
        # What the hub will have made of it, if nothing happens there meanwhile.
        case.version, case.has_pending = case.version + 1, True
    else:
        case.version, case.is_at_hub = ordered.version, True
    case.moves.append(_move(event, target, level, text, refused, ordered is None))


def _move(
    event: event_pb2.Event, target: State, level: str, text: str, refused: str, pending: bool
) -> screen.ReferralMove:
    actor = event.actor
    who = Who(actor.username, actor.role, actor.name_zh, actor.name_en)
    return screen.ReferralMove(
        state=target.value,
        at_ms=event.at_unix_ns // MS,
        who=views.text2(who),
        text=text,
        level=level,
        refused=refused,
        pending=pending,
    )


def clocks_ms(case: Case) -> tuple[int | None, int | None]:
    """Return when the present state must have been left and when it escalates, in ms, or None where no clock runs."""
    levels = life.ACKNOWLEDGE_WITHIN_S if case.state is State.SUBMITTED else life.VIDEO_WITHIN_S
    if case.state not in (State.SUBMITTED, State.TRIAGED, State.ACCEPTED, State.SCHEDULED):
        return None, None
    limit_s = levels.get(case.level_now)
    if limit_s is None:
        return None, None
    started_ms = case.submitted.at_unix_ns // MS
    pct = life.ESCALATE_AT_PCT[case.level_now]
    return started_ms + limit_s * 1000, started_ms + limit_s * 10 * pct


def actions_for(case: Case, role: str) -> list[str]:
    """Return the states that a role may take this referral to."""
    return [state.value for state in life.allowed(case.state) if role in life.ENTERED_BY[state]]


class ReferralDesk:
    """What people at this station do with referrals."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._writing = asyncio.Lock()

    def cases(self) -> dict[str, Case]:
        """Return all referrals of this site."""
        care = self._around.care
        return fold(care.ordered(AGGREGATE), care.pending())

    def views(self, role: str) -> list[screen.Referral]:
        """Return all referrals as screens show them, newest first."""
        rows = [self.view(case, role) for case in self.cases().values()]
        return sorted(rows, key=lambda row: -row.authored_at_ms)

    def view_of(self, referral_id: str, role: str) -> screen.Referral:
        """Return one referral.

        Raises:
            NotFound: it is not known here.
        """
        return self.view(self._case(referral_id), role)

    def view(self, case: Case, role: str) -> screen.Referral:
        """Return a referral as screens show it to a role."""
        around, body = self._around, case.submitted.referral_submitted
        deadline_ms, escalates_ms = clocks_ms(case)
        site = around.config.node.site
        return screen.Referral(
            referral_id=case.submitted.aggregate_id,
            site=site,
            bed_key=views.key_of(site, body.bed),
            patient=views.patient(around.care.roster.persons.get(body.person_id), views.today(around)),
            state=case.state.value,
            level=case.level_now,
            level_claim=body.level_claim,
            version=case.version,
            authored_at_ms=case.submitted.at_unix_ns // MS,
            received_at_ms=None,
            last_known_well_ms=body.last_known_well_unix_ns // MS or None,
            last_known_well_code=body.last_known_well_code,
            main_signs=list(body.main_signs),
            anticoagulant=body.anticoagulant,
            callback=body.callback,
            question=body.question,
            readings=[_reading(row) for row in body.readings],
            news2_total=body.news2_total if body.news2_known else None,
            news2_complete=body.news2_complete,
            offline=body.offline,
            deadline_ms=deadline_ms,
            escalates_at_ms=escalates_ms,
            owner=case.owner,
            moves=case.moves,
            allowed=actions_for(case, role),
            sync="at-hub" if case.is_at_hub and not case.has_pending else "saved-here",
        )

    async def submit(self, body: screen.ReferralBody, who: Who) -> tuple[str, bool]:
        """Write a new referral; return its id and whether it is new: sending twice makes one.

        Raises:
            NotPermitted: this role does not refer.
            Refusal: a field is not right.
        """
        if who.role not in life.ENTERED_BY[State.SUBMITTED]:
            raise NotPermitted("only a clinic doctor signs a referral")
        bed = self._checked_bed(body)
        async with self._writing:
            if body.referral_id in self.cases():
                return body.referral_id, False
            event = self._event(body.referral_id, 0, who)
            event.referral_submitted.CopyFrom(self._submitted(body, bed))
            await self._around.care.propose(event)
        return body.referral_id, True

    async def move(self, referral_id: str, body: screen.ReferralActionBody, who: Who) -> None:
        """Take the next step of a referral.

        Raises:
            NotFound: it is not known here.
            NotPermitted: this role may not take the step.
            StepRefused: not possible from its present state.
            Refusal: the page saw another version.
        """
        async with self._writing:
            case = self._case(referral_id)
            if body.version != case.version:
                raise Refusal(
                    Code.REFUSED_VERSION.value, f"version is {case.version}", allowed=actions_for(case, who.role)
                )
            for number, (target, level) in enumerate(_targets(case, body)):
                self._may(case.state if number == 0 else State.TRIAGED, target, who.role)
                event = self._event(referral_id, case.version + number, who)
                event.referral_moved.CopyFrom(
                    event_pb2.ReferralMoved(
                        to_state=target.value, level=level, reason_code=body.reason_code, text=body.text
                    )
                )
                await self._around.care.propose(event)

    def _case(self, referral_id: str) -> Case:
        case = self.cases().get(referral_id)
        if case is None:
            raise NotFound("no such referral at this site")
        return case

    def _may(self, current: State, target: State, role: str) -> None:
        if not life.is_legal(current, target):
            raise StepRefused(f"{current} -> {target}", [state.value for state in life.allowed(current)])
        if role not in life.ENTERED_BY[target]:
            raise NotPermitted(f"{role} may not take a referral to {target}")

    def _checked_bed(self, body: screen.ReferralBody) -> str:
        unknown = [sign for sign in body.main_signs if sign not in life.MAIN_SIGNS]
        if unknown:
            raise Refusal("bad-input", f"no such sign: {', '.join(unknown)}", fields=["main_signs"])
        try:
            UUID(body.referral_id)
        except ValueError as error:
            raise Refusal("bad-input", "not a UUID", fields=["referral_id"]) from error
        bed = bed_of(self._around, body.bed_key)
        if bed is None:
            raise Refusal("bad-input", "no such bed at this site", fields=["bed_key"])
        return bed

    def _submitted(self, body: screen.ReferralBody, bed: str) -> event_pb2.ReferralSubmitted:
        around = self._around
        score = around.ward.score(bed)
        known = score is not None and score.refused is None
        return event_pb2.ReferralSubmitted(
            level_claim=body.level_claim,
            person_id=around.care.roster.beds.get(bed, ""),
            bed=bed,
            last_known_well_unix_ns=(body.last_known_well_ms or 0) * MS,
            last_known_well_code=body.last_known_well_code,
            main_signs=body.main_signs,
            anticoagulant=body.anticoagulant,
            callback=body.callback or around.config.node.phone,
            question=body.question,
            readings=self._readings(bed),
            news2_total=score.total if score is not None and known else 0,
            news2_complete=score.complete if score is not None and known else False,
            news2_known=known,
            offline=is_offline(around.link(), around.clock(), around.config.uplink.presence_every_s),
        )

    def _readings(self, bed: str) -> Sequence[event_pb2.ReferralReading]:
        return [
            event_pb2.ReferralReading(
                measure=held.value.measure,
                value=held.value.value,
                unit=held.value.unit,
                measured_at_unix_ns=held.measured_at_ns,
            )
            for held in self._around.ward.bed(bed).held.values()
            if held.may_count
        ]

    def _event(self, referral_id: str, base_version: int, who: Who) -> event_pb2.Event:
        now_ns = self._around.clock()
        return event_pb2.Event(
            event_id=uuid7(now_ns),
            aggregate_type=AGGREGATE,
            aggregate_id=referral_id,
            base_version=base_version,
            at_unix_ns=now_ns,
            actor=event_pb2.Actor(username=who.username, role=who.role, name_zh=who.name_zh, name_en=who.name_en),
        )


def is_offline(link: LinkNow, now_ns: int, beat_s: float) -> bool:
    """Return whether a referral written now is written while the hub cannot be reached.

    That is so when the hub's last word is older than HUB_BEATS_MISSED of its heartbeats, before the alarm of its
    silence, since who reads the referral asks whether it was seen in time.  A link that is slow or behind ("weak")
    but on which the hub answers is no reason: alarms and referrals go ahead of what waits.
    """
    return now_ns - link.last_hub_ns > HUB_BEATS_MISSED * beat_s * NS


def bed_of(around: Surroundings, bed_key: str) -> str | None:
    """Return the bed code of a key, or None where it is not a bed of this site."""
    site, _, bed = bed_key.partition(":")
    known = {row.bed for row in around.config.beds}
    return bed if site == around.config.node.site and bed in known else None


def _targets(case: Case, body: screen.ReferralActionBody) -> list[tuple[State, str]]:
    if body.action == "triage-accept":
        return [(State.TRIAGED, case.level_now), (State.ACCEPTED, "")]
    if body.to_state not in State.__members__:
        raise Refusal("bad-input", f"no such state: {body.to_state!r}", fields=["to_state"])
    if body.level and body.level not in life.LEVELS:
        raise Refusal("bad-input", f"no such level: {body.level!r}", fields=["level"])
    if State(body.to_state) is State.TRIAGED and not body.level:
        raise Refusal("bad-input", "triage needs a level", fields=["level"])
    return [(State(body.to_state), body.level)]


def _reading(row: event_pb2.ReferralReading) -> screen.Reading:
    known = MEASURES.get(row.measure)
    return screen.Reading(
        measure=row.measure,
        value=row.value,
        unit=row.unit,
        measured_at_ms=row.measured_at_unix_ns // MS,
        arrived_at_ms=row.measured_at_unix_ns // MS,
        quality="valid",
        origin="manual" if row.measure in ("acvpu", "oxygen", "o2_flow") else "live",
        stale_after_s=known.stale_after_s if known is not None else 300,
    )

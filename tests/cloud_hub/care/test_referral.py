"""The referral's life cycle as a fold of events, and every step that must be refused."""

import pytest
from telemed import referral as table
from telemed.errors import Code
from telemed.referral import State
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.care import referral
from cloud_hub.care.referral import PHONE_HANDOVER, Ordered, Referral

START_NS = 1_800_000_000 * 10**9
MINUTE_NS = 60 * 10**9
PATHS: dict[State, list[State]] = {
    State.SUBMITTED: [],
    State.TRIAGED: [State.TRIAGED],
    State.ACCEPTED: [State.TRIAGED, State.ACCEPTED],
    State.REDIRECTED: [State.TRIAGED, State.REDIRECTED],
    State.DECLINED: [State.TRIAGED, State.DECLINED],
    State.MORE_INFO: [State.TRIAGED, State.MORE_INFO],
    State.SCHEDULED: [State.TRIAGED, State.ACCEPTED, State.SCHEDULED],
    State.IN_CONSULT: [State.TRIAGED, State.ACCEPTED, State.IN_CONSULT],
    State.ADMITTED: [State.TRIAGED, State.ACCEPTED, State.IN_CONSULT, State.ADMITTED],
    State.TREATED: [State.TRIAGED, State.ACCEPTED, State.IN_CONSULT, State.TREATED],
    State.REPORTED: [State.TRIAGED, State.ACCEPTED, State.IN_CONSULT, State.REPORTED],
    State.CANCELLED: [State.CANCELLED],
    State.DECEASED: [State.DECEASED],
    State.NO_SHOW: [State.TRIAGED, State.ACCEPTED, State.SCHEDULED, State.NO_SHOW],
}
PATHS[State.DOWN_REFERRED] = [*PATHS[State.REPORTED], State.DOWN_REFERRED]
PATHS[State.FOLLOW_UP] = [*PATHS[State.REPORTED], State.FOLLOW_UP]
PATHS[State.CLOSED] = [*PATHS[State.REPORTED], State.CLOSED]


def _role_for(state: State) -> Role:
    return sorted(table.ENTERED_BY[state])[0] if table.ENTERED_BY[state] else Role.PHYSICIAN


def _submission(level: str = "T0", offline_min: int = 0, version: int = 1) -> Ordered:
    event = event_pb2.Event(
        event_id="e1",
        aggregate_id="r1",
        base_version=version - 1,
        at_unix_ns=START_NS,
        actor=event_pb2.Actor(username="clinic", role=Role.CLINIC),
        referral_submitted=event_pb2.ReferralSubmitted(level_claim=level, bed="B02"),
    )
    ordered = event_pb2.OrderedEvent(site_seq=1, version=version, event=event)
    return Ordered(ordered, START_NS + offline_min * MINUTE_NS)


def _move(state: State, version: int, role: Role | None = None, **body: object) -> event_pb2.Event:
    return event_pb2.Event(
        base_version=version,
        at_unix_ns=START_NS,
        actor=event_pb2.Actor(username="x", role=role or _role_for(state)),
        referral_moved=event_pb2.ReferralMoved(to_state=state, **body),  # type: ignore[arg-type]
    )


def _at(state: State, level: str = "T0") -> Referral:
    events = [_submission(level)]
    for version, step in enumerate(PATHS[state], 2):
        ordered = event_pb2.OrderedEvent(site_seq=version, version=version, event=_move(step, version - 1))
        events.append(Ordered(ordered, START_NS))
    found = referral.fold("r1", events)
    assert found is not None
    assert found.state is state
    return found


@pytest.mark.parametrize("current", list(PATHS))
def test_every_step_that_the_table_does_not_name_is_refused(current: State) -> None:
    present = _at(current)
    for target in State:
        refusal = referral.judge(present, _move(target, present.version))
        if target in table.TRANSITIONS[current] and table.ENTERED_BY[target]:
            assert refusal is None, (current, target)
        else:
            assert refusal in {Code.REFUSED_ILLEGAL_STATE, Code.REFUSED_RIGHTS}, (current, target)
            assert target not in referral.allowed(present) or not table.ENTERED_BY[target]


@pytest.mark.parametrize("state", sorted(set(PATHS) & table.OPEN))
def test_a_step_by_a_role_that_may_not_take_it_is_refused(state: State) -> None:
    present = _at(state)
    for target in referral.allowed(present):
        for role in set(Role) - table.ENTERED_BY[target]:
            assert referral.judge(present, _move(target, present.version, role)) is Code.REFUSED_RIGHTS


def test_a_step_on_an_old_version_is_refused() -> None:
    present = _at(State.TRIAGED)

    assert referral.judge(present, _move(State.ACCEPTED, present.version - 1)) is Code.REFUSED_VERSION
    assert referral.judge(present, _move(State.ACCEPTED, present.version + 1)) is Code.REFUSED_VERSION


def test_a_step_of_a_referral_that_does_not_exist_is_refused() -> None:
    assert referral.judge(None, _move(State.TRIAGED, 0)) is Code.REFUSED_ILLEGAL_STATE
    assert referral.judge(None, _move(State.SUBMITTED, 0)) is Code.REFUSED_UNKNOWN_AGGREGATE
    strange = _move(State.SUBMITTED, 0)
    strange.referral_moved.to_state = "FLYING"
    assert referral.judge(_at(State.SUBMITTED), strange) is Code.REFUSED_ILLEGAL_STATE


def test_nothing_is_closed_without_a_report() -> None:
    present = _at(State.ADMITTED)
    events = [_submission()]
    steps = [*PATHS[State.ADMITTED], State.DOWN_REFERRED, State.FOLLOW_UP]
    for version, step in enumerate(steps, 2):
        events.append(Ordered(event_pb2.OrderedEvent(version=version, event=_move(step, version - 1)), START_NS))
    followed = referral.fold("r1", events)

    assert present.state is State.ADMITTED
    assert followed is not None
    assert State.CLOSED not in referral.allowed(followed)
    assert referral.judge(followed, _move(State.CLOSED, followed.version)) is Code.REFUSED_ILLEGAL_STATE
    assert State.CLOSED in referral.allowed(_at(State.FOLLOW_UP))


def test_an_urgent_case_is_declined_only_after_a_telephone_hand_over() -> None:
    present = _at(State.TRIAGED, "T1")
    bare = event_pb2.ReferralMoved(to_state=State.DECLINED, reason_code="no-bed", text="advice")
    phoned = event_pb2.ReferralMoved(to_state=State.DECLINED, reason_code=PHONE_HANDOVER, text="advice")

    assert referral.missing(present, bare) == ["reason_code"]
    assert referral.missing(present, phoned) == []
    assert referral.missing(_at(State.TRIAGED, "T3"), bare) == []
    assert referral.missing(present, event_pb2.ReferralMoved(to_state=State.DECLINED)) == ["reason_code", "text"]


@pytest.mark.parametrize(
    ("level", "ack_min", "escalate_min"), [("T0", 2, 1), ("T1", 15, 11.25), ("T2", 120, 90), ("T3", 1440, 1296)]
)
def test_the_hubs_clock_runs_from_receipt_and_the_patients_from_the_authors_time(
    level: str, ack_min: float, escalate_min: float
) -> None:
    present = referral.fold("r1", [_submission(level, offline_min=13)])
    assert present is not None
    clocks = referral.clocks(present)

    assert present.authored_ns == START_NS
    assert clocks.deadline_ns == START_NS + int((13 + ack_min) * MINUTE_NS)
    assert clocks.escalates_ns == START_NS + int((13 + escalate_min) * MINUTE_NS)


def test_triage_changes_the_level_and_starts_the_clock_to_video() -> None:
    events = [_submission("T0")]
    event = _move(State.TRIAGED, 1, level="T2")
    events.append(Ordered(event_pb2.OrderedEvent(version=2, event=event), START_NS + MINUTE_NS))
    present = referral.fold("r1", events)

    assert present is not None
    assert present.level == "T2"
    assert referral.clocks(present).deadline_ns == START_NS + 24 * 60 * MINUTE_NS


def test_asking_for_more_pauses_the_hubs_clock() -> None:
    assert referral.clocks(_at(State.MORE_INFO)).deadline_ns is None


def test_a_refused_step_is_shown_and_changes_nothing() -> None:
    refused = event_pb2.OrderedEvent(
        version=1, refused=True, refusal=Code.REFUSED_ILLEGAL_STATE, event=_move(State.REPORTED, 1)
    )
    present = referral.fold("r1", [_submission(), Ordered(refused, START_NS)])

    assert present is not None
    assert (present.state, present.version) == (State.SUBMITTED, 1)
    assert [move.refused for move in present.moves] == ["", Code.REFUSED_ILLEGAL_STATE]


def test_a_level_that_does_not_exist_changes_nothing() -> None:
    event = _move(State.TRIAGED, 1, level="T9")
    present = referral.fold(
        "r1", [_submission("T1"), Ordered(event_pb2.OrderedEvent(version=2, event=event), START_NS)]
    )

    assert present is not None
    assert present.level == "T1"
    assert referral.clocks(present).deadline_ns == START_NS + 60 * MINUTE_NS

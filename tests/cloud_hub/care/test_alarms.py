"""The fold of an alarm's steps, and what was asked at the hub meanwhile."""

from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub.care import alarms
from cloud_hub.care.alarms import Alarm, Asked

ADDRESS = ("baoshan", "baoshan-clinic", "edge-clinic")
START_NS = 1_800_000_000 * 10**9
SECOND_NS = 10**9
NURSE = event_pb2.Actor(username="clinic", name_zh="苏叶")
PHYSICIAN = event_pb2.Actor(username="physician", name_zh="黄芪")


def _step(seq: int, phase: "alarm_pb2.Phase.ValueType", at_s: float = 0, **more: object) -> alarm_pb2.AlarmEvent:
    fields: dict[str, object] = {"priority": alarm_pb2.PRIORITY_HIGH, "onset_unix_ns": START_NS} | more
    return alarm_pb2.AlarmEvent(
        alarm_id="a1",
        alarm_seq=seq,
        phase=phase,
        condition="spo2-low",
        at_unix_ns=START_NS + int(at_s * SECOND_NS),
        **fields,  # type: ignore[arg-type]
    )


def _alarm(*steps: alarm_pb2.AlarmEvent) -> Alarm:
    return alarms.fold(ADDRESS, [(step, START_NS + SECOND_NS) for step in steps])


def _asked(action: str, at_s: float, event_id: str = "e1", seq: int = 0) -> Asked:
    return Asked(event_id, action, PHYSICIAN, START_NS + int(at_s * SECOND_NS), "", seq)


START = _step(1, alarm_pb2.PHASE_START)
ACCEPTED = _step(2, alarm_pb2.PHASE_ACCEPTED, 5, actor=NURSE)


def test_steps_out_of_order_and_twice_make_the_same_alarm() -> None:
    end = _step(3, alarm_pb2.PHASE_END, 9)
    straight = _alarm(START, ACCEPTED, end)
    mixed = _alarm(START)
    for step in (end, ACCEPTED, end, START):
        mixed = alarms.after(mixed, step)

    assert mixed == straight
    assert (mixed.is_active, mixed.acceptor) == (False, NURSE)


def test_a_latching_alarm_stays_until_a_person_resets_it() -> None:
    ended = _alarm(_step(1, alarm_pb2.PHASE_START, latching=True), _step(2, alarm_pb2.PHASE_END, 5))
    reset = alarms.after(ended, _step(3, alarm_pb2.PHASE_RESET, 9))

    assert (ended.is_active, ended.is_latched) == (False, True)
    assert (reset.is_active, reset.is_latched) == (False, False)


def test_an_alarm_that_becomes_worse_has_to_be_accepted_anew() -> None:
    worse = _alarm(START, ACCEPTED, _step(3, alarm_pb2.PHASE_ESCALATE, 20))

    assert worse.acceptor is None
    # By the step that was known, not by the clocks of two machines.
    assert alarms.with_asked(worse, [_asked("accept", 21, seq=2)]).acceptor is None
    assert alarms.with_asked(worse, [_asked("accept", 6, seq=3)]).acceptor == PHYSICIAN


def test_what_the_hub_asked_counts_until_the_edge_confirms_it() -> None:
    asked = alarms.with_asked(_alarm(START), [_asked("accept", 3)])
    confirmed = alarms.after(asked, _step(2, alarm_pb2.PHASE_ACCEPTED, 4, actor=PHYSICIAN, cause_event_id="e1"))

    assert (asked.acceptor, asked.accepted, asked.pending_accept is not None) == (PHYSICIAN, None, True)
    assert (confirmed.acceptor, confirmed.pending_accept) == (PHYSICIAN, None)


def test_who_accepted_at_the_bedside_first_has_it() -> None:
    asked = alarms.with_asked(_alarm(START), [_asked("accept", 3)])

    assert alarms.after(asked, ACCEPTED).acceptor == NURSE


def test_the_ladder_stops_on_accepting_and_not_on_seeing() -> None:
    seen = _alarm(START, _step(2, alarm_pb2.PHASE_SEEN, 1, actor=NURSE))

    assert alarms.escalates_ns(seen, START_NS) == START_NS + 60 * SECOND_NS
    assert alarms.escalates_ns(seen, START_NS + 61 * SECOND_NS) == START_NS + 120 * SECOND_NS
    assert alarms.escalates_ns(seen, START_NS + 301 * SECOND_NS) is None
    assert alarms.escalates_ns(_alarm(START, ACCEPTED), START_NS) is None


def test_an_alarm_that_arrives_after_an_outage_calls_nobody_anew() -> None:
    late = alarms.fold(ADDRESS, [(START, START_NS + 3600 * SECOND_NS)])

    assert late.is_late
    assert alarms.escalates_ns(late, START_NS + 3600 * SECOND_NS) is None


def test_hours_of_updates_do_not_pile_up() -> None:
    alarm = _alarm(START)
    for seq in range(2, 200):
        alarm = alarms.after(alarm, _step(seq, alarm_pb2.PHASE_UPDATE, seq, value=str(seq)))

    assert (len(alarm.steps), alarm.newest.value) == (2, "199")


def test_actions_offered_follow_the_state() -> None:
    latched = _alarm(_step(1, alarm_pb2.PHASE_START, latching=True), _step(2, alarm_pb2.PHASE_END, 5))
    resolved = alarms.after(latched, _step(3, alarm_pb2.PHASE_RESOLVED, 7))

    assert alarms.allowed_actions(_alarm(START)) == ["accept", "pause"]
    assert alarms.allowed_actions(_alarm(START, ACCEPTED)) == ["resolve"]
    assert alarms.allowed_actions(_alarm(START, _step(2, alarm_pb2.PHASE_AUDIO_PAUSED, 2, until_unix_ns=1))) == [
        "accept"
    ]
    assert alarms.allowed_actions(latched) == ["accept", "resolve", "reset"]
    assert alarms.allowed_actions(resolved) == ["reset"]


def test_an_alarm_nobody_answered_still_wants_attention_after_it_ended() -> None:
    unanswered = _alarm(START, _step(2, alarm_pb2.PHASE_END, 5))

    assert unanswered.wants_attention
    assert not _alarm(START, ACCEPTED, _step(3, alarm_pb2.PHASE_END, 9)).wants_attention

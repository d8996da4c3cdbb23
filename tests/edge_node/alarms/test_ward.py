"""The ward on a clock that is moved by hand: from readings to the steps of alarms, and again after a restart."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pytest
from telemed.v1 import alarm_pb2, event_pb2

from edge_node.alarms import ruleset
from edge_node.alarms.ward import Layout, Place, Ward
from edge_node.errors import BufferFull, NotFound, NotPermitted, StepRefused
from edge_node.samples.alarm import Alarm, Ask, Phase, Priority, State, Who
from edge_node.samples.measurement import (
    Assignment,
    DeviceNote,
    Intake,
    NumericSet,
    Origin,
    Quality,
    Value,
)
from edge_node.samples.roster import Person, Roster

NS = 1_000_000_000
START_NS = 1_800_000_000 * NS
RULES = ruleset.load()
CLINIC = Who("huang", "clinic", "黄芪", "Huang")
CALM = {"spo2": "97", "rr": "16", "hr": "72"}
UNITS = {"spo2": "%", "temp": "Cel", "nibp_sys": "mm[Hg]", "acvpu": "{ACVPU}", "oxygen": "{O2}"}


class Store:
    """The buffer's part that the ward uses, in memory; keeps what a crash would keep."""

    def __init__(self) -> None:
        self.events: list[alarm_pb2.AlarmEvent] = []
        self.marks: dict[str, int] = {}
        self.sets: list[NumericSet] = []
        self.is_full = False

    async def append_alarms(
        self, events: Sequence[alarm_pb2.AlarmEvent], evaluated: Mapping[str, int] | None = None
    ) -> None:
        if self.is_full:
            raise BufferFull("full")
        self.events += events
        self.marks |= evaluated or {}

    async def evaluated_up_to(self, device: str) -> int:
        return self.marks.get(device, 0)

    async def alarm_events(self, since_ns: int) -> list[alarm_pb2.AlarmEvent]:
        return [event for event in self.events if event.at_unix_ns > since_ns]

    async def sets_since(self, since_ns: int) -> list[NumericSet]:
        return [sample for sample in self.sets if sample.arrived_at_ns > since_ns]

    async def last_known(self, devices: Sequence[str], since_ns: int) -> list[NumericSet]:
        return [row for row in self.sets if row.device in devices and row.arrived_at_ns > since_ns]


class Bedside:
    """A ward with one monitor at bed B1 and one that is never heard at B2."""

    def __init__(self, *, home: bool = False, store: Store | None = None, now_ns: int = START_NS) -> None:
        self.now_ns = now_ns
        self.store = store or Store()
        self.layout = Layout(
            ("B1", "B2"),
            {"m1": Place("B1"), "m2": Place("B2"), "manual-b1": Place("B1", is_watched=False, is_manual=True)},
            home,
        )
        self.ward = Ward(self.layout, RULES, self.store, lambda: self.now_ns)
        self.moves: list[tuple[str, str]] = []
        self.ward.on_alarm.append(self._note)

    def _note(self, alarm: Alarm) -> None:
        self.moves.append((alarm.finding.condition, alarm.steps[-1].phase.name))

    async def set(self, device: str = "m1", **more: object) -> None:
        quality = more.pop("quality", Quality.VALID)
        signal = more.pop("signal_quality", None)
        values = more.pop("values", CALM)
        assert isinstance(values, dict)
        rows = tuple(
            Value(name, text, UNITS.get(name, "/min"), quality, signal_quality=signal)  # type: ignore[arg-type]
            for name, text in values.items()
        )
        measured_ns = more.pop("measured_at_ns", self.now_ns)
        sample = NumericSet(device, measured_ns, self.now_ns, rows, **more)  # type: ignore[arg-type]
        self.store.sets.append(sample)
        await self.ward.take(Intake(sets=(sample,)))

    async def live(self, seconds: int, *, hub: bool = True, **more: object) -> None:
        """One reading a second, with the tick of each second."""
        for _ in range(seconds):
            self.now_ns += NS
            if hub:
                self.ward.hub_heard(self.now_ns)
            await self.set("m1", **more)
            await self.ward.tick()

    async def quiet(self, seconds: int, *, hub: bool = True) -> None:
        """Seconds in which nothing arrives."""
        for _ in range(seconds):
            self.now_ns += NS
            if hub:
                self.ward.hub_heard(self.now_ns)
            await self.ward.tick()

    def standing(self) -> dict[str, Alarm]:
        return {alarm.finding.condition: alarm for alarm in self.ward.alarms() if alarm.stands}

    async def again(self, roster: Roster | None = None) -> "Bedside":
        """The same node after a crash: another ward on what was stored."""
        after = Bedside(home=self.layout.home, store=self.store, now_ns=self.now_ns)
        await after.ward.restore(roster or Roster())
        return after


def roster(born: str = "1950-01-01", person_id: str = "p-1", since_ns: int = 0) -> Roster:
    facts = event_pb2.PersonRegistered(family_name="谷", given_name="雨", birth_date=born)
    return Roster(persons={person_id: Person(person_id, facts)}, beds={"B1": person_id}, since_ns={"B1": since_ns})


@pytest.mark.anyio
async def test_a_low_saturation_alarms_after_its_delay_and_carries_what_broke_which_limit() -> None:
    bedside = Bedside()
    await bedside.ward.restore(roster())
    await bedside.live(15, values={"spo2": "88"})
    assert "spo2-low" not in bedside.standing()
    await bedside.live(1, values={"spo2": "88"})
    alarm = bedside.standing()["spo2-low"]
    assert (alarm.finding.value, alarm.finding.limit, alarm.finding.priority) == ("88", "92", Priority.MEDIUM)
    assert (alarm.person_id, alarm.finding.onset_ns) == ("p-1", START_NS + NS)
    stored = next(event for event in bedside.store.events if event.condition == "spo2-low")
    assert (stored.phase, stored.alarm_seq, stored.unit) == (alarm_pb2.PHASE_START, 1, "%")
    assert (stored.ruleset_id, stored.ruleset_version) == ("adult-default", "1.0.0")


@pytest.mark.anyio
async def test_there_is_one_row_for_a_bed_and_a_condition_however_many_samples_break_it() -> None:
    bedside = Bedside()
    await bedside.live(120, values={"spo2": "88"})
    rows = [alarm for alarm in bedside.ward.alarms() if alarm.finding.condition == "spo2-low"]
    assert len(rows) == 1
    assert [move for move in bedside.moves if move[0] == "spo2-low"] == [("spo2-low", "START")]


@pytest.mark.anyio
async def test_it_escalates_and_goes_back_and_ends() -> None:
    bedside = Bedside()
    await bedside.live(16, values={"spo2": "90"})
    await bedside.live(16, values={"spo2": "82"})
    await bedside.live(11, values={"spo2": "89"})
    await bedside.live(11, values={"spo2": "97"})
    phases = [phase for condition, phase in bedside.moves if condition == "spo2-low" and phase != "UPDATE"]
    assert phases == ["START", "ESCALATE", "DEESCALATE", "END"]


@pytest.mark.anyio
async def test_values_of_a_standing_alarm_move_at_most_every_ten_seconds() -> None:
    bedside = Bedside()
    for number in range(60):
        await bedside.live(1, values={"spo2": str(86 + number % 3)})
    updates = [move for move in bedside.moves if move == ("spo2-low", "UPDATE")]
    assert 3 <= len(updates) <= 5


@pytest.mark.anyio
@pytest.mark.parametrize(
    "given",
    [
        {"origin": Origin.TEST},
        {"origin": Origin.REPLAY},
        {"late": True},
        {"assignment": Assignment.UNASSIGNED},
        {"quality": Quality.IMPLAUSIBLE},
        {"quality": Quality.MISSING},
        {"quality": Quality.RETRACTED},
        {"values": {"spo2": "NaN", "hr": "Infinity", "rr": ""}},
    ],
)
async def test_what_is_not_a_live_valid_measurement_never_alarms_and_is_not_scored(given: dict[str, Any]) -> None:
    bedside = Bedside()
    await bedside.live(60, **({"values": {"spo2": "70", "hr": "30", "rr": "4"}} | given))
    assert [alarm for alarm in bedside.ward.alarms() if not alarm.finding.technical] == []
    assert bedside.ward.score("B1") is None


@pytest.mark.anyio
async def test_a_poor_signal_is_a_low_technical_alarm_instead_of_a_saturation_alarm() -> None:
    bedside = Bedside()
    await bedside.live(40, values={"spo2": "70"}, signal_quality=0.5)
    standing = bedside.standing()
    assert "spo2-low" not in standing
    assert (standing["signal-poor"].finding.priority, standing["signal-poor"].finding.technical) == (Priority.LOW, True)
    await bedside.live(20, values={"spo2": "70"}, signal_quality=0.6)
    assert "signal-poor" not in bedside.standing()
    assert "spo2-low" in bedside.standing()


@pytest.mark.anyio
async def test_a_heart_rate_of_zero_alarms_although_it_is_out_of_range_and_latches() -> None:
    bedside = Bedside()
    await bedside.live(11, values={"hr": "0"}, quality=Quality.IMPLAUSIBLE)
    alarm = bedside.standing()["hr-low"]
    assert (alarm.finding.priority, alarm.finding.latching) == (Priority.HIGH, True)


@pytest.mark.anyio
async def test_a_measurement_older_than_two_minutes_alarms_without_a_sound() -> None:
    bedside = Bedside()
    for _ in range(16):
        bedside.now_ns += NS
        await bedside.set(values={"spo2": "88"}, measured_at_ns=bedside.now_ns - 121 * NS)
    alarm = bedside.standing()["spo2-low"]
    assert (alarm.late, alarm.sounds) == (True, False)


@pytest.mark.anyio
async def test_the_pulse_of_the_oximeter_is_not_heard_while_the_heart_rate_is() -> None:
    bedside = Bedside()
    await bedside.live(30, values={"hr": "72", "pr_oxim": "150"})
    assert "hr-high" not in bedside.standing()
    await bedside.live(75, values={"pr_oxim": "150"})
    assert bedside.standing()["hr-high"].finding.measure == "pr_oxim"


@pytest.mark.anyio
async def test_a_score_of_seven_alarms_with_the_sample_and_a_partial_score_never_lowers_it() -> None:
    bedside = Bedside()
    await bedside.live(1, values={"rr": "25", "hr": "131", "spo2": "93", "temp": "37.0", "nibp_sys": "120"})
    assert bedside.standing()["news2-high"].finding.priority is Priority.HIGH
    await bedside.live(60, values={"rr": "16", "hr": "72", "spo2": "97"})
    assert bedside.standing()["news2-high"].finding.priority is Priority.HIGH
    await bedside.set("manual-b1", values={"acvpu": "A", "oxygen": "air"}, origin=Origin.MANUAL)
    await bedside.live(11)
    assert "news2-high" not in bedside.standing()


@pytest.mark.anyio
async def test_a_single_three_is_a_medium_alarm() -> None:
    bedside = Bedside()
    await bedside.live(1, values={"rr": "8", "hr": "72"})
    assert bedside.standing()["news2-high"].finding.priority is Priority.MEDIUM
    zh, _ = bedside.ward.text_of(bedside.standing()["news2-high"])
    assert "单项 3 分" in zh


@pytest.mark.anyio
async def test_a_child_is_neither_scored_nor_judged_by_adult_limits_and_that_is_said() -> None:
    bedside = Bedside()
    young = f"{date.today().year - 5}-01-01"  # noqa: DTZ011
    await bedside.ward.restore(roster(born=young))
    bedside.now_ns = START_NS
    await bedside.live(20, values={"hr": "150"})
    assert set(bedside.standing()) <= {"age-rules"}


@pytest.mark.anyio
async def test_a_monitor_repeating_its_last_cuff_reading_gives_one_reading() -> None:
    bedside = Bedside()
    cuff_ns = START_NS
    for _ in range(30):
        bedside.now_ns += NS
        row = Value("nibp_sys", "185", "mm[Hg]", measured_at_ns=cuff_ns)
        await bedside.ward.take(Intake(sets=(NumericSet("m1", bedside.now_ns, bedside.now_ns, (row,)),)))
    assert [move for move in bedside.moves if move[0] == "nibp_sys-high"] == [("nibp_sys-high", "START")]


@pytest.mark.anyio
async def test_a_device_that_falls_silent_is_low_and_medium_after_five_minutes_and_one_never_heard_is_nothing() -> None:
    bedside = Bedside()
    await bedside.live(5)
    await bedside.quiet(14)
    assert "device-silent" not in bedside.standing()
    await bedside.quiet(1)
    assert bedside.standing()["device-silent"].finding.priority is Priority.LOW
    await bedside.quiet(285)
    assert bedside.standing()["device-silent"].finding.priority is Priority.MEDIUM
    assert {alarm.finding.device for alarm in bedside.ward.alarms() if alarm.finding.technical} == {"m1"}
    await bedside.live(1)
    assert "device-silent" not in bedside.standing()


@pytest.mark.anyio
async def test_a_silent_hub_is_a_technical_alarm_within_fifteen_seconds() -> None:
    bedside = Bedside()
    await bedside.live(5)
    await bedside.live(14, hub=False)
    assert "hub-silent" not in bedside.standing()
    await bedside.live(1, hub=False)
    alarm = bedside.standing()["hub-silent"]
    assert (alarm.finding.priority, alarm.finding.bed, alarm.finding.technical) == (Priority.MEDIUM, "", True)
    await bedside.live(1)
    assert "hub-silent" not in bedside.standing()


@pytest.mark.anyio
async def test_what_a_driver_notices_is_a_technical_alarm_until_it_is_over() -> None:
    bedside = Bedside()
    await bedside.ward.take(Intake(notes=(DeviceNote("m1", "identity", True, bedside.now_ns),)))
    assert bedside.standing()["identity"].finding.technical
    await bedside.ward.take(Intake(notes=(DeviceNote("m1", "identity", False, bedside.now_ns),)))
    assert bedside.standing() == {}


@pytest.mark.anyio
async def test_lead_off_waits_five_seconds() -> None:
    bedside = Bedside()
    await bedside.ward.take(Intake(notes=(DeviceNote("m1", "lead-off", True, bedside.now_ns),)))
    await bedside.quiet(4)
    assert bedside.standing() == {}
    await bedside.quiet(1)
    assert "lead-off" in bedside.standing()


@pytest.mark.anyio
@pytest.mark.parametrize("role", ["clinic", "physician", "nurse", "care-worker"])
async def test_whoever_answers_for_persons_may_answer_an_alarm(role: str) -> None:
    bedside = Bedside()
    await bedside.live(16, values={"spo2": "80"})
    alarm = bedside.standing()["spo2-low"]
    done = await bedside.ward.act(alarm.alarm_id, Ask("accept"), Who("somebody", role))
    assert done.accepted_by is not None


@pytest.mark.anyio
@pytest.mark.parametrize("role", ["caregiver", "operator", "program", ""])
async def test_only_who_is_responsible_may_answer_an_alarm(role: str) -> None:
    bedside = Bedside()
    await bedside.live(16, values={"spo2": "80"})
    alarm = bedside.standing()["spo2-low"]
    for action in ("accept", "pause", "resolve", "seen"):
        with pytest.raises(NotPermitted):
            await bedside.ward.act(alarm.alarm_id, Ask(action), Who("x", role))
    assert bedside.standing()["spo2-low"].sounds


@pytest.mark.anyio
async def test_times_without_the_hub_are_known_again_after_a_restart() -> None:
    bedside = Bedside()
    await bedside.live(5)
    begin_ns = bedside.now_ns + 15 * NS
    await bedside.live(60, hub=False)
    assert await bedside.ward.hub_gaps(START_NS, bedside.now_ns) == [(begin_ns, bedside.now_ns)]
    await bedside.live(1)
    end_ns = bedside.now_ns
    bedside.now_ns += 3 * 3600 * NS
    await bedside.live(1)
    for ward in (bedside.ward, (await bedside.again()).ward):
        assert await ward.hub_gaps(START_NS, bedside.now_ns) == [(begin_ns, end_ns)]
        assert await ward.hub_gaps(end_ns - 5 * NS, bedside.now_ns) == [(end_ns - 5 * NS, end_ns)]
        assert await ward.hub_gaps(end_ns, bedside.now_ns) == []


@pytest.mark.anyio
async def test_accepting_at_the_hub_moves_the_alarm_here_and_names_the_cause() -> None:
    bedside = Bedside()
    await bedside.live(16, values={"spo2": "88"})
    alarm_id = bedside.standing()["spo2-low"].alarm_id
    await bedside.ward.act(alarm_id, Ask("accept"), Who("su", "physician", "苏叶", "Su"), "event-1")
    assert bedside.ward.has_done("event-1")
    step = bedside.store.events[-1]
    assert (step.phase, step.cause_event_id) == (alarm_pb2.PHASE_ACCEPTED, "event-1")
    assert step.actor.username == "su"
    with pytest.raises(NotFound):
        await bedside.ward.act("nobody", Ask("accept"), CLINIC)
    with pytest.raises(StepRefused):
        await bedside.ward.act(alarm_id, Ask("reset"), CLINIC)


@pytest.mark.anyio
@pytest.mark.parametrize(("home", "limit_s"), [(False, 120), (True, 60)])
async def test_an_audio_pause_ends_by_itself(home: bool, limit_s: int) -> None:
    bedside = Bedside(home=home)
    await bedside.live(31, values={"spo2": "88"})
    alarm = await bedside.ward.act(bedside.standing()["spo2-low"].alarm_id, Ask("pause", pause_s=120), CLINIC)
    assert (alarm.state, alarm.sounds) == (State.AUDIO_PAUSED, False)
    await bedside.live(limit_s - 1, values={"spo2": "88"})
    assert not bedside.standing()["spo2-low"].sounds
    await bedside.live(1, values={"spo2": "88"})
    assert bedside.standing()["spo2-low"].sounds
    assert bedside.moves[-1] == ("spo2-low", "AUDIO_RESUMED")


@pytest.mark.anyio
async def test_after_a_crash_everything_goes_on_where_it_was() -> None:
    before = Bedside()
    await before.live(20, values={"spo2": "88"})
    accepted = await before.ward.act(before.standing()["spo2-low"].alarm_id, Ask("accept"), CLINIC)
    after = await before.again()
    found = after.standing()["spo2-low"]
    assert (found.alarm_id, found.accepted_by) == (accepted.alarm_id, CLINIC)
    await after.live(5, values={"spo2": "88"})
    assert ("spo2-low", "START") not in after.moves
    await after.live(11, values={"spo2": "97"})
    assert "spo2-low" not in after.standing()


@pytest.mark.anyio
async def test_a_delay_that_runs_during_a_crash_is_not_begun_anew() -> None:
    before = Bedside()
    await before.live(12, values={"spo2": "88"})
    after = await before.again()
    await after.live(4, values={"spo2": "88"})
    assert "spo2-low" in after.standing()


@pytest.mark.anyio
async def test_what_was_stored_but_not_judged_before_a_crash_is_judged_at_the_start() -> None:
    before = Bedside()
    await before.live(3)
    for _ in range(16):
        before.now_ns += NS
        row = (Value("spo2", "80", "%"), Value("hr", "72", "/min"))
        before.store.sets.append(NumericSet("m1", before.now_ns, before.now_ns, row))
    after = await before.again()
    assert after.standing()["spo2-low"].finding.priority is Priority.HIGH
    assert after.store.marks["m1"] == before.now_ns


@pytest.mark.anyio
async def test_an_alarm_that_stood_long_before_the_start_still_stands_until_a_reading_ends_it() -> None:
    before = Bedside()
    await before.live(20, values={"spo2": "88"})
    before.now_ns += 3600 * NS
    after = await before.again()
    await after.quiet(5)
    assert "spo2-low" in after.standing()
    await after.live(11, values={"spo2": "97"})
    assert "spo2-low" not in after.standing()


@pytest.mark.anyio
async def test_what_was_entered_and_measured_hours_ago_is_known_after_a_restart() -> None:
    before = Bedside()
    await before.set("manual-b1", values={"acvpu": "A", "oxygen": "air"}, origin=Origin.MANUAL)
    await before.set(values={"temp": "37.0", "nibp_sys": "120"})
    before.now_ns += 1800 * NS
    await before.live(2)
    after = await before.again()
    await after.live(1)
    score = after.ward.score("B1")
    assert score is not None
    assert (score.total, score.complete) == (0, True)


@pytest.mark.anyio
async def test_a_latched_alarm_waits_for_its_reset_across_a_restart() -> None:
    before = Bedside()
    await before.live(1, values={"rr": "0"})
    await before.live(15, values={"rr": "16"})
    latched = next(alarm for alarm in before.ward.alarms() if alarm.finding.condition == "apnoea")
    assert latched.state is State.LATCHED
    after = await before.again()
    alarm = await after.ward.act(latched.alarm_id, Ask("reset"), CLINIC)
    assert alarm.state is State.CLEARED


@pytest.mark.anyio
async def test_a_full_store_does_not_silence_an_alarm_and_its_steps_are_stored_later() -> None:
    bedside = Bedside()
    await bedside.live(10, values={"spo2": "80"})
    bedside.store.is_full = True
    stored = len(bedside.store.events)
    await bedside.live(10, values={"spo2": "80"})
    assert bedside.standing()["spo2-low"].sounds
    assert len(bedside.store.events) == stored
    bedside.store.is_full = False
    await bedside.quiet(1)
    assert "spo2-low" in {event.condition for event in bedside.store.events}


@pytest.mark.anyio
async def test_another_person_in_the_bed_starts_afresh_and_the_old_alarm_keeps_its_subject() -> None:
    bedside = Bedside()
    await bedside.ward.restore(roster())
    await bedside.live(16, values={"spo2": "88"})
    bedside.ward.people(roster(person_id="p-2"))
    await bedside.quiet(1)
    assert bedside.ward.bed("B1").held == {}
    rows = {alarm.person_id: alarm.state for alarm in bedside.ward.alarms() if alarm.finding.condition == "spo2-low"}
    assert rows == {"p-1": State.CLEARED}
    await bedside.live(16, values={"spo2": "88"})
    assert bedside.standing()["spo2-low"].person_id == "p-2"


@pytest.mark.anyio
async def test_a_latched_alarm_stays_with_its_person_and_the_next_one_in_the_bed_gets_their_own() -> None:
    bedside = Bedside()
    await bedside.ward.restore(roster())
    await bedside.live(1, values={"rr": "0"})
    bedside.ward.people(roster(person_id="p-2"))
    await bedside.live(1, values={"rr": "0"})
    rows = {alarm.person_id: alarm for alarm in bedside.ward.alarms() if alarm.finding.condition == "apnoea"}
    assert {person: row.state for person, row in rows.items()} == {"p-1": State.LATCHED, "p-2": State.ACTIVE}
    # Answering for the first does not take the place of the second.
    await bedside.ward.act(rows["p-1"].alarm_id, Ask("accept"), CLINIC)
    await bedside.live(1, values={"rr": "0"})
    assert bedside.standing()["apnoea"].person_id == "p-2"
    stored = {(event.person_id, event.alarm_id) for event in bedside.store.events if event.condition == "apnoea"}
    assert len(stored) == 2


@pytest.mark.anyio
async def test_an_alarm_without_delay_begins_anew_for_the_next_person_even_before_the_next_tick() -> None:
    bedside = Bedside()
    await bedside.ward.restore(roster())
    await bedside.live(1, values={"nibp_sys": "85"})
    bedside.ward.people(roster(person_id="p-2"))
    await bedside.set(values={"nibp_sys": "86"})
    rows = {row.person_id: row.state for row in bedside.ward.alarms() if row.finding.condition == "nibp_sys-low"}
    assert rows == {"p-1": State.CLEARED, "p-2": State.ACTIVE}


@pytest.mark.anyio
async def test_a_roster_that_was_changed_in_place_still_starts_the_bed_afresh() -> None:
    bedside = Bedside()
    present = roster()
    await bedside.ward.restore(present)
    await bedside.live(16, values={"spo2": "88"})
    present.beds["B1"] = "p-2"
    bedside.ward.people(present)
    assert bedside.ward.bed("B1").held == {}


@pytest.mark.anyio
async def test_the_last_cuff_reading_of_who_lay_here_before_is_neither_shown_nor_judged() -> None:
    bedside = Bedside()
    await bedside.ward.restore(roster())
    cuff_ns = bedside.now_ns
    await bedside.live(5, values={"nibp_sys": "85"}, measured_at_ns=cuff_ns)
    bedside.ward.people(roster(person_id="p-2", since_ns=bedside.now_ns))
    await bedside.live(5, values={"nibp_sys": "85"}, measured_at_ns=cuff_ns)
    assert bedside.ward.bed("B1").held == {}
    assert "nibp_sys-low" not in bedside.standing()
    await bedside.live(1, values={"nibp_sys": "85"})
    assert bedside.standing()["nibp_sys-low"].person_id == "p-2"


@pytest.mark.anyio
async def test_after_a_restart_nothing_of_who_lay_here_before_is_anybody_elses() -> None:
    before = Bedside()
    await before.ward.restore(roster())
    await before.live(16, values={"spo2": "82", "hr": "70"})
    before.now_ns += 60 * NS
    after = await before.again(roster(person_id="p-2", since_ns=before.now_ns))
    assert after.ward.bed("B1").held == {}
    await after.quiet(1)
    assert {row.person_id for row in after.ward.alarms() if row.finding.condition == "spo2-low"} == {"p-1"}
    assert "spo2-low" not in after.standing()


@pytest.mark.anyio
async def test_an_admission_dated_ahead_of_the_nodes_clock_does_not_make_the_rules_deaf() -> None:
    bedside = Bedside()
    await bedside.ward.restore(roster(since_ns=START_NS + 3600 * NS))
    await bedside.live(16, values={"spo2": "88"})
    assert "spo2-low" in bedside.standing()


@pytest.mark.anyio
async def test_the_steps_of_an_alarm_that_stands_for_hours_do_not_grow() -> None:
    bedside = Bedside()
    for number in range(300):
        await bedside.live(1, values={"spo2": str(86 + number % 3)})
    alarm = bedside.standing()["spo2-low"]
    assert [step.phase for step in alarm.steps] == [Phase.START, Phase.UPDATE]
    assert alarm.seq > 20


@pytest.mark.anyio
async def test_a_page_that_fails_does_not_keep_an_alarm_from_being_raised() -> None:
    bedside = Bedside()

    def fail(_bed: str, _measures: set[str]) -> None:
        raise RuntimeError

    bedside.ward.on_readings.append(fail)
    with pytest.raises(RuntimeError):
        await bedside.set(values={"nibp_sys": "85"})
    assert "nibp_sys-low" in bedside.standing()


@pytest.mark.anyio
async def test_steps_are_numbered_without_gaps() -> None:
    bedside = Bedside()
    await bedside.live(16, values={"spo2": "90"})
    await bedside.live(16, values={"spo2": "80"})
    await bedside.ward.act(bedside.standing()["spo2-low"].alarm_id, Ask("accept"), CLINIC)
    await bedside.live(11, values={"spo2": "97"})
    numbers: dict[str, list[int]] = {}
    for event in bedside.store.events:
        numbers.setdefault(event.alarm_id, []).append(event.alarm_seq)
    assert all(row == list(range(1, len(row) + 1)) for row in numbers.values())
    assert Phase.ACCEPTED in {Phase(event.phase) for event in bedside.store.events}


@pytest.mark.anyio
async def test_an_alarm_older_than_what_a_restart_reads_back_is_not_lost() -> None:
    before = Bedside()
    await before.live(1, values={"rr": "0"})
    await before.live(15, values={"rr": "16"})
    ids = {alarm.alarm_id for alarm in before.ward.alarms() if alarm.finding.condition == "apnoea"}
    for _ in range(8):
        before.now_ns += 13 * 3600 * NS
        await before.live(1)
    after = await before.again()
    rows = {alarm.alarm_id: alarm for alarm in after.ward.alarms() if alarm.finding.condition == "apnoea"}
    assert set(rows) == ids
    assert [row.state for row in rows.values()] == [State.LATCHED]
    assert (await after.ward.act(ids.pop(), Ask("reset"), CLINIC)).state is State.CLEARED


@pytest.mark.anyio
async def test_a_node_that_was_off_for_a_week_ends_the_alarms_that_stood_when_it_went_down() -> None:
    before = Bedside()
    await before.live(60, values={"spo2": "88"})
    (alarm_id,) = [alarm.alarm_id for alarm in before.ward.alarms() if alarm.finding.condition == "spo2-low"]
    before.now_ns += 7 * 24 * 3600 * NS
    after = await before.again()
    await after.live(15)
    assert [event.phase for event in after.store.events if event.alarm_id == alarm_id][-1] == alarm_pb2.PHASE_END


@pytest.mark.anyio
async def test_cursors_alone_are_stored_every_few_seconds_and_with_every_step() -> None:
    bedside = Bedside()
    await bedside.live(1)
    first = bedside.store.marks["m1"]
    await bedside.live(3)
    assert bedside.store.marks["m1"] == first
    await bedside.live(2)
    assert bedside.store.marks["m1"] > first
    await bedside.live(25, values=CALM | {"hr": "130"})
    started_ns = next(event.at_unix_ns for event in bedside.store.events if Phase(event.phase) is Phase.START)
    assert bedside.store.marks["m1"] >= started_ns

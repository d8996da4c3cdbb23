"""The ward: joins what arrives with the rules, keeps the alarms, and stores each of their steps.

Judged right after the commit of the measurement and told to the screens at once; the step is then stored.
Where the store refuses it, the alarm is heard all the same and the step is stored as soon as that is possible.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import structlog
from telemed.roles import Reach, Right, reach
from telemed.v1 import alarm_pb2

from edge_node.alarms import ladder, news2, silence, texts, wire
from edge_node.alarms.bedwatch import Ages, BedWatch
from edge_node.alarms.calm import Calm
from edge_node.alarms.conversation import Conversations
from edge_node.alarms.machine import fold
from edge_node.alarms.ruleset import Ruleset
from edge_node.errors import BufferFailure, NotPermitted
from edge_node.samples.alarm import Alarm, Ask, Finding, Priority, Who
from edge_node.samples.clockstep import ClockSteps
from edge_node.samples.current import BedNow
from edge_node.samples.measurement import Intake, NumericSet, Origin, WaveformSet
from edge_node.samples.roster import Roster
from edge_node.samples.score import News2

NS = 1_000_000_000
TICK_S = 1.0
MARKS_EVERY_S = 5.0
"""How often cursors are stored that no step brings along: what is judged again after a restart is younger than that."""
REBUILD_S = 600
"""At start the readings of this long rebuild delays and last values."""
ALARM_HISTORY_S = 48 * 3600
LAST_VALUES_S = 12 * 3600
"""At start the newest value of each measure is looked for this far back: the longest any counts."""
SETTLED = "*"
"""Name of the cursor up to which every device was judged."""
SETTLE_AFTER_S = 60
"""A stored set is judged much sooner than this."""

log = structlog.get_logger(__name__)


class AlarmLog(Protocol):
    """Where alarm steps and the evaluated-up-to cursors are kept, and readings are read back from."""

    async def append_alarms(
        self, events: Sequence[alarm_pb2.AlarmEvent], evaluated: Mapping[str, int] | None = None
    ) -> None:
        """Store steps and cursors; returns after the synced commit."""

    async def evaluated_up_to(self, device: str) -> int:
        """Return the arrival time up to which a device was judged."""

    async def alarm_events(self, since_ns: int) -> list[alarm_pb2.AlarmEvent]:
        """Return stored steps, oldest first."""

    async def sets_since(self, since_ns: int) -> list[NumericSet]:
        """Return sets that arrived since, oldest first."""

    async def last_known(self, devices: Sequence[str], since_ns: int) -> list[NumericSet]:
        """Return sets that hold the newest value of each measure since then, oldest first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device stands and how often it reports."""

    bed: str
    usual_interval_s: float = 1
    is_watched: bool = True
    """False: its silence is no alarm (manual entries, recordings)."""
    is_manual: bool = False
    """What people type in at the bedside."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the ward must know of its site."""

    beds: tuple[str, ...]
    devices: Mapping[str, Place]
    home: bool = False
    ages: Ages = field(default_factory=Ages)


class Ward:
    """All beds of one node and their alarms; used on the event loop alone."""

    def __init__(
        self,
        layout: Layout,
        rules: Ruleset,
        store: AlarmLog,
        clock: Callable[[], int] = time.time_ns,
        steady: Callable[[], int] | None = None,
    ) -> None:
        """Know nothing yet; `steady` never steps and tells when `clock` was set (None: it never is)."""
        self.rules = rules
        self.layout = layout
        self.on_alarm: list[Callable[[Alarm], None]] = []
        """Told on every step of an alarm."""
        self.on_readings: list[Callable[[str, set[str]], None]] = []
        """Told the bed and the measures that changed."""
        self.on_waves: list[Callable[[str, WaveformSet], None]] = []
        """Told the bed and each wave set that arrives for it."""
        self._store = store
        self._clock = clock
        self._steady = steady or clock
        self._steps = ClockSteps(clock(), self._steady())
        self._roster = Roster()
        self._persons: dict[str, str] = {}
        self._watches = {bed: BedWatch(bed, rules, layout.ages) for bed in ("", *layout.beds)}
        self._calm = Calm(rules)
        self._talk = Conversations(rules.id, rules.version)
        self._heard_ns: dict[str, int] = {}
        self._hub_heard_ns = clock()
        self._hub_told_ns = 0
        self._marks: dict[str, int] = {}
        self._unsaved: list[alarm_pb2.AlarmEvent] = []
        self._saving = asyncio.Lock()
        self._saved_ns = 0
        self._is_failing = False

    async def restore(self, roster: Roster) -> None:
        """Rebuild what was known before the start, and judge what arrived after the last judgement (decision 28)."""
        now_ns = self._clock()
        self.people(roster)
        settled_ns = await self._store.evaluated_up_to(SETTLED)
        # From when the node was last at work, however long it was off since.
        alive_ns = min(now_ns, settled_ns or now_ns)
        events = await self._store.alarm_events(alive_ns - ALARM_HISTORY_S * NS)
        self._talk.restore(fold(wire.from_wire(event) for event in events))
        marks = {device: await self._store.evaluated_up_to(device) for device in self.layout.devices}
        oldest_ns = max(settled_ns, min((mark for mark in marks.values() if mark), default=now_ns))
        sets = await self._store.sets_since(min(now_ns, oldest_ns) - REBUILD_S * NS)
        judged = [sample for sample in sets if sample.arrived_at_ns <= marks.get(sample.device, 0)]
        for sample in judged:
            self._hear(sample)
            self._watch_of(sample.device).take(sample)
            self._watch_of(sample.device).tick(sample.arrived_at_ns)
        self._resume()
        for sample in [sample for sample in sets if sample.arrived_at_ns > marks.get(sample.device, 0)]:
            self._judge_set(sample)
        for sample in await self._store.last_known(self._own_devices(), now_ns - LAST_VALUES_S * NS):
            self._watch_of(sample.device).recall(sample)
        await self._save()

    def people(self, roster: Roster) -> None:
        """Take a new state of persons and beds; a bed with another person starts afresh."""
        # The log changes its roster in place, so who lay where before is kept apart.
        before, self._persons = self._persons, {bed: roster.beds.get(bed, "") for bed in self.layout.beds}
        self._roster = roster
        now_ns = self._clock()
        for bed in self.layout.beds:
            if self._persons[bed] != before.get(bed):
                # Never later than now: a hub whose clock is ahead must not make the rules deaf.
                since_ns = min(roster.since_ns.get(bed, 0), now_ns)
                self._watches[bed] = self._watches[bed].for_person(self._subject(bed), since_ns)
            else:
                self._watches[bed].subject = self._subject(bed)

    def goes_at_once(self, intake: Intake) -> bool:
        """Whether an intake must be stored without any wait: it may change an alarm, or a person typed it in."""
        return bool(intake.notes) or not all(self._is_calm(sample) for sample in intake.sets)

    async def take(self, intake: Intake) -> None:
        """Judge what was just stored."""
        self._mind_clock()
        for note in intake.notes:
            self._watch_of(note.device).note(note)
            self._settle(self._bed_of(note.device), note.at_ns)
        for sample in intake.sets:
            self._judge_set(sample)
        for waves in intake.waves:
            self._take_waves(waves)
        await self._save()

    def hub_heard(self, at_ns: int) -> None:
        """The hub was last heard at this time; said again and again, it counts once."""
        if at_ns != self._hub_told_ns:
            self._hub_told_ns = at_ns
            self._hub_heard_ns = max(self._hub_heard_ns, min(at_ns, self._clock()))

    async def hub_gaps(self, from_ns: int, to_ns: int) -> list[tuple[int, int]]:
        """Return the times (ns) between two moments in which the hub was out of contact, as far as steps are kept."""
        stored = [wire.from_wire(event) for event in await self._store.alarm_events(from_ns)]
        steps = [*stored, *(step for alarm in self._talk.alarms.values() for step in alarm.steps)]
        silent = self.rules.hub_silence.condition
        return silence.gaps((step for step in steps if step.finding.condition == silent), from_ns, to_ns)

    async def act(self, alarm_id: str, ask: Ask, who: Who, cause_event_id: str = "") -> Alarm:
        """Do what a named person asks of an alarm, here or through the hub's log.

        Raises:
            NotFound: there is no such alarm.
            NotPermitted: this person does not answer for it.
            StepRefused: not possible in its present state.
        """
        if not self._may_answer(who.role, alarm_id):
            raise NotPermitted(f"a {who.role or 'stranger'} does not answer alarms")
        alarm = self._talk.ask(
            alarm_id, ask, who, home=self.layout.home, now_ns=self._clock(), cause_event_id=cause_event_id
        )
        self._moved([alarm])
        await self._save()
        return alarm

    def _may_answer(self, role: str, alarm_id: str) -> bool:
        """True where a role answers for alarms here: family only at home, an operator only for technical ones."""
        how_far = reach(role, Right.ACT_ON_ALARM)
        if how_far is Reach.TECHNICAL:
            alarm = self._talk.alarms.get(alarm_id)
            return alarm is not None and alarm.finding.technical
        return how_far is not None and (how_far is not Reach.HOME or self.layout.home)

    def has_done(self, cause_event_id: str) -> bool:
        """True where an event of the hub's log has already led to a step."""
        return any(step.cause_event_id == cause_event_id for row in self._talk.alarms.values() for step in row.steps)

    async def tick(self) -> None:
        """Let time pass: delays end, silence begins, pauses are over."""
        self._mind_clock()
        now_ns = self._clock()
        self._moved(self._talk.end_pauses(now_ns))
        for bed, watch in self._watches.items():
            before = watch.score
            watch.tick(now_ns)
            self._settle(bed, now_ns)
            if _differs(before, watch.score):
                self._tell_readings(bed, set())
        self._talk.forget_old(now_ns)
        await self._save()

    async def run(self) -> None:
        """Tick once a second until cancelled."""
        while True:
            await self.tick()
            await asyncio.sleep(TICK_S)

    def bed(self, bed: str) -> BedNow:
        """Return the newest values at a bed."""
        return self._watches[bed].now

    def score(self, bed: str) -> News2 | None:
        """Return the early warning score at a bed; None where there is nothing to score."""
        return self._watches[bed].score

    def alarms(self) -> list[Alarm]:
        """Return the alarms that screens show, worst first, then oldest."""
        rows = self._talk.alarms.values()
        return sorted(rows, key=lambda row: (not row.stands, -row.finding.priority, row.finding.onset_ns))

    def text_of(self, alarm: Alarm) -> tuple[str, str]:
        """Return the alarm's words for people, in Chinese and English."""
        return texts.text_of(self.rules, alarm)

    def limits_of(self, measure: str) -> tuple[str | None, str | None]:
        """Return the warn limits that stand beside a value: low and high."""
        return self.rules.limits_of(measure)

    def escalates_at_ns(self, alarm: Alarm) -> int | None:
        """Return when the next person is called, or None."""
        return ladder.next_rung_ns(alarm, self._clock())

    def last_heard_ns(self, device: str) -> int | None:
        """Return when anything last arrived from a device, or None."""
        return self._heard_ns.get(device)

    def is_silent(self, device: str) -> bool:
        """True while a device that was heard is called silent."""
        place = self.layout.devices[device]
        heard_ns = self._heard_ns.get(device)
        return silence.device_silence(self.rules.silence, place.usual_interval_s, heard_ns, self._clock()) is not None

    def _mind_clock(self) -> None:
        """Where the wall clock was set, move what is remembered along, so that every stretch keeps its length."""
        now_ns = self._clock()
        by_ns = self._steps.take(now_ns, self._steady())
        if not by_ns:
            return
        log.warning("clock.set", by_ms=by_ns // 1_000_000)
        self._heard_ns = {device: heard_ns + by_ns for device, heard_ns in self._heard_ns.items()}
        self._hub_heard_ns += by_ns
        self._saved_ns += by_ns
        for watch in self._watches.values():
            watch.clock_set(by_ns, now_ns)
        self._talk.clock_set(by_ns)

    def _own_devices(self) -> list[str]:
        """Devices whose values may be scored: not the players of recordings."""
        return [device for device, place in self.layout.devices.items() if place.is_watched or place.is_manual]

    def _bed_of(self, device: str) -> str:
        place = self.layout.devices.get(device)
        return place.bed if place is not None and place.bed in self._watches else ""

    def _watch_of(self, device: str) -> BedWatch:
        return self._watches[self._bed_of(device)]

    def _hear(self, sample: NumericSet | WaveformSet) -> None:
        self._heard_ns[sample.device] = max(self._heard_ns.get(sample.device, 0), sample.arrived_at_ns)

    def _judge_set(self, sample: NumericSet) -> None:
        self._hear(sample)
        bed = self._bed_of(sample.device)
        taken = self._watches[bed].take(sample)
        # First the alarms: what a page does with a value must not keep one from being raised.
        self._settle(bed, sample.arrived_at_ns)
        self._tell_readings(bed, {held.value.measure for held in taken})
        self._marks[sample.device] = max(self._marks.get(sample.device, 0), sample.arrived_at_ns)

    def _is_calm(self, sample: NumericSet) -> bool:
        place = self.layout.devices.get(sample.device)
        heard_ns = self._heard_ns.get(sample.device)
        if place is None or not place.is_watched or heard_ns is None:
            return False
        rule, usual_s = self.rules.silence, place.usual_interval_s
        if silence.device_silence(rule, usual_s, heard_ns, sample.arrived_at_ns) is not None:
            return False
        watch = self._watch_of(sample.device)
        return watch.is_quiet and self._calm.holds(sample, watch.now.held)

    def _take_waves(self, waves: WaveformSet) -> None:
        self._hear(waves)
        bed = self._bed_of(waves.device)
        now = self._watches[bed].now
        for channel in waves.channels:
            now.waves_seen_ns[channel.measure] = waves.arrived_at_ns
        if waves.origin in (Origin.REPLAY, Origin.TEST):
            now.not_live = waves.origin.value
        for told in self.on_waves:
            told(bed, waves)

    def _settle(self, bed: str, now_ns: int) -> None:
        findings = [*self._watches[bed].findings(now_ns), *self._silences(bed, now_ns)]
        person = self._persons.get(bed, "")
        self._moved(self._talk.reconcile(bed, findings, person, self._clock()))

    def _silences(self, bed: str, now_ns: int) -> list[Finding]:
        found = []
        for device, place in self.layout.devices.items():
            if not place.is_watched or self._bed_of(device) != bed:
                continue
            heard_ns = self._heard_ns.get(device)
            level = silence.device_silence(self.rules.silence, place.usual_interval_s, heard_ns, now_ns)
            if level is not None and heard_ns is not None:
                limit_s = silence.device_limit_s(self.rules.silence, place.usual_interval_s)
                found.append(_silent(self.rules.silence.condition, level, (bed, device), heard_ns, limit_s))
        if bed == "":
            level = silence.hub_silence(self.rules.hub_silence, self._hub_heard_ns, now_ns)
            if level is not None:
                limit_s = self.rules.hub_silence.after_s
                found.append(_silent(self.rules.hub_silence.condition, level, ("", ""), self._hub_heard_ns, limit_s))
        return found

    def _resume(self) -> None:
        for bed, watch in self._watches.items():
            for alarm in self._talk.standing_at(bed):
                finding = alarm.finding
                if not alarm.stands or finding.condition == self.rules.hub_silence.condition:
                    continue
                if not finding.technical and alarm.person_id != self._persons.get(bed, ""):
                    continue  # of somebody who no longer lies here
                if finding.condition == self.rules.silence.condition:
                    self._heard_ns.setdefault(finding.device, finding.onset_ns)
                else:
                    watch.resume(finding)

    def _subject(self, bed: str) -> news2.Subject:
        person = self._roster.occupant(bed)
        today = date.fromtimestamp(self._clock() / NS)  # noqa: DTZ012 - the site's own calendar day
        age = person.age_years(today) if person is not None else None
        return news2.Subject(age_years=age, home=self.layout.home)

    def _moved(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            event = wire.to_wire(alarm.steps[-1])
            # The hub does not have the ruleset; it must show the same words.
            event.text_zh, event.text_en = texts.text_of(self.rules, alarm)
            self._unsaved.append(event)
            for told in self.on_alarm:
                told(alarm)

    def _tell_readings(self, bed: str, measures: set[str]) -> None:
        for told in self.on_readings:
            told(bed, measures)

    async def _save(self) -> None:
        async with self._saving:
            events, marks = self._unsaved, self._marks
            if not events and not self._is_due(marks):
                return
            self._unsaved, self._marks = [], {}
            marks = marks | {SETTLED: self._clock() - SETTLE_AFTER_S * NS} if marks else marks
            try:
                await self._store.append_alarms(events, marks)
            except BufferFailure as failure:
                self._unsaved = events + self._unsaved
                self._marks = marks | self._marks
                if not self._is_failing:
                    log.error("alarms.not-stored", code=failure.code)
                self._is_failing = True
                return
            self._saved_ns = self._clock()
            if self._is_failing:
                log.info("alarms.stored-again")
            self._is_failing = False

    def _is_due(self, marks: Mapping[str, int]) -> bool:
        """Cursors alone are stored now and then: judging a reading twice is harmless."""
        return bool(marks) and self._clock() - self._saved_ns >= MARKS_EVERY_S * NS


def _silent(condition: str, level: Priority, where: tuple[str, str], heard_ns: int, limit_s: float) -> Finding:
    bed, device = where
    return Finding(
        condition=condition,
        priority=level,
        bed=bed,
        device=device,
        limit=f"{limit_s:g}",
        unit="s",
        technical=True,
        onset_ns=heard_ns + int(limit_s * NS),
    )


def _differs(one: News2 | None, other: News2 | None) -> bool:
    if one is None or other is None:
        return one is not other
    return (one.total, one.complete, one.risk) != (other.total, other.complete, other.risk)

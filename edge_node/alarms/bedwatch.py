"""What the rules find at one bed: pure but for its memory; every time is handed in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation

from telemed.measures import MEASURES
from telemed.news2 import Sign

from edge_node.alarms import limits, news2
from edge_node.alarms.limits import Reading, Track
from edge_node.alarms.ruleset import Rule, Ruleset
from edge_node.samples.alarm import Finding, Priority
from edge_node.samples.current import BedNow, Held
from edge_node.samples.measurement import DeviceNote, NumericSet, Quality
from edge_node.samples.score import News2

NS = 1_000_000_000
PREFERRED_HOLDS_S = 60
"""A rule listens to its second measure only when its first was not heard for this long."""


@dataclass(frozen=True, slots=True)
class Ages:
    """From which age on a measurement is treated as old, and how often devices usually report."""

    never_alarms_s: float = 1800
    never_sounds_s: float = 120
    usual_interval_s: Mapping[str, float] = field(default_factory=dict)
    """By device; a device that is not listed reports often."""


@dataclass(slots=True)
class ScoreLevel:
    """The level at which the score alarms; a partial score may raise it and never lowers it."""

    level: Priority | None = None
    since_ns: int = 0
    total: int = 0
    better_since_ns: int = 0
    by_three: bool = False


@dataclass(slots=True)
class BedWatch:
    """The rules at one bed."""

    bed: str
    rules: Ruleset
    ages: Ages = field(default_factory=Ages)
    subject: news2.Subject = field(default_factory=news2.Subject)
    now: BedNow = field(init=False)
    score: News2 | None = None
    _tracks: dict[str, Track] = field(default_factory=dict)
    _sources: dict[str, Held] = field(default_factory=dict)
    _poor_since: dict[str, tuple[int, Held]] = field(default_factory=dict)
    _notes: dict[tuple[str, str], DeviceNote] = field(default_factory=dict)
    _score_level: ScoreLevel = field(default_factory=ScoreLevel)

    def __post_init__(self) -> None:
        self.now = BedNow(self.bed)
        self._tracks = {rule.condition: limits.fresh(rule) for rule in self.rules.rules}

    @property
    def applies(self) -> bool:
        """False where the person is known to be younger than the rules are for."""
        age = self.subject.age_years
        return age is None or age >= self.rules.applies.age_min

    def for_person(self, subject: news2.Subject, since_ns: int) -> "BedWatch":
        """Return the watch of this bed for another person, or nobody: only what devices reported stays.

        A monitor goes on repeating the last cuff reading of who lay here before: nothing from before `since_ns` counts.
        """
        watch = BedWatch(self.bed, self.rules, self.ages, subject, _notes=self._notes)
        watch.now.since_ns = since_ns
        return watch

    @property
    def is_quiet(self) -> bool:
        """Whether nothing stands at this bed that a reading could end or make worse."""
        if self._poor_since or self._notes or self._score_level.level is not None:
            return False
        return not any(watch.on for track in self._tracks.values() for watch in track.watches)

    def take(self, sample: NumericSet) -> list[Held]:
        """Take a set that arrived; return the values that became the newest of their measure."""
        before = dict(self.now.held)
        taken = self.now.take(sample)
        for held in taken:
            if self._is_repeat(before.get(held.value.measure), held):
                continue
            self._observe(held)
        self._rescore(sample.arrived_at_ns)
        return taken

    def recall(self, sample: NumericSet) -> None:
        """Take a set from before the start: its values are known again, no rule looks at them."""
        self.now.take(sample)

    def note(self, note: DeviceNote) -> None:
        """Take what a driver noticed about a device."""
        key = (note.device, note.condition)
        if not note.stands:
            self._notes.pop(key, None)
        else:
            self._notes.setdefault(key, note)

    def clock_set(self, by_ns: int, now_ns: int) -> None:
        """The wall clock was set: what is remembered keeps its age."""
        self.now.clock_set(by_ns, now_ns)
        self._tracks = {condition: limits.moved(track, by_ns) for condition, track in self._tracks.items()}
        self._poor_since = {measure: (at_ns + by_ns, held) for measure, (at_ns, held) in self._poor_since.items()}
        self._notes = {key: replace(note, at_ns=note.at_ns + by_ns) for key, note in self._notes.items()}
        level = self._score_level
        level.since_ns += by_ns
        level.better_since_ns += by_ns if level.better_since_ns else 0

    def tick(self, now_ns: int) -> None:
        """Let time pass."""
        home = self.subject.home
        self._tracks = {
            rule.condition: limits.settle(rule, self._tracks[rule.condition], now_ns, home) for rule in self.rules.rules
        }
        self._rescore(now_ns)

    def findings(self, now_ns: int) -> list[Finding]:
        """Return everything that stands at this bed now."""
        found = [*self._technical(now_ns), *self._poor_signals(now_ns)]
        if self.applies:
            found += self._limits()
            found += self._scored()
        elif self.now.held:
            found.append(self._equipment("age-rules", now_ns))
        return found

    def resume(self, alarm: Finding) -> None:
        """Take over an alarm that stood when the node went down and that no reading since has explained."""
        if alarm.condition in self._tracks:
            rule = next(row for row in self.rules.rules if row.condition == alarm.condition)
            if limits.priority(rule, self._tracks[rule.condition]) is None:
                self._tracks[rule.condition] = limits.stand(rule, alarm.priority, alarm)
        elif alarm.condition == self.rules.news2.condition:
            if self._score_level.level is None:
                self._score_level = ScoreLevel(alarm.priority, alarm.onset_ns, int(alarm.value or 0))
        elif alarm.technical and alarm.device and alarm.condition != "signal-poor":
            self.note(DeviceNote(alarm.device, alarm.condition, True, alarm.onset_ns))

    def _is_repeat(self, old: Held | None, new: Held) -> bool:
        """A monitor repeats its last cuff reading in every message: one reading, not many."""
        own_ns = new.value.measured_at_ns
        return old is not None and own_ns != 0 and old.value.measured_at_ns == own_ns and old.value == new.value

    def _observe(self, held: Held) -> None:
        number = _number(held)
        for rule in self.rules.rules:
            if held.value.measure not in rule.when.metric or not self._is_listened_to(rule, held):
                continue
            if not self._passes(rule, held) or number is None:
                continue
            gap_s = limits.gap_s(self.ages.usual_interval_s.get(held.device, 0))
            reading = Reading(held.value.measure, number, held.value.value, held.arrived_at_ns, gap_s)
            track = limits.observe(rule, self._tracks[rule.condition], reading, self.subject.home)
            self._tracks[rule.condition] = track
            if rule.when.holds(number):
                self._sources[rule.condition] = held

    def _is_listened_to(self, rule: Rule, held: Held) -> bool:
        for measure in rule.when.metric:
            if measure == held.value.measure:
                return True
            better = self.now.held.get(measure)
            if better is not None and better.may_count:
                return held.arrived_at_ns - better.arrived_at_ns > PREFERRED_HOLDS_S * NS
        return False

    def _passes(self, rule: Rule, held: Held) -> bool:
        """The gate before any physiological alarm: real, current, and of sufficient signal quality."""
        value = held.value
        is_zero = rule.zero_counts and value.quality is Quality.IMPLAUSIBLE and _number(held) == 0
        usable = held.may_count or (is_zero and replace(held, value=replace(value, quality=Quality.VALID)).may_count)
        if held.arrived_at_ns - held.measured_at_ns > self.ages.never_alarms_s * NS:
            usable = False
        quality, least = value.signal_quality, rule.when.min_quality
        poor = value.quality is Quality.QUESTIONABLE or (
            least is not None and quality is not None and quality < least and usable
        )
        if poor and not held.late:
            self._poor_since.setdefault(value.measure, (held.arrived_at_ns, held))
        else:
            self._poor_since.pop(value.measure, None)
        return usable and not poor

    def _rescore(self, now_ns: int) -> None:
        inputs = {
            measure: Sign(held.value.value, held.measured_at_ns)
            for measure, held in self.now.held.items()
            if held.may_count and (measure in ("acvpu", "oxygen") or _number(held) is not None)
        }
        if not inputs:
            self.score = None
            return
        self.score = news2.score(inputs, self.subject, now_ns)
        self._follow_score(self.score, now_ns)

    def _follow_score(self, score: News2, now_ns: int) -> None:
        rule, held = self.rules.news2, self._score_level
        by_three = rule.single_three and score.single_three
        level = Priority.MEDIUM if score.total >= rule.medium or by_three else None
        level = Priority.HIGH if score.total >= rule.high else level
        if score.refused is not None:
            self._score_level = ScoreLevel()
        elif (level or 0) >= (held.level or 0):
            since_ns = held.since_ns if held.level is not None else now_ns
            self._score_level = ScoreLevel(level, since_ns, score.total, 0, score.total < rule.medium)
        elif score.complete:
            held.better_since_ns = held.better_since_ns or now_ns
            if now_ns - held.better_since_ns >= rule.clear_for_s * NS:
                self._score_level = ScoreLevel(level, held.since_ns, score.total, 0, score.total < rule.medium)
        else:
            held.better_since_ns = 0

    def _limits(self) -> Iterable[Finding]:
        for rule in self.rules.rules:
            track = self._tracks[rule.condition]
            level = limits.priority(rule, track)
            if level is None:
                continue
            held = self._sources.get(rule.condition)
            yield Finding(
                condition=rule.condition,
                priority=level,
                bed=self.bed,
                device=held.device if held is not None else "",
                measure=track.measure,
                value=track.value,
                unit=MEASURES[track.measure].unit if track.measure else "",
                limit=limits.limit_text(rule, level),
                latching=track.latching,
                onset_ns=track.onset_ns,
                late=held is not None and held.arrived_at_ns - held.measured_at_ns > self.ages.never_sounds_s * NS,
            )

    def _scored(self) -> list[Finding]:
        held, rule = self._score_level, self.rules.news2
        if held.level is None:
            return []
        limit = rule.high if held.level is Priority.HIGH else rule.medium
        return [
            Finding(
                condition=rule.condition,
                priority=held.level,
                bed=self.bed,
                measure="news2",
                value=str(held.total),
                unit="{score}",
                limit="3/1" if held.by_three else str(limit),
                onset_ns=held.since_ns,
            )
        ]

    def _technical(self, now_ns: int) -> Iterable[Finding]:
        for note in self._notes.values():
            row = self.rules.technical_for(note.condition)
            if now_ns - note.at_ns < row.for_s * NS:
                continue
            condition = note.condition if row.condition == "other" else row.condition
            yield Finding(
                condition=condition,
                priority=row.priority,
                bed=self.bed,
                device=note.device,
                technical=True,
                onset_ns=note.at_ns,
            )

    def _poor_signals(self, now_ns: int) -> Iterable[Finding]:
        wait_ns = self.rules.technical_for("signal-poor").for_s * NS
        due = [(since, held) for since, held in self._poor_since.values() if now_ns - since >= wait_ns]
        if due:
            since_ns, held = min(due, key=lambda pair: pair[0])
            plain = self._equipment("signal-poor", since_ns)
            yield replace(plain, device=held.device, measure=held.value.measure)

    def _equipment(self, condition: str, onset_ns: int) -> Finding:
        row = self.rules.technical_for(condition)
        return Finding(condition=condition, priority=row.priority, bed=self.bed, technical=True, onset_ns=onset_ns)


def _number(held: Held) -> Decimal | None:
    try:
        number = Decimal(held.value.value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None

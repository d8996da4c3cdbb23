"""The present of one bed: newest readings, score, waves seen.  No I/O; used on the event loop alone.

Values are kept as they came and judged at once; what a screen shows of them is made when one looks, because most
beds of a large hub are before nobody's eyes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import InvalidOperation
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from telemed import news2, screen
from telemed.measures import MEASURES, is_plausible
from telemed.news2 import Sign
from telemed.v1 import sample_pb2

from cloud_hub.care.places import age_years
from cloud_hub.store.persons import Person
from cloud_hub.web.views import NS_PER_MS, bed_key, ms, patient_view

WAVE_SEEN_FOR_NS = 60 * 10**9
AHEAD_AT_MOST_NS = 300 * 10**9
"""A measurement from further in the future than this is judged by its arrival, whatever its node says."""
_ACVPU_HOME_S = 12 * 3600
_SHORT_CHARS = 24
_VALUES_REMEMBERED = 8192
QUALITY_NAMES: dict[int, str] = {
    sample_pb2.QUALITY_VALID: "valid",
    sample_pb2.QUALITY_QUESTIONABLE: "questionable",
    sample_pb2.QUALITY_IMPLAUSIBLE: "implausible",
    sample_pb2.QUALITY_MISSING: "missing",
    sample_pb2.QUALITY_RETRACTED: "retracted",
}
ORIGIN_NAMES: dict[int, str] = {
    sample_pb2.ORIGIN_LIVE: "live",
    sample_pb2.ORIGIN_TEST: "test",
    sample_pb2.ORIGIN_REPLAY: "replay",
    sample_pb2.ORIGIN_MANUAL: "manual",
}

_MAY_SCORE = frozenset({"live", "manual"})
_RETRACTED = sample_pb2.QUALITY_RETRACTED
_NOT_VALID = frozenset(quality for quality, name in QUALITY_NAMES.items() if name != "valid")

_Held = tuple[sample_pb2.NumericSet, int, int, int, bool, int]
"""Set, which of its values, arrival here (ns), time as shown (ms), whether the measured time cannot be believed, and
arrival at the node (ns).

A plain tuple: thousands of values come in a second.  And no value itself: protobuf keeps a table of all that Python
holds of its messages, and with the values of thousands of beds in it taking a set costs twice as much.
"""


@dataclass(slots=True)
class BedState:
    """What is known of a bed now."""

    site: str
    bed: str
    label: str
    person: Person | None = None
    since_ns: int = 0
    """Since when this person lies here: older measurements are somebody else's."""
    devices: list[str] = field(default_factory=list)
    has_camera: bool = False
    is_home: bool = False
    limits: dict[str, tuple[str, str]] = field(default_factory=dict)
    waves: dict[str, int] = field(default_factory=dict)
    """Arrival of the newest stretch of each wave, ns."""
    not_live: Literal["", "replay", "test"] = ""
    """Says where what is shown here is no live patient."""
    unassigned: int = 0
    _origins: dict[str, str] = field(default_factory=dict)
    """Origin of the newest set of each device."""
    _held: dict[str, _Held] = field(default_factory=dict)
    """The newest value of each measure."""
    _scored: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Value and time (ns) of the newest one of each measure that may be scored."""

    @property
    def readings(self) -> dict[str, screen.Reading]:
        """The newest reading of each measure, made now."""
        return {measure: self._reading(held) for measure, held in self._held.items()}

    @property
    def signs(self) -> dict[str, Sign]:
        """The newest value of each measure that may be scored."""
        return {measure: Sign(*scored) for measure, scored in self._scored.items()}

    @property
    def may_score(self) -> bool:
        """Whether there is any value that may be scored."""
        return bool(self._scored)

    @property
    def key(self) -> str:
        """Key of this bed on screens."""
        return bed_key(self.site, self.bed)

    def place(self, person: Person | None, since_ns: int) -> bool:
        """Say who lies here since when; True where that is another person than before.

        What was measured before a person came is not shown under them, nor under nobody after they left.
        """
        changed = (person.person_id if person else None) != (self.person.person_id if self.person else None)
        self.person, self.since_ns = person, since_ns
        if changed:
            kept = {name: held for name, held in self._held.items() if held[3] >= ms(since_ns)}
            self._held = kept if person else {}
            self._scored = {name: scored for name, scored in self._scored.items() if name in self._held}
        return changed

    def forget_origins(self) -> None:
        """Forget what came from devices that stand here no more."""
        self._origins = {device: origin for device, origin in self._origins.items() if device in self.devices}
        self._judge_origins()

    def take(self, device: str, sample: sample_pb2.NumericSet, received_ns: int, came_ns: int = 0) -> list[str]:
        """Take a numeric set; return the measures that have a new reading now, none where it is history.

        Args:
            device: that measured.
            sample: the set.
            received_ns: when it arrived here.
            came_ns: when it arrived at the node, by the hub's clock; 0 = when it arrived here.
        """
        came_ns = came_ns or received_ns
        if sample.assignment == sample_pb2.ASSIGNMENT_UNASSIGNED:
            self.unassigned += 1
            return []
        origin = self._comes_from(device, sample.origin)
        set_ns, is_suspect, may_score = sample.measured_at_unix_ns, sample.clock_suspect, origin in _MAY_SCORE
        # Every value of every bed of the region comes by here: what is asked of each is asked once.
        latest_ns, since_ns = received_ns + AHEAD_AT_MOST_NS, self.since_ns
        held_now, scored, changed = self._held, self._scored, []
        for number, value in enumerate(sample.values):
            measure, measured_ns = value.measure, value.measured_at_unix_ns or set_ns
            suspect = is_suspect or measured_ns > latest_ns
            # A time that cannot be believed is not shown: that of its arrival stands in for it (bad input 7).
            shown_ns = came_ns if suspect else measured_ns
            if shown_ns < since_ns:
                continue
            shown_ms, known = shown_ns // NS_PER_MS, held_now.get(measure)
            if known and (known[5] > came_ns if suspect or known[4] else known[3] > shown_ms):
                continue
            held_now[measure] = (sample, number, received_ns, shown_ms, suspect, came_ns)
            changed.append(measure)
            quality = value.quality
            if quality == _RETRACTED:
                scored.pop(measure, None)
            elif may_score and quality not in _NOT_VALID:
                text, before = value.value, scored.get(measure)
                if (before is not None and before[0] == text) or is_usable(measure, text):
                    scored[measure] = (text, shown_ms * NS_PER_MS)
        return changed

    def readings_of(self, measures: Iterable[str]) -> list[screen.Reading]:
        """The readings of measures that there are readings of."""
        return [self._reading(self._held[measure]) for measure in measures]

    def take_waves(self, device: str, sample: sample_pb2.WaveformSet, received_ns: int) -> None:
        """Note which waves run here."""
        self._comes_from(device, sample.origin)
        for channel in sample.channels:
            self.waves[channel.measure] = received_ns

    def score(self, now_ns: int) -> screen.News2 | None:
        """NEWS2 of the person here; None where nothing of it is known, or where what is shown is no live patient."""
        age = age_years(self.person.birth_date, now_ns) if self.person else None
        refused = news2.refusal(age)
        scored = news2.score({} if refused else news2.current(self.signs, now_ns, is_home=self.is_home))
        if not scored.is_known and not refused:
            return None
        return screen.News2(
            total=scored.total,
            complete=scored.is_complete,
            single_three=scored.has_single_three,
            risk=scored.risk,
            scale=scored.scale,
            parts=[_part(part) for part in scored.parts],
            refused=refused,
            at_ms=ms(now_ns),
        )

    def view(self, now_ns: int) -> screen.Bed:
        """The bed as a screen shows it."""
        return screen.Bed(
            key=self.key,
            site=self.site,
            bed=self.bed,
            label=self.label,
            patient=patient_view(self.person, now_ns) if self.person else None,
            devices=self.devices,
            has_camera=self.has_camera,
            readings=self.readings_of(self._held),
            news2=self.score(now_ns),
            waves=sorted(name for name, at_ns in self.waves.items() if now_ns - at_ns < WAVE_SEEN_FOR_NS),
            not_live=self.not_live,
            unassigned=self.unassigned,
        )

    def _comes_from(self, device: str, number: int) -> str:
        """Note the origin, by its number, of what came from a device; return its name."""
        origin = ORIGIN_NAMES.get(number, "live")
        if self._origins.get(device) != origin:
            self._origins[device] = origin
            self._judge_origins()
        return origin

    def _judge_origins(self) -> None:
        origins = self._origins.values()
        self.not_live = "replay" if "replay" in origins else "test" if "test" in origins else ""

    def _reading(self, held: _Held) -> screen.Reading:
        sample, number, received_ns, shown_ms, suspect, _came_ns = held
        value = sample.values[number]
        quality = QUALITY_NAMES.get(value.quality, "valid")
        low, high = self.limits.get(value.measure, ("", ""))
        return screen.Reading(
            measure=value.measure,
            value=None if quality in {"missing", "retracted"} else value.value or None,
            unit=value.unit,
            measured_at_ms=shown_ms,
            arrived_at_ms=ms(received_ns),
            quality=quality,
            origin=ORIGIN_NAMES.get(sample.origin, "live"),
            stale_after_s=self._stale_after_s(value.measure),
            clock_suspect=suspect,
            limit_low=low or None,
            limit_high=high or None,
        )

    def _stale_after_s(self, measure: str) -> int:
        if measure == "acvpu" and self.is_home:
            return _ACVPU_HOME_S
        row = MEASURES.get(measure)
        return row.stale_after_s if row else 300


def wave_channel(channel: sample_pb2.Channel, measured_ns: int) -> screen.WaveChannel:
    """A stretch of a wave as the screen draws it: digits, with null where there is no sample."""
    invalid = set(channel.invalid_digits)
    digits = list(accumulate(channel.deltas))
    return screen.WaveChannel(
        measure=channel.measure,
        label=channel.label,
        rate_hz=channel.rate_mhz / 1000,
        start_ms=measured_ns / 10**6,
        gain=channel.gain,
        baseline=channel.baseline,
        unit=channel.unit,
        digits=[None if digit in invalid else digit for digit in digits] if invalid else digits,
    )


def is_usable(measure: str, text: str) -> bool:
    """True where a value can be scored; a node may call valid what is none."""
    # Of any length, as a node sends them: long ones are judged each time instead of being remembered.
    is_short = len(text) <= _SHORT_CHARS and len(measure) <= _SHORT_CHARS
    return bool(text) and (_is_plausible(measure, text) if is_short else _is_plausible.__wrapped__(measure, text))


@lru_cache(_VALUES_REMEMBERED)
def _is_plausible(measure: str, text: str) -> bool:
    try:
        return is_plausible(measure, text)
    except (InvalidOperation, KeyError):
        return False


def _part(part: news2.PartScore) -> screen.News2Part:
    return screen.News2Part(
        part=part.part.value,
        value=part.sign.value if part.sign else None,
        measured_at_ms=ms(part.sign.measured_at_ns) if part.sign else None,
        points=part.points,
    )

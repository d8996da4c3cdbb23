"""The present of one bed: newest readings, score, waves seen.  No I/O; used on the event loop alone."""

from dataclasses import dataclass, field
from decimal import InvalidOperation
from itertools import accumulate
from typing import Literal

from telemed import news2, screen
from telemed.measures import MEASURES, is_plausible
from telemed.news2 import Sign
from telemed.v1 import sample_pb2

from cloud_hub.care.places import age_years
from cloud_hub.store.persons import Person
from cloud_hub.web.views import bed_key, ms, patient_view

WAVE_SEEN_FOR_NS = 60 * 10**9
AHEAD_AT_MOST_NS = 300 * 10**9
"""A measurement from further in the future than this is judged by its arrival, whatever its node says."""
_ACVPU_HOME_S = 12 * 3600
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
    readings: dict[str, screen.Reading] = field(default_factory=dict)
    signs: dict[str, Sign] = field(default_factory=dict)
    waves: dict[str, int] = field(default_factory=dict)
    """Arrival of the newest stretch of each wave, ns."""
    origins: dict[str, str] = field(default_factory=dict)
    """Origin of the newest set of each device."""
    unassigned: int = 0

    @property
    def key(self) -> str:
        """Key of this bed on screens."""
        return bed_key(self.site, self.bed)

    @property
    def not_live(self) -> Literal["", "replay", "test"]:
        """Says where what is shown here is no live patient."""
        if "replay" in self.origins.values():
            return "replay"
        return "test" if "test" in self.origins.values() else ""

    def place(self, person: Person | None, since_ns: int) -> bool:
        """Say who lies here since when; True where that is another person than before.

        What was measured before a person came is not shown under them, nor under nobody after they left.
        """
        changed = (person.person_id if person else None) != (self.person.person_id if self.person else None)
        self.person, self.since_ns = person, since_ns
        if changed:
            kept = {name: one for name, one in self.readings.items() if one.measured_at_ms >= ms(since_ns)}
            self.readings = kept if person else {}
            self.signs = {name: sign for name, sign in self.signs.items() if name in self.readings}
        return changed

    def take(self, device: str, sample: sample_pb2.NumericSet, received_ns: int) -> list[screen.Reading]:
        """Take a numeric set; return the readings that are new because of it, empty where it is history."""
        if sample.assignment == sample_pb2.ASSIGNMENT_UNASSIGNED:
            self.unassigned += 1
            return []
        self.origins[device] = ORIGIN_NAMES.get(sample.origin, "live")
        changed = []
        for value in sample.values:
            reading = self._reading(sample, value, received_ns)
            if reading is None:
                continue
            self.readings[value.measure] = reading
            changed.append(reading)
            self._keep_sign(value, reading)
        return changed

    def take_waves(self, device: str, sample: sample_pb2.WaveformSet, received_ns: int) -> None:
        """Note which waves run here."""
        self.origins[device] = ORIGIN_NAMES.get(sample.origin, "live")
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
            readings=list(self.readings.values()),
            news2=self.score(now_ns),
            waves=sorted(name for name, at_ns in self.waves.items() if now_ns - at_ns < WAVE_SEEN_FOR_NS),
            not_live=self.not_live,
            unassigned=self.unassigned,
        )

    def _reading(
        self, sample: sample_pb2.NumericSet, value: sample_pb2.NumericValue, received_ns: int
    ) -> screen.Reading | None:
        measured_ns = value.measured_at_unix_ns or sample.measured_at_unix_ns
        suspect = sample.clock_suspect or measured_ns > received_ns + AHEAD_AT_MOST_NS
        if (received_ns if suspect else measured_ns) < self.since_ns:
            return None
        known = self.readings.get(value.measure)
        if known and not suspect and not known.clock_suspect and known.measured_at_ms > ms(measured_ns):
            return None
        quality = QUALITY_NAMES.get(value.quality, "valid")
        low, high = self.limits.get(value.measure, ("", ""))
        return screen.Reading(
            measure=value.measure,
            value=None if quality in {"missing", "retracted"} else value.value or None,
            unit=value.unit,
            # A time that cannot be believed is not shown: the hub's own stands in for it (bad input 7).
            measured_at_ms=ms(received_ns if suspect else measured_ns),
            arrived_at_ms=ms(received_ns),
            quality=quality,
            origin=ORIGIN_NAMES.get(sample.origin, "live"),
            stale_after_s=self._stale_after_s(value.measure),
            clock_suspect=suspect,
            limit_low=low or None,
            limit_high=high or None,
        )

    def _keep_sign(self, value: sample_pb2.NumericValue, reading: screen.Reading) -> None:
        if reading.quality == "valid" and reading.origin in {"live", "manual"} and _is_usable(reading):
            at_ms = reading.arrived_at_ms if reading.clock_suspect else reading.measured_at_ms
            self.signs[value.measure] = Sign(reading.value or "", at_ms * 10**6)
        elif reading.quality == "retracted":
            self.signs.pop(value.measure, None)

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


def _is_usable(reading: screen.Reading) -> bool:
    """True where a value can be scored; a node may call valid what is none."""
    try:
        return reading.value is not None and is_plausible(reading.measure, reading.value)
    except (InvalidOperation, KeyError):
        return False


def _part(part: news2.PartScore) -> screen.News2Part:
    return screen.News2Part(
        part=part.part.value,
        value=part.sign.value if part.sign else None,
        measured_at_ms=ms(part.sign.measured_at_ns) if part.sign else None,
        points=part.points,
    )

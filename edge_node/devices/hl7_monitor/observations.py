"""An admitted ORU^R01 into measurements, pure (every field rule of clinical 3.1)."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import tzinfo

from telemed.errors import Code as ErrorCode

from edge_node.devices.hl7_monitor import identity, numerics, timestamps, waves
from edge_node.devices.hl7_monitor.admission import Admitted
from edge_node.devices.hl7_monitor.devclock import DeviceClock
from edge_node.devices.hl7_monitor.frames import Message, Segment, component_of
from edge_node.devices.hl7_monitor.numerics import FieldError, SignalQuality
from edge_node.devices.hl7_monitor.timestamps import Stamp
from edge_node.samples.measurement import (
    Assignment,
    Channel,
    DeviceNote,
    Intake,
    NumericSet,
    Origin,
    Value,
    WaveformSet,
)

FUTURE_LIMIT_NS = 120_000_000_000
"""A time further ahead than this, after mapping, is not to be believed."""
EARLIEST_NS = 1_577_836_800_000_000_000
"""2020-01-01: an earlier time comes from a clock that was never set."""
IDENTITY, CLOCK = "identity", "clock"
_LARGEST_ERROR_MS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What must be known beside the message to read it."""

    arrived_at_ns: int
    site_zone: tzinfo
    late_after_s: float
    clock: DeviceClock
    occupant: identity.Occupant | None
    standing: frozenset[str] | None
    """Conditions of the device that stand; None where nothing was said since the start."""
    is_id_reused: bool = False
    """Same MSH-10 as an earlier message with another body."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message brought."""

    intake: Intake
    errors: tuple[FieldError, ...]
    skew_ns: int | None
    """Arrival minus MSH-7; None where MSH-7 has no time."""
    standing: frozenset[str]
    unknown_codes: frozenset[int]
    """IEEE codes without a row in the measures table."""
    disagreeing_codes: int


@dataclass(slots=True)
class _Group:
    """One OBR with what follows it."""

    starts: Stamp | None
    values: list[Value] = field(default_factory=list)
    signal: SignalQuality | None = None
    rows: list[waves.WaveRow] = field(default_factory=list)


@dataclass(slots=True)
class _Collector:
    groups: list[_Group]
    errors: list[FieldError] = field(default_factory=list)
    unknown: set[int] = field(default_factory=set)
    disagreeing: int = 0
    is_zone_assumed: bool = False
    by_level: dict[str, waves.WaveRow] = field(default_factory=dict)


def dedup_key(message: Message) -> str:
    """Key of a message: MSH-3, MSH-10 and the hash of everything after MSH (decision 31)."""
    digest = hashlib.sha256(message.body).hexdigest()
    return f"{message.msh.raw(3)}|{message.msh.raw(10)}|{digest}"


def read(message: Message, admitted: Admitted, around: Surroundings, payload: bytes) -> Reading:
    """Return the measurements of a message and what was noticed about its device.

    A field that cannot be taken leaves the others standing; the raw message is then kept beside them.
    """
    found = _collect(message, around)
    sent = timestamps.read(message.msh.component(7), around.site_zone)
    skew_ns = around.arrived_at_ns - sent.at_ns if sent else None
    verdict = _verdict(message, admitted, around)
    head = _Head(message, admitted, around, sent, verdict, found.is_zone_assumed or bool(sent and not sent.has_zone))
    channels = list(_channels(found))
    sets = tuple(part for group in found.groups if group.values for part in [head.numeric_set(group)])
    wave_sets = tuple(head.wave_sets(channels))
    standing = frozenset(_standing(verdict, skew_ns, around, admitted.origin))
    raw_reason = _raw_reason(found, bool(sets or wave_sets))
    notes = tuple(_notes(admitted.device.device, standing, around, verdict))
    intake = Intake(
        sets=sets,
        waves=wave_sets,
        notes=notes if admitted.origin is Origin.LIVE else (),
        raw=payload if raw_reason else b"",
        raw_reason=raw_reason,
        dedup_key=dedup_key(message),
    )
    return Reading(intake, tuple(found.errors), skew_ns, standing, frozenset(found.unknown), found.disagreeing)


@dataclass(frozen=True, slots=True)
class _Head:
    """What all sets of one message share."""

    message: Message
    admitted: Admitted
    around: Surroundings
    sent: Stamp | None
    verdict: identity.Verdict
    is_zone_assumed: bool

    def numeric_set(self, group: _Group) -> NumericSet:
        stamp = group.starts or self.sent
        at_ns = self._mapped(stamp)
        is_suspect = self._is_suspect(stamp)
        return NumericSet(
            device=self.admitted.device.device,
            measured_at_ns=at_ns,
            arrived_at_ns=self.around.arrived_at_ns,
            values=tuple(self._value(value, group.signal) for value in group.values),
            origin=self.admitted.origin,
            assignment=self._assignment(),
            time_error_ms=self._error_ms(stamp),
            late=self._is_late(at_ns) and not is_suspect,
            clock_suspect=is_suspect,
            source_ref=self._source_ref(),
            claimed_patient_id="" if self.verdict.is_bed else self._claimed(),
        )

    def wave_sets(self, channels: list[tuple[Stamp | None, Channel]]) -> Iterable[WaveformSet]:
        by_time: dict[int, tuple[Stamp | None, list[Channel]]] = {}
        for own, channel in channels:
            stamp = own or self.sent
            by_time.setdefault(self._mapped(stamp), (stamp, []))[1].append(channel)
        for at_ns, (stamp, parts) in by_time.items():
            yield WaveformSet(
                device=self.admitted.device.device,
                measured_at_ns=at_ns,
                arrived_at_ns=self.around.arrived_at_ns,
                channels=tuple(parts),
                origin=self.admitted.origin,
                assignment=self._assignment(),
                time_error_ms=self._error_ms(stamp),
                late=self._is_late(at_ns) and not self._is_suspect(stamp),
                source_ref=self._source_ref(),
            )

    def _value(self, value: Value, signal: SignalQuality | None) -> Value:
        quality = signal.fraction if signal and value.measure in ("spo2", "pr_oxim") else None
        own_ns = max(0, value.measured_at_ns + self.around.clock.offset_ns) if value.measured_at_ns else 0
        return replace(value, measured_at_ns=own_ns, signal_quality=quality)

    def _mapped(self, stamp: Stamp | None) -> int:
        return max(0, stamp.at_ns + self.around.clock.offset_ns) if stamp else self.around.arrived_at_ns

    def _is_suspect(self, stamp: Stamp | None) -> bool:
        if stamp is None:
            return True
        at_ns = self._mapped(stamp)
        return at_ns < EARLIEST_NS or at_ns > self.around.arrived_at_ns + FUTURE_LIMIT_NS

    def _is_late(self, at_ns: int) -> bool:
        return self.around.arrived_at_ns - at_ns > self.around.late_after_s * 1e9

    def _error_ms(self, stamp: Stamp | None) -> int:
        if stamp is None:
            return 0
        clock = self.around.clock
        unknown_ms = 0
        if not clock.is_known and self.sent is not None:
            unknown_ms = abs(self.around.arrived_at_ns - self.sent.at_ns) // 1_000_000
        return min(max(stamp.resolution_ms, clock.error_ms, unknown_ms), _LARGEST_ERROR_MS)

    def _assignment(self) -> Assignment:
        return Assignment.BED if self.verdict.is_bed else Assignment.UNASSIGNED

    def _source_ref(self) -> str:
        reused = ";control-id-reused" if self.around.is_id_reused else ""
        return f"{self.message.msh.component(10)}{reused}{';zone-assumed' if self.is_zone_assumed else ''}"

    def _claimed(self) -> str:
        return next(iter(identity.claim_of(self.message).identifiers), "")


def _verdict(message: Message, admitted: Admitted, around: Surroundings) -> identity.Verdict:
    visit = message.first("PV1")
    location = ""
    if visit is not None:
        first = visit.raw(3).split(visit.separators.repetition, 1)[0]
        parts = range(1, first.count(visit.separators.component) + 2)
        location = "^".join(component_of(first, part, visit.separators) for part in parts)
    return identity.judge(identity.claim_of(message), location, admitted.device, around.occupant)


def _collect(message: Message, around: Surroundings) -> _Collector:
    found = _Collector([_Group(None)])
    count = 0
    for segment in message.segments:
        if segment.name == "OBR":
            found.groups.append(_Group(_first_time(segment, (7, 8), around, found)))
            found.by_level.clear()
        elif segment.name == "OBX":
            count += 1
            _take_obx(segment, count, around, found)
    return found


def _take_obx(obx: Segment, count: int, around: Surroundings, found: _Collector) -> None:
    code = numerics.code_of(obx)
    if code is None:
        return
    found.disagreeing += code.disagrees
    kind = obx.component(2).upper()
    level = obx.component(4)
    if kind == "NA" and waves.facet_of(code) is None:
        row = waves.WaveRow(obx, count, code, _first_time(obx, (14,), around, found))
        found.by_level[level] = row
        found.groups[-1].rows.append(row)
        return
    parent = found.by_level.get(level.rpartition(".")[0])
    facet = waves.facet_of(code)
    if facet is not None:
        if parent is not None:
            parts = range(1, obx.raw(5).count(obx.separators.component) + 2)
            parent.facets[facet] = "^".join(obx.component(5, part) for part in parts)
        return
    if kind in numerics.NUMERIC_TYPES:
        _take_numeric(obx, count, code, around, found)


def _take_numeric(obx: Segment, count: int, code: numerics.Code, around: Surroundings, found: _Collector) -> None:
    own = _first_time(obx, (14,), around, found)
    if own is None and obx.component(14):
        found.errors.append(FieldError("OBX", count, 14, "102", "Data type error"))
        return
    value = numerics.read(obx, count, code, own.at_ns if own else 0)
    if isinstance(value, FieldError):
        found.errors.append(value)
    elif isinstance(value, SignalQuality):
        found.groups[-1].signal = value
    elif value is not None:
        found.groups[-1].values.append(value)
    elif obx.component(5) and obx.component(11).upper() != "X":
        found.unknown.add(code.number)


def _channels(found: _Collector) -> Iterable[tuple[Stamp | None, Channel]]:
    for group in found.groups:
        for row in group.rows:
            channel = waves.channel_of(row)
            if isinstance(channel, FieldError):
                found.errors.append(channel)
                continue
            yield row.starts or group.starts, channel


def _first_time(segment: Segment, numbers: tuple[int, ...], around: Surroundings, found: _Collector) -> Stamp | None:
    for number in numbers:
        stamp = timestamps.read(segment.component(number), around.site_zone)
        if stamp is not None:
            found.is_zone_assumed = found.is_zone_assumed or not stamp.has_zone
            return stamp
    return None


def _standing(verdict: identity.Verdict, skew_ns: int | None, around: Surroundings, origin: Origin) -> Iterable[str]:
    if origin is not Origin.LIVE:
        # A test message says nothing about the patient and must not alarm.
        yield from around.standing or ()
        return
    if not verdict.is_bed and verdict.reason != "no-bed":
        yield IDENTITY
    if skew_ns is not None and around.clock.is_off(skew_ns):
        yield CLOCK


def _notes(
    device: str, standing: frozenset[str], around: Surroundings, verdict: identity.Verdict
) -> Iterable[DeviceNote]:
    for condition in (IDENTITY, CLOCK):
        stands = condition in standing
        if around.standing is not None and stands == (condition in around.standing):
            continue
        detail = verdict.reason if condition == IDENTITY else ""
        yield DeviceNote(device, condition, stands, around.arrived_at_ns, detail)


def _raw_reason(found: _Collector, has_measurements: bool) -> str:
    if found.errors:
        return ErrorCode.FIELD_ERROR
    return "" if has_measurements else ErrorCode.NOTHING_MEASURED

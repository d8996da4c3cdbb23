"""One message from bytes to its fate: read, deliver, and say what to answer.  No sockets here."""

import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo

import structlog
from telemed.errors import Code

from edge_node.config import DeviceConfig, Hl7Config
from edge_node.devices.hl7_monitor import acknowledgement, admission, frames, observations
from edge_node.devices.hl7_monitor.acknowledgement import Outcome, Result
from edge_node.devices.hl7_monitor.counters import Counters
from edge_node.devices.hl7_monitor.devclock import ClockState, DeviceClock
from edge_node.devices.hl7_monitor.frames import Message
from edge_node.devices.hl7_monitor.identity import Occupant
from edge_node.devices.hl7_monitor.numerics import FieldError
from edge_node.errors import BufferFailure
from edge_node.samples.measurement import Deliver, Intake, Origin, Stored

_REMEMBERED_IDS = 4096
_KEPT_PER_MINUTE = 10
_MOST_FINDINGS = 200
"""So that a device that sends rubbish cannot fill memory, log or store with it."""
_MINUTE_NS = 60_000_000_000
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Device:
    """What is remembered of one device between its messages."""

    clock: DeviceClock = field(default_factory=DeviceClock)
    standing: frozenset[str] | None = None
    bodies: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """MSH-10 to the duplicate key of its last message."""
    said: set[str] = field(default_factory=set)
    """What was logged once already."""
    is_clock_suspect: bool = False
    """Its last message came with a time that is not to be believed."""
    unknown_codes: set[int] = field(default_factory=set)
    """Codes without a measure that it has sent."""


class Desk:
    """Takes one message at a time of any connection."""

    def __init__(
        self,
        config: Hl7Config,
        devices: Sequence[DeviceConfig],
        occupant: Callable[[str], Occupant | None],
        site_zone: tzinfo,
        counters: Counters,
    ) -> None:
        self._config = config
        self._devices = devices
        self._occupant = occupant
        self._zone = site_zone
        self._counters = counters
        self._states: defaultdict[str, _Device] = defaultdict(_Device)
        self._kept: defaultdict[str, list[int]] = defaultdict(list)
        self._is_store_failing = False

    async def take(self, payload: bytes, arrived_at_ns: int, deliver: Deliver) -> tuple[Message | None, Result]:
        """Return the message as far as it could be read, and its fate.

        When this returns STORED or FAULTY, what could be read is on disk.
        """
        try:
            message = frames.parse(payload)
        except frames.CharsetRefused as refused:
            error = FieldError("MSH", 1, 18, "207", str(refused))
            await self._keep_raw(payload, Code.MESSAGE_UNREADABLE, arrived_at_ns, deliver)
            return frames.header_of(payload), Result(Outcome.FAULTY, (error,))
        except frames.Unreadable as unreadable:
            error = FieldError("MSH", 1, 0, "100", str(unreadable))
            await self._keep_raw(payload, Code.MESSAGE_UNREADABLE, arrived_at_ns, deliver)
            return frames.header_of(payload), Result(Outcome.REFUSED, (error,))
        admitted = admission.admit(message, self._devices)
        if isinstance(admitted, admission.Refusal):
            await self._keep_raw(payload, admitted.reason, arrived_at_ns, deliver)
            return message, Result(Outcome.REFUSED, (admitted.error,))
        return message, await self._store(message, admitted, payload, arrived_at_ns, deliver)

    def clock_set(self, by_ns: int) -> None:
        """Take in that the node's clock was set by so much: what is remembered of times was read off the old one."""
        for state in self._states.values():
            state.clock.clock_set(by_ns)
        for reason, times_ns in self._kept.items():
            self._kept[reason] = [at_ns + by_ns for at_ns in times_ns]

    def clocks(self) -> dict[str, ClockState]:
        """Return the state of the clock of every device that has spoken since the start."""
        return {
            device: ClockState(state.clock.offset_ns // 1_000_000, state.clock.is_known, state.is_clock_suspect)
            for device, state in self._states.items()
        }

    async def _store(
        self, message: Message, admitted: admission.Admitted, payload: bytes, arrived_at_ns: int, deliver: Deliver
    ) -> Result:
        device = self._states[admitted.device.device]
        key = observations.dedup_key(message)
        control_id = message.msh.component(10)
        is_reused = device.bodies.get(control_id, key) != key
        bed = admitted.device.bed
        around = observations.Surroundings(
            arrived_at_ns=arrived_at_ns,
            site_zone=self._zone,
            late_after_s=self._config.late_after_s,
            clock=device.clock,
            occupant=self._occupant(bed) if bed else None,
            standing=device.standing,
            is_id_reused=is_reused,
        )
        reading = observations.read(message, admitted, around, payload)
        intake = self._with_unknown(device, reading, payload)
        try:
            stored = await deliver(intake)
        except BufferFailure as failure:
            self._note_store(failure)
            error = FieldError("MSH", 1, 0, "207", "Cannot be stored now, send it again later")
            self._counters.refusals[Code.STORE_FULL] += 1
            return Result(Outcome.REFUSED, (error,))
        self._note_store(None)
        if stored is Stored.NEW:
            self._remember(device, admitted, reading, control_id, key)
            self._count(admitted, reading, is_reused)
        else:
            self._counters.duplicates += 1
        self._say_once(device, admitted, message, reading)
        return Result(Outcome.FAULTY if reading.errors else Outcome.STORED, reading.errors)

    @staticmethod
    def _with_unknown(device: _Device, reading: observations.Reading, payload: bytes) -> Intake:
        """The intake, with the whole message kept where it is the first with a code that has no measure."""
        new_codes = reading.unknown_codes - device.unknown_codes
        if not new_codes or reading.intake.raw or len(device.unknown_codes) >= _MOST_FINDINGS:
            return reading.intake
        return replace(reading.intake, raw=payload, raw_reason=Code.MEASURE_UNKNOWN)

    def _remember(
        self,
        device: _Device,
        admitted: admission.Admitted,
        reading: observations.Reading,
        control_id: str,
        key: str,
    ) -> None:
        device.unknown_codes.update(reading.unknown_codes)
        device.bodies[control_id] = key
        device.bodies.move_to_end(control_id)
        if len(device.bodies) > _REMEMBERED_IDS:
            device.bodies.popitem(last=False)
        if admitted.origin is not Origin.LIVE:
            return
        device.standing = reading.standing
        device.is_clock_suspect = any(part.clock_suspect for part in reading.intake.sets)
        if reading.skew_ns is not None:
            device.clock.take(reading.skew_ns)

    def _count(self, admitted: admission.Admitted, reading: observations.Reading, is_reused: bool) -> None:
        counters = self._counters
        sets = reading.intake.sets
        counters.field_errors += len(reading.errors)
        counters.reused_control_ids += is_reused
        counters.disagreeing_codes += reading.disagreeing_codes
        counters.test_messages += admitted.origin is Origin.TEST
        counters.unassigned += any(part.claimed_patient_id for part in sets)
        counters.late += any(part.late for part in sets)
        counters.clock_suspect += any(part.clock_suspect for part in sets)
        if len(counters.unknown_measures) < _MOST_FINDINGS:
            counters.unknown_measures.update(reading.unknown_codes)

    def _say_once(
        self, device: _Device, admitted: admission.Admitted, message: Message, reading: observations.Reading
    ) -> None:
        findings = [f"no measure for code {code}" for code in sorted(reading.unknown_codes)]
        if acknowledgement.is_silent(message.msh):
            findings.append("sender wants no answer: silent loss is possible")
        if not admitted.has_profile:
            findings.append("MSH-21 does not name the IHE PCD profile")
        if reading.disagreeing_codes:
            findings.append("OBX-3 number and name disagree: the number is taken")
        for finding in findings:
            if finding not in device.said and len(device.said) < _MOST_FINDINGS:
                device.said.add(finding)
                _log.warning("hl7 device", device=admitted.device.device, finding=finding)

    def _note_store(self, failure: BufferFailure | None) -> None:
        if failure is not None and not self._is_store_failing:
            _log.error("hl7 messages cannot be stored", code=failure.code)
        if failure is None and self._is_store_failing:
            _log.info("hl7 messages are stored again")
        self._is_store_failing = failure is not None

    async def _keep_raw(self, payload: bytes, reason: Code, arrived_at_ns: int, deliver: Deliver) -> None:
        """Keep a refused message for people to look at; a few a minute, so that no sender can fill the disk."""
        self._counters.refusals[reason] += 1
        recent = [at_ns for at_ns in self._kept[reason] if arrived_at_ns - at_ns < _MINUTE_NS]
        self._kept[reason] = recent
        if len(recent) >= _KEPT_PER_MINUTE:
            self._counters.raw_not_kept += 1
            return
        recent.append(arrived_at_ns)
        key = f"raw|{hashlib.sha256(payload).hexdigest()}"
        try:
            await deliver(Intake(raw=payload, raw_reason=reason, dedup_key=key))
        except BufferFailure as failure:
            self._note_store(failure)
            self._counters.raw_not_kept += 1
            return
        if len(recent) == 1:
            _log.warning("hl7 message refused and kept", reason=str(reason))

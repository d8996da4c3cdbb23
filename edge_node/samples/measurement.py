"""Measurements as the drivers deliver them and the rest of the edge works with them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt


class Origin(StrEnum):
    """Where a measurement comes from; decides whether it may alarm and be filed under a person."""

    LIVE = "live"
    TEST = "test"
    REPLAY = "replay"
    MANUAL = "manual"


class Quality(StrEnum):
    """How far a value may be used."""

    VALID = "valid"
    QUESTIONABLE = "questionable"
    IMPLAUSIBLE = "implausible"  # outside the plausible range: kept, never scored, never alarms
    MISSING = "missing"
    RETRACTED = "retracted"


class Assignment(StrEnum):
    """How the subject is found."""

    BED = "bed"
    UNASSIGNED = "unassigned"  # the device named somebody else or somebody nobody knows


@dataclass(frozen=True, slots=True)
class Value:
    """One value of one measure."""

    measure: str
    """Row of `telemed.measures.MEASURES`."""
    value: str
    """Decimal text in `unit` (UCUM), or the code of a coded measure; empty where missing."""
    unit: str
    quality: Quality = Quality.VALID
    raw_value: str = ""
    raw_unit: str = ""
    mdc: int = 0
    measured_at_ns: int = 0
    """Own time of this value (OBX-14) in ns since the epoch; 0 = that of its set."""
    signal_quality: float | None = None
    """0 to 1 where the device gives one."""
    status: str = "R"
    """OBX-11: R preliminary, F final, C corrected, W and D retracted."""


@dataclass(frozen=True, slots=True)
class NumericSet:
    """Values taken by one device at one instant."""

    device: str
    """Code of the device in this node's configuration."""
    measured_at_ns: int
    arrived_at_ns: int
    """Node clock; silence and ages are judged on this, never on the device's own."""
    values: tuple[Value, ...]
    origin: Origin = Origin.LIVE
    assignment: Assignment = Assignment.BED
    time_error_ms: int = 0
    late: bool = False
    """Too old to alarm."""
    clock_suspect: bool = False
    source_ref: str = ""
    claimed_patient_id: str = ""


@dataclass(frozen=True, slots=True)
class Channel:
    """One wave of a set; physical = (digit - baseline) / gain."""

    measure: str
    """Row of `telemed.measures.WAVES`, or "mdc:<code>"."""
    rate_hz: float
    digits: npt.NDArray[np.int32]
    gain: float
    baseline: float
    unit: str
    label: str = ""
    invalid_digits: tuple[int, ...] = ()
    """Digits that stand for "no sample"."""


@dataclass(frozen=True, slots=True)
class WaveformSet:
    """A stretch, nominally one second, of the waves of one device."""

    device: str
    measured_at_ns: int
    arrived_at_ns: int
    channels: tuple[Channel, ...]
    origin: Origin = Origin.LIVE
    assignment: Assignment = Assignment.BED
    time_error_ms: int = 0
    late: bool = False
    source_ref: str = ""


@dataclass(frozen=True, slots=True)
class DeviceNote:
    """Something a driver noticed about a device that people must know: becomes a technical alarm or ends one."""

    device: str
    condition: str
    """"identity", "clock", "lead-off" ...; the technical conditions of the ruleset."""
    stands: bool
    """False: the condition is over."""
    at_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Intake:
    """What one message or one read of a device brought; stored as a whole or not at all."""

    sets: tuple[NumericSet, ...] = ()
    waves: tuple[WaveformSet, ...] = ()
    notes: tuple[DeviceNote, ...] = field(default=())
    raw: bytes = b""
    """The message itself where it must be kept (quarantine), else empty."""
    raw_reason: str = ""
    """Stable code of why the raw message is kept (`telemed.errors.Code`)."""
    dedup_key: str = ""
    """MSH-3, MSH-10 and hash of the body: the same key is acknowledged and not stored twice; empty = no such check."""


class Stored(StrEnum):
    """What became of an intake."""

    NEW = "new"
    DUPLICATE = "duplicate"


Deliver = Callable[[Intake], Awaitable[Stored]]
"""Hand an intake on.  Returns only after the commit that holds it is synced to disk: only then may the sender
be acknowledged.  Raises `edge_node.errors.BufferFull` where it cannot be stored."""

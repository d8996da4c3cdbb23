"""Which device speaks and for whom, pure: enrolment by MSH-3, person against the bed's occupant (decision 30)."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from edge_node.config import DeviceConfig
from edge_node.devices.hl7_monitor.frames import Message, Segment, component_of

_NOT_HEX = re.compile(r"[-:. ]")
_EUI64 = re.compile(r"[0-9A-F]{16}")
_SEX = {"M": "male", "F": "female", "O": "other"}


@dataclass(frozen=True, slots=True)
class Occupant:
    """Who lies in a bed, as far as a device may be compared with it."""

    identifiers: frozenset[str]
    """Every identifier value the person is known by; the authority is not compared."""
    family_name: str = ""
    birth_date: str = ""
    """ISO 8601, or empty where not known."""
    gender: str = ""
    """FHIR administrative gender, or empty."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Whom a message says it is about."""

    identifiers: tuple[str, ...] = ()
    family_name: str = ""
    birth_date: str = ""
    gender: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a message is about the person in the device's bed."""

    is_bed: bool
    reason: str = ""
    """"", "no-bed", "other-location", "person-unknown", "other-person", "details-differ"."""


def eui64_of(msh: Segment) -> str:
    """EUI-64 in MSH-3.2 as 16 upper-case hex digits, empty where there is none."""
    digits = _NOT_HEX.sub("", msh.component(3, 2)).upper()
    return digits if _EUI64.fullmatch(digits) else ""


def enrolled(msh: Segment, devices: Sequence[DeviceConfig]) -> DeviceConfig | None:
    """Device that sent the message: by EUI-64 where it names one, else by application (MSH-3.1)."""
    eui64 = eui64_of(msh)
    if eui64:
        return next((device for device in devices if device.eui64 == eui64), None)
    application = msh.component(3, 1)
    if not application:
        return None
    return next((device for device in devices if device.application == application), None)


def claim_of(message: Message) -> Claim:
    """PID-3, PID-5, PID-7 and PID-8 of a message."""
    pid = message.first("PID")
    if pid is None:
        return Claim()
    found = (component_of(part, 1, pid.separators) for part in pid.repetitions(3))
    family = pid.component(5, 1).split(pid.separators.subcomponent)[0]
    born = pid.component(7, 1)
    birth_date = f"{born[:4]}-{born[4:6]}-{born[6:8]}" if re.match(r"[0-9]{8}", born) else ""
    identifiers = tuple(identifier for identifier in found if identifier)
    return Claim(identifiers, family, birth_date, _SEX.get(pid.component(8, 1).upper(), ""))


def judge(claim: Claim, location: str, device: DeviceConfig, occupant: Occupant | None) -> Verdict:
    """Say whether the message is about the person in the device's bed; never matches by name."""
    if device.bed is None:
        return Verdict(False, "no-bed")
    if not is_same_location(location, device.locations):
        return Verdict(False, "other-location")
    if occupant is None:
        return Verdict(False, "person-unknown") if claim.identifiers else Verdict(True)
    if claim.identifiers and not occupant.identifiers.intersection(claim.identifiers):
        return Verdict(False, "other-person")
    if _differs(claim, occupant):
        return Verdict(False, "details-differ")
    return Verdict(True)


def is_same_location(location: str, allowed: Sequence[str]) -> bool:
    """True where PV1-3 is one of the bed's locations, or there is nothing to compare."""
    if not location.strip("^") or not allowed:
        return True
    return location.rstrip("^") in {place.rstrip("^") for place in allowed}


def _differs(claim: Claim, occupant: Occupant) -> bool:
    if claim.birth_date and occupant.birth_date and claim.birth_date != occupant.birth_date:
        return True
    known = {"male", "female"}
    if {claim.gender, occupant.gender} <= known and claim.gender != occupant.gender:
        return True
    return _is_other_name(claim.family_name, occupant.family_name)


def _is_other_name(one: str, other: str) -> bool:
    """True where two family names in the same script differ; across scripts nothing can be said."""
    if not one or not other or one.isascii() != other.isascii():
        return False
    return _folded(one) != _folded(other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()

"""Whether a message is one this node takes at all, pure: type, version, processing id, sender (clinical 3.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from telemed.errors import Code

from edge_node.config import DeviceConfig
from edge_node.devices.hl7_monitor.frames import Message
from edge_node.devices.hl7_monitor.identity import enrolled
from edge_node.devices.hl7_monitor.numerics import FieldError
from edge_node.samples.measurement import Origin

PROFILE_OID = "1.3.6.1.4.1.19376.1.6.1.1.1"
"""IHE PCD DEC; matched on the OID, its name differs by vendor, and it is informative only."""
_VERSION = re.compile(r"2\.[3-8](?:\.[0-9])?")
_ORIGINS = {"P": Origin.LIVE, "T": Origin.TEST, "D": Origin.TEST}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not taken."""

    error: FieldError
    reason: Code


@dataclass(frozen=True, slots=True)
class Admitted:
    """A message that is taken, its device and its origin."""

    device: DeviceConfig
    origin: Origin
    has_profile: bool
    """True where MSH-21 names the IHE PCD profile."""


def admit(message: Message, devices: Sequence[DeviceConfig]) -> Admitted | Refusal:
    """Return the device and origin of a message, or the first reason to refuse it."""
    msh = message.msh
    refusal = _kind_refused(message)
    if refusal is not None:
        return Refusal(refusal, Code.MESSAGE_REFUSED)
    device = enrolled(msh, devices)
    if device is None:
        error = FieldError("MSH", 1, 3, "204", "Device is not enrolled at this node")
        return Refusal(error, Code.DEVICE_UNKNOWN)
    return Admitted(device, _ORIGINS[msh.component(11).upper()], PROFILE_OID in msh.raw(21))


def _kind_refused(message: Message) -> FieldError | None:
    msh = message.msh
    if msh.component(9, 1) != "ORU":
        return FieldError("MSH", 1, 9, "200", "Only ORU^R01 is taken")
    if msh.component(9, 2) != "R01":
        return FieldError("MSH", 1, 9, "201", "Only ORU^R01 is taken")
    if not _VERSION.fullmatch(msh.component(12)):
        return FieldError("MSH", 1, 12, "203", "Versions 2.3 to 2.8 are taken")
    if msh.component(11).upper() not in _ORIGINS:
        return FieldError("MSH", 1, 11, "202", "MSH-11 must be P, T or D")
    if not msh.component(10):
        return FieldError("MSH", 1, 10, "101", "MSH-10 is missing")
    return None

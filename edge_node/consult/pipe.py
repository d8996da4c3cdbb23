"""What the node's process and the consult's child process say to each other: one JSON object a line, over pipes."""

from dataclasses import dataclass, field

from edge_node import child

LINE_LIMIT_BYTES = 512 * 1024
"""Longest line: a signal of 64 KiB, escaped, with room."""


@dataclass(frozen=True, slots=True)
class Configure:
    """First line to the child: what it may use."""

    cameras: dict[str, str]
    """Bed code -> source; the key "" is the camera for beds without their own."""
    microphone: str
    ice_servers: list[str] = field(default_factory=list)
    top_rung: str = "720p"


@dataclass(frozen=True, slots=True)
class Permit:
    """To the child: this consult was accepted, media may flow."""

    consult_id: str
    bed: str


@dataclass(frozen=True, slots=True)
class Forget:
    """To the child: this consult is over."""

    consult_id: str


@dataclass(frozen=True, slots=True)
class Step:
    """Either way: one step of signalling between the hub's browser and the camera."""

    consult_id: str
    kind: str
    body: str


@dataclass(frozen=True, slots=True)
class Vitals:
    """To the child: a `readings` or `wave` message of a bed, as JSON text."""

    bed: str
    message: str


@dataclass(frozen=True, slots=True)
class Pressed:
    """To the child: whether the measurements of this node find too little room on the link."""

    is_pressed: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """From the child: it is up."""

    pid: int


Line = Configure | Permit | Forget | Step | Vitals | Pressed | Ready
_KINDS = child.named(Configure, Permit, Forget, Step, Vitals, Pressed, Ready)


def pack(line: Line) -> bytes:
    """Return one line with its end."""
    return child.pack(line)


def unpack(raw: bytes) -> Line:
    """Return what one line says.

    Raises:
        ValueError: not a line of ours.
    """
    line: Line = child.unpack(raw, _KINDS)
    return line

"""Which answers a message gets and how they read, pure (clinical 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum

from edge_node.devices.hl7_monitor import timestamps
from edge_node.devices.hl7_monitor.frames import Message, Segment, Separators, component_of, escape
from edge_node.devices.hl7_monitor.numerics import FieldError

_TEXTS = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "207": "Application internal error",
}
_MOST_ERRORS = 20
APPLICATION, FACILITY = "EDGE-GW", "YUANZHEN"


class Outcome(StrEnum):
    """What became of a message."""

    STORED = "A"  # synced to disk
    FAULTY = "E"  # the sender must correct it; what could be read is stored
    REFUSED = "R"  # wrong kind, not enrolled, or nothing can be stored now: nothing was taken


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome with its reasons."""

    outcome: Outcome
    errors: tuple[FieldError, ...] = ()


def codes(msh: Segment | None, outcome: Outcome) -> list[str]:
    """Return the MSA-1 codes to send, in order: none, one or two.

    Both MSH-15 and MSH-16 empty is original mode: one answer.  Otherwise an empty one counts as NE.
    """
    accept, application = (msh.component(15).upper(), msh.component(16).upper()) if msh else ("", "")
    if not accept and not application:
        return [f"A{outcome}"]
    good = outcome is Outcome.STORED
    wants_accept, wants_application = _wanted(accept, good), _wanted(application, good)
    if wants_accept and wants_application and outcome is not Outcome.REFUSED:
        # The commit answer says that it is stored, the application answer what is wrong with it.
        return ["CA", f"A{outcome}"]
    if wants_accept:
        return [f"C{outcome}"]
    return [f"A{outcome}"] if wants_application else []


def is_silent(msh: Segment) -> bool:
    """True for NE/NE: the sender learns nothing, silent loss is possible."""
    conditions = (msh.component(15).upper(), msh.component(16).upper())
    return any(conditions) and all(condition in ("", "NE") for condition in conditions)


def _wanted(condition: str, good: bool) -> bool:
    return condition == "AL" or (condition == "ER" and not good) or (condition == "SU" and good)


@dataclass(frozen=True, slots=True)
class Reply:
    """What an answer is made of beside the message it answers."""

    code: str
    errors: Sequence[FieldError]
    control_id: str
    at_ns: int
    zone: tzinfo


def text_of(message: Message | None, reply: Reply) -> bytes:
    """Return the ACK message: sender and receiver swapped, MSA-2 the message's own control id.

    `message` is None where not even its MSH could be read.
    """
    separators = message.msh.separators if message else Separators()
    head = _head(message, reply, separators)
    control_id = escape(message.msh.component(10), separators) if message else ""
    lines = [separators.field.join(head), separators.field.join(("MSA", reply.code, control_id))]
    lines += [_err(error, separators) for error in reply.errors[:_MOST_ERRORS]]
    text = "\r".join(line.rstrip(separators.field) for line in lines) + "\r"
    return text.encode(message.codec if message else "ascii", errors="replace")


def _head(message: Message | None, reply: Reply, separators: Separators) -> list[str]:
    def of(number: int) -> str:
        if message is None:
            return ""
        first = message.msh.raw(number).split(separators.repetition, 1)[0]
        return escape(component_of(first, 1, separators), separators)

    return [
        "MSH",
        separators.encoding_characters,
        of(5) or APPLICATION,
        of(6) or FACILITY,
        of(3),
        of(4),
        timestamps.write(reply.at_ns, reply.zone),
        "",
        separators.component.join(("ACK", *_event(message), "ACK")),
        reply.control_id,
        of(11) or "P",
        of(12) or "2.6",
        *["", "", "", ""],
        of(17),
        of(18),
    ]


def _event(message: Message | None) -> list[str]:
    event = message.msh.component(9, 2) if message else ""
    # Only a plain event code is echoed: this is a field of ours.
    return [event] if event.isascii() and event.isalnum() and len(event) <= 3 else ["R01"]


def _err(error: FieldError, separators: Separators) -> str:
    joined = separators.component.join
    location = joined((error.segment, str(error.sequence), str(error.field)))
    code = joined((error.code, _TEXTS.get(error.code, error.text), "HL70357"))
    return separators.field.join(("ERR", "", location, code, "E", "", "", "", escape(error.text, separators)))

"""HL7 v2 text into segments, fields and components, and back; pure.

A splitter of our own, because one wave field has hundreds of components and is wanted as one text: see
DECISIONS.md.  Segments end with CR; LF and CRLF are taken too, as files and some gateways have them.
"""

import re
from dataclasses import dataclass

CHARSETS = {
    "": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "GB18030": "gb18030",
    "GB 18030-2000": "gb18030",
    "ASCII": "ascii",
}
"""MSH-18 to Python's codec; blank is read as UTF-8, which ASCII is part of."""

_SEGMENT_END = re.compile("\r\n|\r|\n")
_CONTROL = re.compile("\r\n|[\x00-\x1f\x7f]")
_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")


class Unreadable(ValueError):
    """The frame is no HL7 v2 message that can be read; the text says why, without its content."""


class CharsetRefused(ValueError):
    """The bytes are not what MSH-18 says, or MSH-18 names a character set that is not taken."""


@dataclass(frozen=True, slots=True)
class Separators:
    """The separators of one message, MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def encoding_characters(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.subcomponent


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; fields are numbered as in the standard, absent ones read as empty."""

    name: str
    fields: tuple[str, ...]
    """Raw text; index 0 is the segment's name, and for MSH index 1 is the field separator."""
    separators: Separators

    def raw(self, number: int) -> str:
        """Field as it stands, with its escapes."""
        return self.fields[number] if number < len(self.fields) else ""

    def repetitions(self, number: int) -> list[str]:
        """Repetitions of a field that are not empty, raw."""
        return [part for part in self.raw(number).split(self.separators.repetition) if part]

    def component(self, number: int, index: int = 1) -> str:
        """Component (from 1) of a field's first repetition, unescaped and stripped."""
        first = self.raw(number).split(self.separators.repetition, 1)[0]
        return component_of(first, index, self.separators)


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose MSH could be read."""

    segments: tuple[Segment, ...]
    body: bytes
    """Everything after the MSH segment, as it came: what the duplicate check hashes."""
    codec: str

    @property
    def msh(self) -> Segment:
        """The first segment."""
        return self.segments[0]

    def first(self, name: str) -> Segment | None:
        """First segment of that name, None where there is none."""
        return next((segment for segment in self.segments if segment.name == name), None)


def component_of(text: str, index: int, separators: Separators) -> str:
    """Component `index` (from 1) of raw `text`, unescaped and stripped; empty where absent."""
    parts = text.split(separators.component)
    return unescape(parts[index - 1], separators).strip() if index <= len(parts) else ""


def unescape(text: str, separators: Separators) -> str:
    r"""Resolve \F\ \S\ \T\ \R\ \E\ and \Xhh..\ ; formatting escapes are removed, a lone escape stays."""
    mark = separators.escape
    if mark not in text:
        return text
    simple = {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent,
        "R": separators.repetition,
        "E": mark,
    }

    def resolve(match: re.Match[str]) -> str:
        code = match.group(1)
        if code in simple:
            return simple[code]
        if re.fullmatch(r"X(?:[0-9A-Fa-f]{2})+", code):
            return bytes.fromhex(code[1:]).decode("latin-1")
        return ""

    quoted = re.escape(mark)
    return re.sub(f"{quoted}([^{quoted}]{{0,40}}){quoted}", resolve, text)


def escape(text: str, separators: Separators = Separators()) -> str:
    """Return `text` so that it can stand in a component."""
    codes = {
        separators.escape: "E",
        separators.field: "F",
        separators.component: "S",
        separators.subcomponent: "T",
        separators.repetition: "R",
    }
    mark = separators.escape
    # A segment end inside a field would begin a new segment, and the marks of the framing another frame.
    plain = _CONTROL.sub(" ", text)
    return "".join(f"{mark}{codes[sign]}{mark}" if sign in codes else sign for sign in plain)


def parse(payload: bytes) -> Message:
    """Read one message.

    Raises:
        Unreadable: no MSH, wrong encoding characters, or a segment that is none.
        CharsetRefused: see `decode`.
    """
    separators = separators_of(payload)
    text, codec = decode(payload, separators)
    lines = [line for line in _SEGMENT_END.split(text) if line.strip()]
    segments = tuple(_segment(line, separators) for line in lines)
    return Message(segments, _after_first_segment(payload), codec)


def header_of(payload: bytes) -> Message | None:
    """The MSH alone of a message that cannot be read as a whole, for the answer; None where it has none."""
    try:
        separators = separators_of(payload)
    except Unreadable:
        return None
    head = _SEGMENT_END.split(payload[:4096].decode("latin-1"), maxsplit=1)[0]
    return Message((_segment(head, separators),), b"", "latin-1")


def separators_of(payload: bytes) -> Separators:
    """Separators from MSH-1 and MSH-2.

    Raises:
        Unreadable: the frame does not begin with MSH, or the five signs are not distinct punctuation.
    """
    if payload[:3] != b"MSH":
        raise Unreadable("the message does not begin with MSH")
    field = payload[3:4].decode("latin-1")
    signs = payload[4:12].decode("latin-1").split(field, 1)[0] if field else ""
    # A fifth sign is the truncation character of HL7 2.7.
    if len(signs) not in (4, 5) or len({field, *signs}) != len(signs) + 1:
        raise Unreadable("MSH-1 and MSH-2 are not five distinct separators")
    if any(sign.isalnum() or not sign.isprintable() or sign == " " for sign in field + signs):
        raise Unreadable("MSH-1 and MSH-2 hold letters, digits or control signs")
    return Separators(field, signs[0], signs[1], signs[2], signs[3])


def decode(payload: bytes, separators: Separators) -> tuple[str, str]:
    """Return the text and its codec, strictly as MSH-18 says.

    GB18030 has `|` and `^` among its second bytes, so MSH-18 itself is looked for after decoding.

    Raises:
        CharsetRefused: undecodable, or a character set that is not taken.
    """
    for codec in ("utf-8", "gb18030"):
        try:
            text = payload.decode(codec)
        except UnicodeDecodeError:
            continue
        declared = _charset_name(text, separators)
        if CHARSETS.get(declared) == codec:
            return text, codec
        if payload.isascii() and b"\x1b" not in payload:
            return text, "ascii"
        if codec == "utf-8" and CHARSETS.get(declared) == "gb18030":
            continue
        raise CharsetRefused("the message is not in the character set that MSH-18 names, or that set is not taken")
    raise CharsetRefused("the message is neither UTF-8 nor GB18030")


def _charset_name(text: str, separators: Separators) -> str:
    head = _SEGMENT_END.split(text, maxsplit=1)[0].split(separators.field)
    return head[17].split(separators.repetition)[0].strip() if len(head) > 17 else ""


def _segment(line: str, separators: Separators) -> Segment:
    name = line[:3]
    if not _SEGMENT_NAME.fullmatch(name):
        raise Unreadable("a line does not begin with the name of a segment")
    fields = line.split(separators.field)
    if name == "MSH":
        fields.insert(1, separators.field)
    return Segment(name, tuple(fields), separators)


def _after_first_segment(payload: bytes) -> bytes:
    ends = [found for found in (payload.find(b"\r"), payload.find(b"\n")) if found >= 0]
    return payload[min(ends) + 1 :] if ends else b""

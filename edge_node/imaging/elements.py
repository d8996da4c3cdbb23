"""Walks through the elements of a data set within bounds, without copying values and without recursion.  Pure.

pydicom reads what is stored; what a stranger sends is walked here first: its depth, lengths and number of elements
are not believed, and no value is made that nobody asked for (reliability 4.2).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydicom._dicom_dict import DicomDictionary

from edge_node.imaging.syntax import Syntax

DEEPEST = 16
"""Sequences within sequences (reliability 4.2)."""
MOST_ELEMENTS = 1_000_000
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, double and integer pixel data, the last elements that are looked at."""
UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
"""Value representations whose length has four bytes, behind two that are reserved (PS3.5 7.1.2)."""
_SHORT = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"}
)  # fmt: skip
"""The others of today's; one that neither knows is read as a short one."""


class Malformed(ValueError):
    """The elements do not follow the standard; what came before stays as it was read."""


class TooDeep(Malformed):
    """Sequences within sequences beyond every use, or elements without end."""


class Element(NamedTuple):
    """Where a value of the outermost level lies."""

    tag: int
    representation: bytes
    """Two letters; empty in an implicit data set."""
    at: int
    size_bytes: int
    """UNDEFINED where its end is marked inside."""


@dataclass(slots=True)
class _Level:
    end: int
    """Of the data where it is not told."""
    is_open: bool
    is_item: bool
    is_implicit: bool
    is_fragments: bool = False


def walked(data: bytes, syntax: Syntax) -> Iterator[Element]:
    """Yield the elements of the outermost level, in their order, up to the pixels or the end.

    A value that reaches over the end of the data is yielded before it is found to be cut.

    Raises:
        TooDeep: beyond the bounds.
        Malformed: cut, or no data set.
    """
    return _Walk(data, syntax).run()


def fragments(data: bytes, at: int) -> int | None:
    """Return how many fragments pixels have that begin at `at`, the table of offsets left out; None where cut.

    More than are walked through are cut too.
    """
    count = -1
    while at + 8 <= len(data):
        group, number, size_bytes = struct.unpack_from("<HHL", data, at)
        tag, at = group << 16 | number, at + 8
        if tag == _SEQUENCE_END:
            return max(0, count)
        if tag != _ITEM or size_bytes > len(data) - at:
            return None
        count, at = count + 1, at + size_bytes
        if count > MOST_ELEMENTS:
            return None
    return None


class _Walk:
    """One walk; `at` is the place in the data."""

    def __init__(self, data: bytes, syntax: Syntax) -> None:
        self._data, self._syntax = data, syntax
        order = "<" if syntax.is_little else ">"
        self._tag, self._short, self._long = (struct.Struct(order + form) for form in ("HH", "H", "L"))
        self._levels: list[_Level] = []
        self._outermost = _Level(len(data), is_open=False, is_item=True, is_implicit=syntax.is_implicit)
        self._at = self._count = self._depth = 0

    def run(self) -> Iterator[Element]:
        data = self._data
        while True:
            self._close_full()
            if self._at == len(data) and not self._levels:
                return
            if len(data) - self._at < 8:
                raise Malformed("cut within an element")
            self._count += 1
            if self._count > MOST_ELEMENTS:
                raise TooDeep("more elements than are walked through")
            group, number = self._tag.unpack_from(data, self._at)
            if group == 0xFFFE:
                self._mark(group << 16 | number)
                continue
            if self._levels and not self._levels[-1].is_item:
                raise Malformed("an element where an item must stand")
            found = self._element(group << 16 | number)
            if not self._levels:
                yield found
                if found.tag in PIXELS:
                    return
            self._enter(found)

    def _close_full(self) -> None:
        """Leave the levels that are at their told end."""
        while self._levels and not self._levels[-1].is_open and self._at >= self._levels[-1].end:
            if self._at > self._levels[-1].end:
                raise Malformed("a value reaches over the end of its item")
            self._leave()

    def _leave(self) -> None:
        self._depth -= not self._levels.pop().is_item

    def _mark(self, tag: int) -> None:
        """Take an item or an end mark."""
        (size_bytes,) = self._long.unpack_from(self._data, self._at + 4)
        self._at += 8
        here = self._levels[-1] if self._levels else None
        if tag == _ITEM and here is not None and here.is_fragments:
            self._skip(size_bytes, here)
        elif tag == _ITEM and here is not None and not here.is_item:
            is_open = size_bytes == UNDEFINED
            end = here.end if is_open else self._at + size_bytes
            if end > here.end:
                raise Malformed("an item reaches over the end of its sequence")
            self._levels.append(_Level(end, is_open, is_item=True, is_implicit=here.is_implicit))
        elif (
            here is not None
            and here.is_open
            and tag in (_ITEM_END, _SEQUENCE_END)
            and here.is_item == (tag == _ITEM_END)
        ):
            self._leave()
        else:
            raise Malformed("an item or end mark out of place")

    def _element(self, tag: int) -> Element:
        """Read the head of an element; the place is its value's afterwards."""
        is_implicit = self._levels[-1].is_implicit if self._levels else self._syntax.is_implicit
        if is_implicit:
            (size_bytes,) = self._long.unpack_from(self._data, self._at + 4)
            self._at += 8
            return Element(tag, b"", self._at, size_bytes)
        representation = self._data[self._at + 4 : self._at + 6]
        if representation in _LONG:
            if len(self._data) - self._at < 12:
                raise Malformed("cut within an element")
            (size_bytes,) = self._long.unpack_from(self._data, self._at + 8)
            self._at += 12
        elif representation in _SHORT or (representation.isalpha() and representation.isupper()):
            (size_bytes,) = self._short.unpack_from(self._data, self._at + 6)
            self._at += 8
        else:
            raise Malformed("no value representation")
        return Element(tag, representation, self._at, size_bytes)

    def _enter(self, found: Element) -> None:
        """Go into a sequence, or past a value."""
        parent = self._levels[-1] if self._levels else self._outermost
        is_open = found.size_bytes == UNDEFINED
        is_fragments = is_open and found.representation in (b"OB", b"OW")
        if not (is_fragments or _is_sequence(found, parent.is_implicit)):
            self._skip(found.size_bytes, parent)
            return
        end = parent.end if is_open else self._at + found.size_bytes
        if end > parent.end:
            raise Malformed("a sequence reaches over the end of its item")
        self._depth += 1
        if self._depth > DEEPEST:
            raise TooDeep(f"sequences deeper than {DEEPEST}")
        # What is of unknown kind and has no told length is written implicitly (PS3.5 6.2.2).
        is_implicit = parent.is_implicit or found.representation == b"UN"
        self._levels.append(_Level(end, is_open, False, is_implicit, is_fragments))

    def _skip(self, size_bytes: int, within: _Level) -> None:
        if size_bytes > within.end - self._at:
            raise Malformed("a value reaches over the end")
        self._at += size_bytes


def _is_sequence(found: Element, is_implicit: bool) -> bool:
    if found.size_bytes == UNDEFINED:
        return True
    if not is_implicit:
        return found.representation == b"SQ"
    entry = DicomDictionary.get(found.tag)
    return entry is not None and entry[0] == "SQ"

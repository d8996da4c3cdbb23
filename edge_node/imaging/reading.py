"""Reads what is kept of an object out of its data set, within bounds; in receivers alone.  Pure.

Nothing of the pixels is decoded here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.charset import decode_bytes, python_encoding

from edge_node.imaging.content import (
    CUT,
    MALFORMED,
    NO_PIXELS,
    NOT_FITTING,
    TEXT_LIMIT_CHARS,
    Content,
    NotMatching,
    NotUnderstood,
    is_uid,
)
from edge_node.imaging.elements import UNDEFINED, Element, Malformed, TooDeep, fragments, walked
from edge_node.imaging.inflating import inflated
from edge_node.imaging.syntax import Syntax, syntax_of

_ESCAPE = re.compile(r"\x1b[ -/]*[0-~]")
"""Changes the character set (ISO 2022)."""
_VALUE_LIMIT_BYTES = 1024
_CHARACTER_SET, _PIXEL_DATA = 0x00080005, 0x7FE00010
_TEXTS = {
    0x00100020: "patient_id",
    0x00100021: "issuer",
    0x00100010: "patient_name",
    0x00100030: "birth_date",
    0x00100040: "sex",
    0x00080020: "study_date",
    0x00080060: "modality",
    0x00081030: "study_description",
    0x0008103E: "series_description",
    0x00200011: "series_number",
    0x00200013: "instance_number",
}
_UIDS = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x0020000D: "study_uid",
    0x0020000E: "series_uid",
}
_SHAPE = {
    0x00280002: "samples",
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280100: "bits",
}
_FRAMES, _PHOTOMETRIC = 0x00280008, 0x00280004
_WANTED = frozenset({*_TEXTS, *_UIDS, *_SHAPE, _CHARACTER_SET, _FRAMES, _PHOTOMETRIC})
_SIZES = {0x7FE00008: 32, 0x7FE00009: 64}
"""Bits of a pixel of float and double pixel data."""


def read(data: bytes, transfer_syntax: str, limit_bytes: int) -> Content:
    """Return what is kept of a data set.

    Args:
        data: the data set as it came, deflated where its syntax says so.
        transfer_syntax: UID of how it is written.
        limit_bytes: of what a deflated one may unpack to.

    Raises:
        NotMatching: a UID of it is none.
        NotUnderstood: a bomb, or nested beyond bounds.
    """
    syntax = syntax_of(transfer_syntax)
    if syntax.is_deflated:
        try:
            data = inflated(data, limit_bytes)
        except ValueError as error:
            raise NotUnderstood("deflated") from error
    found: dict[int, bytes] = {}
    pixels, fault = None, ""
    try:
        for element in walked(data, syntax):
            if element.tag in _WANTED and element.size_bytes <= len(data) - element.at:
                found[element.tag] = data[element.at : element.at + min(element.size_bytes, _VALUE_LIMIT_BYTES)]
            if element.tag >> 16 == _PIXEL_DATA >> 16:
                pixels = element
    except TooDeep as error:
        raise NotUnderstood("too-deep") from error
    except Malformed:
        fault = MALFORMED
    return _content(found, _Pixels(data, syntax, pixels), fault)


@dataclass(frozen=True, slots=True)
class _Pixels:
    data: bytes
    syntax: Syntax
    element: Element | None


def _content(found: dict[int, bytes], pixels: _Pixels, fault: str) -> Content:
    encodings = _encodings(found.get(_CHARACTER_SET, b""))
    values: dict[str, str | int] = {name: _text(found.get(tag, b""), encodings) for tag, name in _TEXTS.items()}
    uids = {name: found.get(tag, b"").rstrip(b"\0 ").decode("latin-1") for tag, name in _UIDS.items()}
    if not all(is_uid(uid) for uid in uids.values() if uid):
        raise NotMatching("no-uid")
    order = "little" if pixels.syntax.is_little else "big"
    shape = {name: int.from_bytes(found.get(tag, b"")[:2], order) for tag, name in _SHAPE.items()}  # type: ignore[arg-type]
    frames = _whole_number(found.get(_FRAMES, b"1"))
    is_half = found.get(_PHOTOMETRIC, b"").strip(b"\0 ") == b"YBR_FULL_422"
    values |= {"rows": shape["rows"], "columns": shape["columns"], "frames": frames if pixels.element else 0}
    return Content(**uids, **values, fault=fault or _fault(pixels, shape, frames, is_half))  # type: ignore[arg-type]


def _fault(pixels: _Pixels, shape: dict[str, int], frames: int, is_half: bool) -> str:
    """Say why no picture can be made of pixels, empty where one can be tried."""
    element = pixels.element
    if element is None:
        return NO_PIXELS
    if element.size_bytes == UNDEFINED:
        count = fragments(pixels.data, element.at)
        return CUT if count is None or count < max(1, frames) else ""
    if element.size_bytes > len(pixels.data) - element.at:
        return CUT
    if not pixels.syntax.is_native:
        return NOT_FITTING
    bits = _SIZES.get(element.tag, shape["bits"]) * shape["rows"] * shape["columns"] * max(1, shape["samples"]) * frames
    needed_bytes = -(-bits // 8)
    if is_half:
        needed_bytes = needed_bytes * 2 // 3
    # One more where the number is odd (PS3.5 8.1.1).
    return "" if needed_bytes and element.size_bytes - needed_bytes in (0, 1) else NOT_FITTING


def _whole_number(value: bytes) -> int:
    text = value.strip(b"\0 ")
    return int(text) if re.fullmatch(rb"[0-9]{1,9}", text) else 1


def _encodings(character_set: bytes) -> list[str]:
    names = [name.strip() for name in character_set.decode("latin-1").strip("\0 ").split("\\")]
    known = [python_encoding[name] for name in names if name in python_encoding]
    return known or ["utf-8"]


def _text(value: bytes, encodings: Sequence[str]) -> str:
    """Return a value as people read it; what cannot be read in its character set is marked, never refused."""
    value = value.strip(b"\0 ")
    if value.isascii() and b"\x1b" not in value:
        text = value.decode("ascii")
    elif b"\x1b" not in value:
        text = value.decode(encodings[0], errors="replace")
    else:
        text = _with_escapes(value, encodings)
    if not text.isprintable():
        text = "".join(each for each in text if each.isprintable())
    return text[:TEXT_LIMIT_CHARS].strip()


def _with_escapes(value: bytes, encodings: Sequence[str]) -> str:
    try:
        text = decode_bytes(value, encodings, {0x5C, 0x5E, 0x3D})
    except (UnicodeError, LookupError, Warning):
        text = value.decode("latin-1")
    # pydicom leaves some of them where they stand.
    return _ESCAPE.sub("", text)

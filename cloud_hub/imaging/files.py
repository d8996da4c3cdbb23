"""What a DICOM file says of itself, read within bounds; runs in a reader process alone (`cloud_hub.imaging.reader`).

Values are cut where they are longer than anybody looks for; pixels are not read.
"""

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.uid import UID

from cloud_hub.imaging.attributes import Level, of_level

LONGEST_VALUE_CHARS = 1024
BULK_BYTES = 1024
"""A value longer than this is told by its address in metadata."""
DEFER_BYTES = 64 * 1024
MOST_FRAMES = 1_000_000
MOST_BULK_BYTES = 64 * 1024 * 1024
PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
DEFLATED, EXPLICIT = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.1"
PIXELS_SHORT, PIXELS_ODD = "pixels-short", "pixels-odd"
_UID = re.compile(r"[0-9.]{1,64}")
_UIDS = ("0020000D", "0020000E", "00080018")
_PIXELS = (0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280100)


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a data set is written; one that is not known is taken as those of compressed pixels are."""

    uid: str
    is_implicit: bool = False
    is_little: bool = True
    is_encapsulated: bool = True

    @property
    def is_deflated(self) -> bool:
        """True where the whole data set is compressed."""
        return self.uid == DEFLATED


def syntax_of(found: Dataset) -> Syntax:
    """Return the transfer syntax that a file names."""
    uid = UID(found.file_meta.get("TransferSyntaxUID", ""))
    if uid.is_private or not uid.is_transfer_syntax:
        return Syntax(str(uid))
    return Syntax(str(uid), uid.is_implicit_VR, uid.is_little_endian, uid.is_encapsulated)


class Unreadable(ValueError):
    """A file of which nothing can be told; the code is one of the outcomes of the index."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Header:
    """What the index takes from a file."""

    levels: dict[str, dict[str, Any]]
    """DICOM JSON of each level."""
    transfer_syntax_uid: str
    frames: int
    """0 where there are no pixels."""
    flaw: str
    """Why its pixels cannot be shown, as far as their length tells."""


def header(path: Path) -> Header:
    """Return what a file says of itself.

    Raises:
        Unreadable: no DICOM file, or one without the three identifiers.
    """
    wanted = [int(one.tag, 16) for level in Level for one in of_level(level) if not one.is_counted]
    tags: list[Any] = [Tag(number) for number in (*wanted, *_PIXELS, 0x00080005)]
    with path.open("rb") as file:
        try:
            found = dcmread(file, stop_before_pixels=True, defer_size=DEFER_BYTES, specific_tags=tags)
        except InvalidDicomError as error:
            raise Unreadable("not-dicom") from error
        syntax = syntax_of(found)
        told = found.to_json_dict(bulk_data_threshold=1 << 40, suppress_invalid_tags=True)
        if not all(_UID.fullmatch(_first(told, tag)) for tag in _UIDS):
            raise Unreadable("bad-uid")
        frames, flaw = _pixels(found, file, path.stat().st_size, syntax)
    levels = {level.value: _of_level(told, level) for level in Level}
    return Header(levels, syntax.uid, frames, flaw)


def metadata(path: Path, address: str, query: str) -> dict[str, Any]:
    """Return a file's attributes as DICOM JSON (PS3.18 F.2); long values by their address below `address`.

    `query` stands behind each such address.
    """
    with path.open("rb") as file:
        found = dcmread(file, stop_before_pixels=True)
        syntax = syntax_of(found)
        has_pixels = bool(found.get("Rows")) and _stands_at_pixels(file, path.stat().st_size, syntax) is not False
    told = _told(found, f"{address}/bulkdata", query)
    told["00083002"] = {"vr": "UI", "Value": [syntax.uid]}
    if has_pixels:
        told["7FE00010"] = {"vr": "OW", "BulkDataURI": f"{address}/bulkdata/7FE00010{query}"}
    return dict(sorted(told.items()))


def bulk_value(path: Path, tags: list[str]) -> bytes:
    """Return a long value, by tags and numbers of items from the outside in (`00420011`, `00081140/2/...`).

    Raises:
        Unreadable: there is no such value, or it is no bytes.
    """
    found: Any = dcmread(path, stop_before_pixels=True)
    for name in tags:
        if isinstance(found, Dataset):
            element = found.get(Tag(int(name, 16)))
            found = None if element is None else element.value
        else:
            found = found[int(name) - 1] if 0 < int(name) <= len(found) else None
        if found is None:
            raise Unreadable("no-such-value")
    if isinstance(found, str):
        return found.encode()
    if not isinstance(found, bytes) or len(found) > MOST_BULK_BYTES:
        raise Unreadable("no-such-value")
    return found


def pixels_at(file: BinaryIO) -> tuple[Dataset, int]:
    """Return a file's attributes and where the value of its pixel data begins; the file then stands there.

    Raises:
        Unreadable: it has no pixels.
    """
    found = dcmread(file, stop_before_pixels=True)
    syntax, at = syntax_of(found), file.tell()
    if not _is_pixel_tag(file.read(4), is_little=syntax.is_little):
        raise Unreadable("no-pixels")
    at += 8 if syntax.is_implicit else 12
    file.seek(at)
    return found, at


def _pixels(found: Dataset, file: BinaryIO, size_bytes: int, syntax: Syntax) -> tuple[int, str]:
    rows, columns, bits = (_number(found, name) for name in ("Rows", "Columns", "BitsAllocated"))
    at = _stands_at_pixels(file, size_bytes, syntax)
    if at is False or not rows or not columns:
        return 0, ""
    frames = max(1, _number(found, "NumberOfFrames"))
    if frames > MOST_FRAMES:
        return 1, PIXELS_ODD
    if at is None or syntax.is_encapsulated:
        return frames, ""
    samples = max(1, _number(found, "SamplesPerPixel"))
    needed_bits = rows * columns * samples * bits * frames
    if found.get("PhotometricInterpretation") == "YBR_FULL_422":
        needed_bits = needed_bits * 2 // 3
    left_bytes = size_bytes - at - (8 if syntax.is_implicit else 12)
    return frames, "" if left_bytes >= (needed_bits + 7) // 8 else PIXELS_SHORT


def _stands_at_pixels(file: BinaryIO, size_bytes: int, syntax: Syntax) -> int | bool | None:
    """Return where the pixels' element begins, False where there is none, None where it is inside a deflated stream."""
    if syntax.is_deflated:
        return None
    at = file.tell()
    if at >= size_bytes:
        return False
    head = file.read(4)
    file.seek(at)
    return at if _is_pixel_tag(head, is_little=syntax.is_little) else False


def _is_pixel_tag(head: bytes, *, is_little: bool) -> bool:
    if len(head) < 4:
        return False
    order = "little" if is_little else "big"
    group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)  # type: ignore[arg-type]
    return (group << 16 | element) in PIXEL_TAGS


def _number(found: Dataset, name: str) -> int:
    try:
        return int(found.get(name) or 0)
    except (TypeError, ValueError):
        return 0


def _of_level(told: dict[str, Any], level: Level) -> dict[str, Any]:
    return {one.tag: _cut(told[one.tag]) for one in of_level(level) if one.tag in told}


def _cut(element: dict[str, Any]) -> dict[str, Any]:
    return {"vr": element["vr"], "Value": [_cut_value(one) for one in element.get("Value", [])[:64]]}


def _cut_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: str(part)[:LONGEST_VALUE_CHARS] for name, part in value.items()}
    return value[:LONGEST_VALUE_CHARS] if isinstance(value, str) else value


def _first(told: dict[str, Any], tag: str) -> str:
    values = told.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _told(found: Dataset, address: str, query: str) -> dict[str, Any]:
    """Return DICOM JSON in which each long value has an address made of tags and numbers of items."""
    made: dict[str, Any] = {}
    for element in found:
        name = f"{element.tag:08X}"
        if element.VR == "SQ":
            items = [_told(item, f"{address}/{name}/{number}", query) for number, item in enumerate(element.value, 1)]
            made[name] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        elif isinstance(element.value, bytes) and len(element.value) > BULK_BYTES:
            made[name] = {"vr": element.VR, "BulkDataURI": f"{address}/{name}{query}"}
        elif element.tag.group != 2:
            # What a value should be and is not is left out, as pydicom itself does when asked.
            with contextlib.suppress(TypeError, ValueError, OverflowError, AttributeError):
                made[name] = element.to_json_dict(None, 1 << 40)
    return made


def whole(path: Path) -> io.BytesIO:
    """Return a deflated file with its data set inflated, as an explicit little-endian file in memory."""
    found = dcmread(path)
    found.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    made = io.BytesIO()
    found.save_as(made, enforce_file_format=False)
    made.seek(0)
    return made

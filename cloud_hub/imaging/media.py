"""Which form of an answer is meant: media types of PS3.18 8.7 and the Accept header.  Pure."""

import re
from dataclasses import dataclass, field

from cloud_hub.errors import NotAcceptable

DICOM, DICOM_JSON, BYTES = "application/dicom", "application/dicom+json", "application/octet-stream"
MULTIPART = "multipart/related"
JPEG, PNG = "image/jpeg", "image/png"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
NATIVE = frozenset({"1.2.840.10008.1.2", EXPLICIT_LITTLE, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})
STORED = {
    "1.2.840.10008.1.2.4.50": JPEG,
    "1.2.840.10008.1.2.4.51": JPEG,
    "1.2.840.10008.1.2.4.57": JPEG,
    "1.2.840.10008.1.2.4.70": JPEG,
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""Media types of compressed frames by transfer syntax (PS3.18 table 8.7.3-5)."""
_RANGE = re.compile(r"[\w.+*-]{1,80}/[\w.+*-]{1,80}")


@dataclass(frozen=True, slots=True)
class Range:
    """One of the media ranges that somebody accepts."""

    type: str
    parameters: dict[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def inner(self) -> str:
        """Type of the parts of a multipart answer; empty where any will do."""
        found = self.parameters.get("type", "")
        return "" if found == "*/*" else found

    @property
    def syntax(self) -> str:
        """Transfer syntax that is asked for; empty where none is named."""
        return self.parameters.get("transfer-syntax", "")

    def takes(self, media_type: str) -> bool:
        """True where an answer that is not multipart may be of this type."""
        major = media_type.partition("/")[0]
        return self.type in (media_type, f"{major}/*", "*/*")

    def takes_parts(self) -> bool:
        """True where an answer may be multipart."""
        return self.type in (MULTIPART, "multipart/*", "*/*")


@dataclass(frozen=True, slots=True)
class FrameForm:
    """How frames are given."""

    media_type: str
    syntax: str
    is_decoded: bool
    is_single: bool
    """Not multipart; for one frame."""


def ranges(accept: str) -> list[Range]:
    """Return what an Accept header names, the best first; everything where it names nothing."""
    found = []
    for text in _split(accept, ","):
        kind, written = parsed(text)
        parameters = {name: value.lower() for name, value in written.items()}
        quality = _quality(parameters.pop("q", "1"))
        if _RANGE.fullmatch(kind) and quality > 0:
            found.append(Range(kind, parameters, quality))
    if not found and not accept.strip():
        return [Range("*/*")]
    return sorted(found, key=lambda one: -one.quality)


def parsed(text: str) -> tuple[str, dict[str, str]]:
    """Return a media type in lower case and its parameters, whose values keep their case."""
    first, *rest = _split(text, ";")
    return first.lower(), dict(_parameter(part) for part in rest)


def is_multipart(accepted: list[Range], syntaxes: set[str], count: int) -> bool:
    """Return whether DICOM files are given multipart; False: the one file by itself.

    Raises:
        NotAcceptable: neither fits what is accepted.
    """
    for one in accepted:
        if one.syntax not in ("", "*") and syntaxes != {one.syntax}:
            continue
        if one.takes_parts() and one.inner in ("", DICOM):
            return True
        if one.takes(DICOM) and count == 1:
            return False
    raise NotAcceptable(
        f'files are given as they are stored: {MULTIPART}; type="{DICOM}" (or {DICOM} for one instance), '
        f"transfer-syntax * or {', '.join(sorted(syntaxes))}"
    )


def frame_form(accepted: list[Range], stored_syntax: str, count: int) -> FrameForm:
    """Return how frames are given.

    Raises:
        NotAcceptable: neither as stored nor uncompressed is accepted.
    """
    stored_type = BYTES if stored_syntax in NATIVE else STORED.get(stored_syntax, BYTES)
    is_native = stored_syntax in NATIVE
    written = EXPLICIT_LITTLE if is_native else stored_syntax
    stored = FrameForm(stored_type, written, is_decoded=False, is_single=False)
    decoded = FrameForm(BYTES, EXPLICIT_LITTLE, is_decoded=not is_native, is_single=False)
    for one in accepted:
        is_single = not one.takes_parts()
        if is_single and count != 1:
            continue
        wanted = one.type if is_single else one.inner
        form = _frame_form(wanted, one.syntax, stored, decoded)
        if form is not None:
            return FrameForm(form.media_type, form.syntax, form.is_decoded, is_single)
    raise NotAcceptable(f'frames are given as {MULTIPART}; type="{BYTES}", or "{stored_type}" as they are stored')


def _frame_form(wanted: str, syntax: str, stored: FrameForm, decoded: FrameForm) -> FrameForm | None:
    takes_stored = syntax in ("", "*", stored.syntax)
    if wanted in ("", "*/*", stored.media_type) and takes_stored:
        return stored
    # `application/octet-stream; transfer-syntax=*` is how viewers ask for whatever there is.
    if wanted == BYTES and syntax in ("*", stored.syntax):
        return stored
    return decoded if wanted in ("", BYTES) and syntax in ("", EXPLICIT_LITTLE) else None


def picture_of(accepted: list[Range]) -> str:
    """Return jpeg or png.

    Raises:
        NotAcceptable: another form is asked for.
    """
    for one in accepted:
        for media_type, name in ((JPEG, "jpeg"), (PNG, "png")):
            if one.takes(media_type):
                return name
    raise NotAcceptable(f"pictures are given as {JPEG} or {PNG}")


def demand_json(accepted: list[Range]) -> None:
    """Pass where JSON will do.

    Raises:
        NotAcceptable: it will not.
    """
    if not any(one.takes(DICOM_JSON) or one.takes("application/json") for one in accepted):
        raise NotAcceptable(f"only {DICOM_JSON} is given here")


def _split(text: str, mark: str) -> list[str]:
    """Split at commas or semicolons outside of quotes."""
    found, begin, is_quoted = [], 0, False
    for at, character in enumerate(text):
        is_quoted ^= character == '"'
        if character == mark and not is_quoted:
            found.append(text[begin:at].strip())
            begin = at + 1
    return [*found, text[begin:].strip()]


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _quality(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](\.\d{0,3})?", text) else 0.0

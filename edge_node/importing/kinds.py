"""What kind of file it is by its name and first bytes, and which other file it names.  Pure."""

import re
from collections.abc import Sequence
from enum import StrEnum

from edge_node.importing.reasons import NotImported, Reason

HEAD_BYTES = 64 * 1024
"""So much of a file is looked at: no header of these kinds is longer."""
_HEIC = re.compile(rb"....ftyp(heic|heix|hevc|mif1|msf1|heim|heis)", re.DOTALL)
_UP_TO_DATA = re.compile(rb"\A.*?(?:\r?\n\r?\n|\Z)", re.DOTALL)


class Kind(StrEnum):
    """Kinds of files."""

    META = "MetaImage"
    NRRD = "NRRD"
    NIFTI = "NIfTI"
    GIPL = "GIPL"
    VTI = "VTK ImageData"
    JPEG = "JPEG"
    PNG = "PNG"
    PDF = "PDF"


VOLUMES = frozenset({Kind.META, Kind.NRRD, Kind.NIFTI, Kind.GIPL, Kind.VTI})
_ENDINGS = {
    ".mhd": Kind.META, ".mha": Kind.META, ".nrrd": Kind.NRRD, ".nhdr": Kind.NRRD, ".nii": Kind.NIFTI,
    ".nii.gz": Kind.NIFTI, ".gipl": Kind.GIPL, ".vti": Kind.VTI, ".jpg": Kind.JPEG, ".jpeg": Kind.JPEG,
    ".png": Kind.PNG, ".pdf": Kind.PDF,
}  # fmt: skip
_MAGIC = {
    Kind.META: re.compile(rb"(?=.*ElementDataFile\s*=)", re.DOTALL),
    Kind.NRRD: re.compile(rb"NRRD000[1-5]"),
    Kind.NIFTI: re.compile(rb"\x1f\x8b|.{344}n[+]1\0", re.DOTALL),
    Kind.GIPL: re.compile(rb".{252}(\xef\xff\xe9\xb0|\x2a\xe3\x89\xb8)", re.DOTALL),
    Kind.VTI: re.compile(rb"\s*(<\?xml|<VTKFile)"),
    Kind.JPEG: re.compile(rb"\xff\xd8\xff"),
    Kind.PNG: re.compile(rb"\x89PNG\r\n\x1a\n"),
    Kind.PDF: re.compile(rb".{0,1020}?%PDF-", re.DOTALL),
}


def ending(name: str) -> str:
    """Return by what a file's name ends, in lower case; empty where it is no known one."""
    lower = name.lower()
    return max((each for each in _ENDINGS if lower.endswith(each)), key=len, default="")


def kind_of(name: str, head: bytes) -> Kind:
    """Return what a file is.

    Args:
        name: its name.
        head: its first bytes, HEAD_BYTES where it has as many.

    Raises:
        NotImported: it is of no kind that is known, or not what its name says.
    """
    if _HEIC.match(head) or name.lower().endswith((".heic", ".heif")):
        raise NotImported(Reason.NO_HEIC)
    found = _ENDINGS.get(ending(name))
    if found is None:
        raise NotImported(Reason.KIND_UNKNOWN)
    if not _MAGIC[found].match(head):
        raise NotImported(Reason.KIND_DIFFERS, str(found))
    return found


def data_file(kind: Kind, head: bytes) -> str:
    """Return the name of the file that holds a file's data; empty where it holds them itself.

    Raises:
        NotImported: what it names may lie in another folder, or is not one file.
    """
    if kind is Kind.META:
        named = entries(kind, head).get("elementdatafile", "")
        named = "" if named.upper() == "LOCAL" else named
    elif kind is Kind.NRRD:
        told = entries(kind, head)
        named = told.get("data file", told.get("datafile", ""))
    else:
        named = ""
    # Lists and patterns of files begin with LIST, or have a % in them.
    if re.search(r"[/\\\0%]|^LIST\b", named) or named.startswith("."):
        raise NotImported(Reason.PATH_OUTSIDE)
    return named


def entries(kind: Kind, head: bytes) -> dict[str, str]:
    """Return what the header of a MetaImage or NRRD says, by names in lower case."""
    mark = "=" if kind is Kind.META else ":"
    lines: Sequence[bytes] = head.splitlines()
    if kind is Kind.NRRD:
        told = _UP_TO_DATA.match(head)
        lines = (told[0] if told else head).splitlines()
    found: dict[str, str] = {}
    for line in lines:
        name, is_there, value = line.decode("latin-1").partition(mark)
        key = name.strip().lower()
        if is_there and not key.startswith("#"):
            found.setdefault(key, value.lstrip("=").strip())
        if key == "elementdatafile":
            break
    return found

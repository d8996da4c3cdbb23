"""The one file in which a bundle travels: a zip without compression, with its signatures beside it.

    manifest.json                                                what the signatures are about
    <files of the manifest>
    metadata/<version>.root.json, metadata/timestamp.json, ...   what is signed (TUF), in the names that TUF gives it

Everything here blocks.  Nothing is believed: names, sizes and hashes are those of the manifest or the file is refused.
"""

import errno
import hashlib
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from telemed.bundle import FILES_LIMIT, MANIFEST, MANIFEST_LIMIT_BYTES, Bundle, BundleRefused, FileFact, Refusal
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, sync_folder

METADATA = "metadata"
METADATA_LIMIT_BYTES = 1024 * 1024
ENTRIES_LIMIT = FILES_LIMIT + 256
"""Files and metadata; a root that was changed often has many versions."""
DIRECTORY_LIMIT_BYTES = ENTRIES_LIMIT * 512
"""Of the list at the end of the file: the library that reads it makes an object of each of its entries at once."""
_END, _END_64, _LOCATOR_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
"""The records that stand last in a zip: that of small ones, and two of large ones in front of it."""
_METADATA_NAME = re.compile(r"^([0-9]{1,9}\.)?[a-z0-9][a-z0-9-]{0,39}\.json$")
_BROKEN = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, ValueError)
"""What reading a damaged or hostile zip raises, beside that a place is asked for which no file has."""
_ENCRYPTED_OR_PATCHED = 0x61
"""Flags of an entry that a plain reader cannot give out."""
_COPY_BYTES = 1024 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every entry, so that the same bundle is the same file."""


class Archive:
    """A bundle's file, opened for reading."""

    def __init__(self, path: Path) -> None:
        """Open it and look at its list.

        Raises:
            BundleRefused: it is no such archive, or not there.
            OSError: it cannot be read now, which says nothing of what is in it.
        """
        self._file = opened(path)
        try:
            with _readable("the list"):
                _check_directory(self._file)
                self._zip = zipfile.ZipFile(self._file)
            self._entries = _judged(self._zip.infolist())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()
        self._file.close()

    def metadata(self, name: str) -> bytes | None:
        """Return a file of the signatures by the name that TUF asks for; None where there is none.

        Raises:
            BundleRefused: it is broken, or far too large.
            OSError: it cannot be read now.
        """
        entry = f"{METADATA}/{name}"
        if not _METADATA_NAME.match(name) or entry not in self._entries:
            return None
        return self._read(entry, METADATA_LIMIT_BYTES)

    def manifest(self) -> bytes:
        """Return the bytes of the manifest.

        Raises:
            BundleRefused: there is none, it is broken, or far too large.
            OSError: it cannot be read now.
        """
        if MANIFEST not in self._entries:
            raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, f"{MANIFEST} is not there")
        return self._read(MANIFEST, MANIFEST_LIMIT_BYTES)

    def unpack(self, bundle: Bundle, folder: Path) -> None:
        """Write manifest and files into a new folder; all on disk when this returns.

        Raises:
            BundleRefused: a file is missing, or is not what the manifest says.
            OSError: the folder is there, or the disk would not take it.
        """
        folder.mkdir(mode=FOLDER_MODE)
        for name, fact in bundle.manifest.files.items():
            self._unpack_one(name, fact, folder / name)
        with _created(folder / MANIFEST) as file:
            file.write(bundle.raw)
            file.flush()
            os.fsync(file.fileno())
        for each in {folder, *((folder / name).parent for name in bundle.manifest.files)}:
            sync_folder(each)

    def _read(self, entry: str, limit_bytes: int) -> bytes:
        if self._entries[entry].file_size > limit_bytes:
            raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, f"{entry}: over {limit_bytes} bytes")
        with _readable(entry):
            return self._zip.read(entry)

    def _unpack_one(self, name: str, fact: FileFact, path: Path) -> None:
        entry = self._entries.get(name)
        if entry is None or entry.file_size != fact.size_bytes:
            raise BundleRefused(Refusal.HASH_WRONG, f"{name}: is not there, or has another size")
        path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        digest, left_bytes = hashlib.sha256(), fact.size_bytes
        with _created(path) as file:
            with _readable(name, Refusal.HASH_WRONG), self._zip.open(entry) as source:
                while left_bytes > 0 and (piece := source.read(min(_COPY_BYTES, left_bytes))):
                    digest.update(piece)
                    file.write(piece)
                    left_bytes -= len(piece)
            file.flush()
            os.fsync(file.fileno())
        if left_bytes or digest.hexdigest() != fact.sha256:
            raise BundleRefused(Refusal.HASH_WRONG, name)


def write(path: Path, bundle: Bundle, folder: Path, metadata: Mapping[str, bytes]) -> None:
    """Write a bundle's file from a folder with its content; the same content gives the same bytes.

    Raises:
        OSError: a file cannot be read or written.
    """
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as out:
        out.writestr(_entry(MANIFEST), bundle.raw)
        for name in sorted(bundle.manifest.files):
            out.writestr(_entry(name), (folder / name).read_bytes())
    add_metadata(path, metadata)


def add_metadata(path: Path, metadata: Mapping[str, bytes]) -> None:
    """Add signatures to a bundle's file.

    Raises:
        OSError: it cannot be written.
    """
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as out:
        for name in sorted(metadata):
            out.writestr(_entry(f"{METADATA}/{name}"), metadata[name])


def opened(path: Path) -> BinaryIO:
    """Return a bundle's file, opened for reading.

    Raises:
        BundleRefused: there is none.
        OSError: it cannot be opened now.
    """
    try:
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, type(error).__name__) from error


@contextmanager
def _readable(place: str, reason: Refusal = Refusal.ARCHIVE_UNREADABLE) -> Iterator[None]:
    """Refuse what the file is to blame for; let pass what the disk or this process is."""
    try:
        yield
    except _BROKEN as error:
        raise BundleRefused(reason, f"{place}: {type(error).__name__}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise BundleRefused(reason, f"{place}: a place outside of the file") from error


def _check_directory(file: BinaryIO) -> None:
    """Look at how long the list says it is before anybody reads it.

    Raises:
        BundleRefused: the file does not end as a zip does, or its list is too long.
    """
    all_bytes = _END_64.size + _LOCATOR_64.size + _END.size
    file.seek(max(0, file.seek(0, os.SEEK_END) - all_bytes))
    last = file.read(all_bytes).rjust(all_bytes, b"\0")
    signature, _, _, _, entries, size_bytes, _, comment_bytes = _END.unpack(last[-_END.size :])
    if signature != b"PK\5\6" or comment_bytes:
        raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, "it does not end as a zip without a comment does")
    if last[_END_64.size :].startswith(b"PK\6\7") and last.startswith(b"PK\6\6"):
        *_, entries, size_bytes, _ = _END_64.unpack(last[: _END_64.size])
    if entries > ENTRIES_LIMIT or size_bytes > DIRECTORY_LIMIT_BYTES:
        raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, f"{entries} entries in a list of {size_bytes} bytes")


def _judged(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    if len(entries) > ENTRIES_LIMIT:
        raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, f"{len(entries)} entries")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        # Kinds of file other than a plain one stand in the upper half of the attributes.
        kind = stat.S_IFMT(entry.external_attr >> 16)
        is_plain = kind in (0, stat.S_IFREG) and not entry.flag_bits & _ENCRYPTED_OR_PATCHED
        is_plain = is_plain and entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
        # The name as it stands in the archive: the library mends some before it gives them out.
        is_inside = not {"", ".."}.intersection(re.split(r"[/\\]", entry.orig_filename))
        if entry.filename in found or not is_plain or not is_inside:
            raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, f"entry {entry.filename!r:.100}")
        found[entry.filename] = entry
    return found


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = (stat.S_IFREG | OWNER_ONLY) << 16
    return entry


def _created(path: Path) -> BinaryIO:
    """Return a new file, never one that was there or that a link points to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, OWNER_ONLY), "wb")

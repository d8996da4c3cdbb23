"""The one file in which a bundle travels: a zip without compression, with its signatures beside it.

    metadata/<version>.root.json, metadata/timestamp.json, ...   what is signed (TUF), in the names that TUF gives it
    manifest.json                                                what the signatures are about
    <files of the manifest>

Everything here blocks.  Nothing is believed: names, sizes and hashes are those of the manifest or the file is refused.
"""

import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from telemed.bundle import FILES_LIMIT, MANIFEST, MANIFEST_LIMIT_BYTES, Bundle, BundleRefused, FileFact, Refusal
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, sync_folder

METADATA = "metadata"
METADATA_LIMIT_BYTES = 1024 * 1024
ENTRIES_LIMIT = FILES_LIMIT + 256
"""Files and metadata; a root that was changed often has many versions."""
_METADATA_NAME = re.compile(r"^([0-9]{1,9}\.)?[a-z0-9][a-z0-9-]{0,39}\.json$")
_BROKEN = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, ValueError, OSError)
"""What reading a damaged or hostile zip raises."""
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
            BundleRefused: it is no such archive.
        """
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, type(error).__name__) from error
        try:
            self._entries = _judged(self._zip.infolist())
        except BundleRefused:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()

    def metadata(self, name: str) -> bytes | None:
        """Return a file of the signatures by the name that TUF asks for; None where there is none.

        Raises:
            BundleRefused: it cannot be read, or is far too large.
        """
        entry = f"{METADATA}/{name}"
        if not _METADATA_NAME.match(name) or entry not in self._entries:
            return None
        return self._read(entry, METADATA_LIMIT_BYTES)

    def manifest(self) -> bytes:
        """Return the bytes of the manifest.

        Raises:
            BundleRefused: there is none, or it is far too large.
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
        try:
            return self._zip.read(entry)
        except _BROKEN as error:
            raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, entry) from error

    def _unpack_one(self, name: str, fact: FileFact, path: Path) -> None:
        entry = self._entries.get(name)
        if entry is None or entry.file_size != fact.size_bytes:
            raise BundleRefused(Refusal.HASH_WRONG, f"{name}: is not there, or has another size")
        path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        digest, left_bytes = hashlib.sha256(), fact.size_bytes
        with _created(path) as file:
            try:
                with self._zip.open(entry) as source:
                    while left_bytes > 0 and (piece := source.read(min(_COPY_BYTES, left_bytes))):
                        digest.update(piece)
                        file.write(piece)
                        left_bytes -= len(piece)
            except (zipfile.BadZipFile, EOFError) as error:
                raise BundleRefused(Refusal.HASH_WRONG, name) from error
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
        for name in sorted(metadata):
            out.writestr(_entry(f"{METADATA}/{name}"), metadata[name])
        out.writestr(_entry(MANIFEST), bundle.raw)
        for name in sorted(bundle.manifest.files):
            out.writestr(_entry(name), (folder / name).read_bytes())


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

"""Whose bundles this node takes: python-tuf's client over the signatures that travel inside a bundle.  Blocks.

The root was pinned when the node was set up.  What was once seen stays on disk, so that neither an older bundle nor
older signatures are taken later; where a bundle's signatures are older than those known, the known ones judge it.
"""

from collections.abc import Iterator
from pathlib import Path

from telemed.bundle import Bundle, BundleRefused, Refusal
from telemed.bundle_archive import METADATA_LIMIT_BYTES, Archive
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, sync_folder, write_whole
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

PLACE = "bundle:///"
"""TUF's client wants addresses; nothing is ever asked from a network."""
_LIMITS = UpdaterConfig(
    root_max_length=METADATA_LIMIT_BYTES,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=METADATA_LIMIT_BYTES,
    targets_max_length=METADATA_LIMIT_BYTES,
)
_NOT_THERE = 404
TIMESTAMP, ROOT = "timestamp.json", "root.json"


def check_root(root: bytes) -> None:
    """Look whether a root can be pinned.

    Raises:
        ValueError: it is no root of trust, or not signed by its own keys.
    """
    try:
        found = Metadata[Root].from_bytes(root)
        found.signed.verify_delegate("root", found.signed_bytes, found.signatures)
    except (RepositoryError, ValueError, AttributeError) as error:
        raise ValueError(f"is no root of trust of model bundles: {error}") from error


class Trust:
    """What this node believes of signatures; one user at a time."""

    def __init__(self, folder: Path, root: bytes) -> None:
        """Name the folder of what was seen, made when it is needed, and the root that was pinned."""
        self._folder = folder
        self._root = root

    def check(self, archive: Archive, bundle: Bundle) -> None:
        """Look whether a bundle's manifest is the current one of its task, and remember the signatures that say so.

        Raises:
            BundleRefused: it is not, or nobody whom this node trusts says so.
            OSError: what was seen cannot be kept.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        try:
            self._judge(_InArchive(archive), bundle)
        except BadVersionNumberError:
            # Older than what another bundle brought: that is no fault of this bundle's, if it is current all the same.
            self._judge_again(archive, bundle)
        except DownloadError as error:
            raise BundleRefused(Refusal.ARCHIVE_UNREADABLE, f"signatures: {error}") from error
        except (UnsignedMetadataError, ExpiredMetadataError, LengthOrHashMismatchError, RepositoryError) as error:
            raise _refused(error) from error
        finally:
            sync_folder(self._folder)

    def _judge_again(self, archive: Archive, bundle: Bundle) -> None:
        try:
            self._judge(_KnownFirst(self._folder, archive), bundle)
        except DownloadError as error:
            raise BundleRefused(Refusal.NOT_CURRENT, "its signatures are older than those seen before") from error
        except RepositoryError as error:
            raise _refused(error) from error

    def _judge(self, source: FetcherInterface, bundle: Bundle) -> None:
        client = _Client(str(self._folder), PLACE, fetcher=source, config=_LIMITS, bootstrap=self._root)
        client.refresh()
        current = client.get_targetinfo(bundle.manifest.target)
        if current is None:
            raise BundleRefused(Refusal.NOT_CURRENT, f"{bundle.manifest.task} {bundle.manifest.version}")
        current.verify_length_and_hashes(bundle.raw)


class _Client(Updater):
    """TUF's client, whose files outlive a power cut: an empty one would let older signatures in again."""

    def _persist_file(self, filename: str, data: bytes) -> None:
        write_whole(Path(filename), data, OWNER_ONLY)


class _InArchive(FetcherInterface):
    """Gives TUF's client the signatures of a bundle."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def _fetch(self, url: str) -> Iterator[bytes]:
        found = self._archive.metadata(url.removeprefix(PLACE))
        if found is None:
            raise DownloadHTTPError(f"{url.removeprefix(PLACE)} is not in the bundle", _NOT_THERE)
        yield found


class _KnownFirst(FetcherInterface):
    """Gives TUF's client the newest that was seen, and from the bundle what fits it and was not seen yet."""

    def __init__(self, folder: Path, archive: Archive) -> None:
        self._folder = folder
        self._archive = archive

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(PLACE)
        found = self._archive.metadata(name) if name != TIMESTAMP else None
        # On disk TUF's client keeps one file for each role, without the version in its name.
        version, _, role_file = name.partition(".")
        seen = self._folder / (role_file if version.isdigit() else name)
        if found is None and seen.name != ROOT and seen.is_file():
            found = seen.read_bytes()
        if found is None:
            raise DownloadHTTPError(f"{name} is not in the bundle and was never seen", _NOT_THERE)
        yield found


def _refused(error: RepositoryError) -> BundleRefused:
    if isinstance(error, ExpiredMetadataError):
        return BundleRefused(Refusal.METADATA_EXPIRED, str(error))
    if isinstance(error, LengthOrHashMismatchError):
        return BundleRefused(Refusal.HASH_WRONG, str(error))
    return BundleRefused(Refusal.SIGNATURE_WRONG, str(error))

"""Where bundles lie at this node, and what is known of each: a folder a bundle, one small file over all.  Blocks."""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from telemed.bundle import MANIFEST, Bundle, BundleRefused, Refusal, parse
from telemed.bundle_archive import Archive
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, sync_folder, write_whole

from edge_node.inference.engine import Choice, Library
from edge_node.inference.rollout import KEPT, Row, Rows, Stage

STATE, TRUST, ENGINES = "state.json", "trust", "engines"
_BUNDLES, _UNPACKING = "bundles", ".unpacking"

log = structlog.get_logger(__name__)


class Shelf:
    """The folder of one node's bundles; one user at a time."""

    def __init__(self, folder: Path) -> None:
        """Make the folders that are not there.

        Raises:
            OSError: they cannot be made.
        """
        self.folder = folder
        self._bundles = folder / _BUNDLES
        self._bundles.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)

    def place(self, bundle_id: str) -> Path:
        """Return where a bundle's files lie."""
        return self._bundles / bundle_id

    def put(self, archive: Archive, bundle: Bundle) -> None:
        """Unpack a bundle into its place; whole and on disk when this returns, harmless when it is there.

        What the disk has damaged is replaced.

        Raises:
            BundleRefused: a file is not what the manifest says.
            OSError: the disk would not take it.
        """
        place, fresh = self.place(bundle.bundle_id), self._bundles / _UNPACKING
        if self.is_whole(bundle):
            return
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            archive.unpack(bundle, fresh)
            shutil.rmtree(place, ignore_errors=True)
            fresh.rename(place)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        sync_folder(self._bundles)

    def bundle(self, bundle_id: str) -> Bundle:
        """Return a bundle that lies here.

        Raises:
            BundleRefused: it does not, or the disk damaged it.
        """
        try:
            bundle = parse((self.place(bundle_id) / MANIFEST).read_bytes())
        except OSError as error:
            raise BundleRefused(Refusal.HASH_WRONG, f"{MANIFEST}: {error.strerror}") from error
        if bundle.bundle_id != bundle_id:
            raise BundleRefused(Refusal.HASH_WRONG, MANIFEST)
        return bundle

    def is_whole(self, bundle: Bundle) -> bool:
        """Return whether a bundle lies here with every byte that its manifest says."""
        place, facts = self.place(bundle.bundle_id), bundle.manifest.files
        try:
            is_same = (place / MANIFEST).read_bytes() == bundle.raw
            return is_same and all(_sha256(place / name) == fact.sha256 for name, fact in facts.items())
        except OSError:
            return False

    def rows(self) -> Rows:
        """Return what is known of each bundle; nothing where that cannot be read."""
        return rows_in(self.folder)

    def save(self, rows: Rows) -> None:
        """Keep what is known, and delete the files of bundles that are gone.

        Raises:
            OSError: it cannot be kept; what was known before still is.
        """
        content = json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=1)
        write_whole(self.folder / STATE, content.encode(), OWNER_ONLY)
        kept = {row.bundle_id for row in rows if row.stage in KEPT or row.stage is Stage.TRIAL}
        for path in (*self._bundles.iterdir(), *(self.folder / ENGINES).glob("*/")):
            # What is being unpacked has no row yet.
            if path.name not in {*kept, _UNPACKING}:
                shutil.rmtree(path, ignore_errors=True)


def rows_in(folder: Path) -> Rows:
    """Return what is known of each bundle of a folder, also beside whoever uses it; nothing where it cannot be read."""
    try:
        return tuple(_row(each) for each in json.loads((folder / STATE).read_bytes()))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("bundles-unreadable", reason=type(error).__name__)
        return ()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row(raw: dict[str, Any]) -> Row:
    choice = raw.pop("choice")
    return Row(**raw | {"stage": Stage(raw["stage"])}, choice=Choice(Library(choice["library"]), choice["precision"]))

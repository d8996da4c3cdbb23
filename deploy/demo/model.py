"""The demo's model: the released microbleed detector as a bundle, signed by keys of the demo's own.

`python -m deploy.demo.model FOLDER` makes `root.json` there, which nodes trust, and `cmb.bundle`.
"""

import argparse
import shutil
from pathlib import Path

from telemed.bundle import Bundle

from deploy.bundles import packing
from deploy.bundles.keys import KeyFolder
from deploy.bundles.repository import Repository
from models.tasks.cmb import bundling

MODEL_FOLDER = "models"
"""In the demo's folder."""
ROOT_FILE = "root.json"
BUNDLE_FILE = "cmb.bundle"
TASK = "cmb"


def make(folder: Path) -> Bundle:
    """Make a root of trust and the bundle in a folder, anew where an earlier attempt was cut short; return the bundle.

    Raises:
        OSError: it cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    repository = Repository(folder / "repository", KeyFolder(folder / "keys"))
    repository.begin()
    repository.add_task(TASK)
    (folder / ROOT_FILE).write_bytes(repository.root())
    draft = folder / "draft"
    return packing.pack(bundling.fill(draft), draft, repository, folder / BUNDLE_FILE)


def main() -> None:
    """Make the bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder)


if __name__ == "__main__":
    main()

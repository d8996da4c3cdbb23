"""A made-up head in files, as the MR images that a scanner would send."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset

from models.phantoms.swi_head import Head, head
from models.phantoms.swi_images import Study, images

STUDY = "1.2.826.0.1.3680043.10.1"
HEAD = 105
"""Both of its bleeds are found, and placed in their regions."""
PATIENT = "P-51018201-0093"
TAKEN = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
Change = Callable[[Dataset], Dataset | None]
"""Makes another image of an image; None leaves it out."""


def written(
    folder: Path, made: Head | None = None, change: Change = lambda image: image, study: str = STUDY
) -> list[Path]:
    """Write the images of a head as files; return them, magnitude first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    of = Study(study, TAKEN, PATIENT, "示例^患者", "19520314", "F")
    for image in images(made or head(HEAD, "hard"), of):
        changed = change(image)
        if changed is not None:
            paths.append(folder / f"{changed.SOPInstanceUID}.dcm")
            changed.save_as(paths[-1], enforce_file_format=True)
    return paths

"""The demo's MR scanner: sends a made-up head of somebody in a bed to the node by DICOM, as a modality does.

`python -m deploy.demo.scanner PORT BED` for the node at that port of the loopback.
"""

import argparse
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

from deploy.demo.story import CLINIC, SCANNER, Bed
from models.phantoms.swi_head import head
from models.phantoms.swi_images import MR, Study, images

CALLED = "YUANZHEN"
UID = "1.2.826.0.1.3680043.10.77"
HEAD = 105
FINER = 4
"""The head has voxels of 1 mm and is drawn with pixels of a quarter of that."""


def study_of(bed: Bed, now: datetime) -> Iterator[Dataset]:
    """Yield the images of whoever lies in a bed, taken a quarter of an hour ago."""
    person = bed.person
    name = f"{person.family}^{person.given}"
    sex = {"male": "M", "female": "F"}[person.gender]
    taken = now - timedelta(minutes=15)
    study = Study(f"{UID}.{taken:%Y%m%d%H%M}", taken, person.number, name, person.birth_date.replace("-", ""), sex)
    for image in images(head(HEAD, "hard"), study):
        yield finer(image)


def finer(image: Dataset) -> Dataset:
    """Return an image with more and smaller pixels, each between its neighbours."""
    pixels = np.frombuffer(image.PixelData, "<u2").reshape(image.Rows, image.Columns).astype(np.float64)
    at = [(np.arange(count * FINER) + 0.5) / FINER - 0.5 for count in pixels.shape]
    rows = np.stack([np.interp(at[0], np.arange(image.Rows), column) for column in pixels.T], axis=1)
    drawn = np.stack([np.interp(at[1], np.arange(image.Columns), row) for row in rows])
    row_mm, column_mm = (float(each) / FINER for each in image.PixelSpacing)
    left_mm, top_mm = (float(each) for each in image.ImagePositionPatient[:2])
    corner = (left_mm - column_mm * (FINER - 1) / 2, top_mm - row_mm * (FINER - 1) / 2)
    image.ImagePositionPatient = [*(round(each, 6) for each in corner), image.ImagePositionPatient[2]]
    image.Rows, image.Columns = drawn.shape
    image.PixelSpacing = [row_mm, column_mm]
    image.PixelData = np.rint(drawn).astype("<u2").tobytes()
    return image


def send(port: int, bed: Bed) -> None:
    """Send a study to the node at a port of the loopback.

    Raises:
        SystemExit: the node does not take it.
    """
    entity = AE(SCANNER)
    entity.add_requested_context(MR, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=CALLED)
    if not association.is_established:
        raise SystemExit("the node does not answer the scanner")
    try:
        for image in study_of(bed, datetime.now().astimezone()):
            status = association.send_c_store(image)
            if not status or status.Status != 0:
                raise SystemExit(f"the node does not take an image: {status}")
    finally:
        association.release()


def main() -> None:
    """Send one study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("bed", choices=[bed.bed for bed in CLINIC.beds])
    asked = parser.parse_args()
    send(asked.port, next(bed for bed in CLINIC.beds if bed.bed == asked.bed))


if __name__ == "__main__":
    main()

"""Real studies at a real hub, for the pages of images: made of files of shared/data/dicom, sent by a site."""

import asyncio
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from playwright.sync_api import Page
from pydicom.uid import UID
from telemed.study import StudyManifest, StudyObject

from cloud_hub.config import ImagingConfig
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.readers import Readers
from cloud_hub.store.engine import Database
from tests.cloud_hub import role_world as world
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import ImagingHub

HEAD = "1.2.826.0.1.1"
"""Study of `own`: a CT of twelve slices, complete, and what is told beside it."""
OTHERS = "1.2.826.0.1.2"
"""Study of `own`: one image of each of several kinds; its site has two more."""
GROWING = "1.2.826.0.1.4"
"""Study that tests store slice by slice."""
TWIN = "1.2.826.0.1.5"
"""Study Instance UID that a modality gave to two patients, whose images have one series and one instance UID too."""
SLICES = 12
BROKEN = 5
"""The slice, from 0, whose pixels are fewer than its header says."""
KINDS = ("MR1_J2KR", "US1_RLE", "NM1_JLSL", "XA1_JPLL", "NM1_JPLY")
"""JPEG 2000, RLE in colour, JPEG-LS, JPEG lossless, JPEG of 12 bits."""
ADDRESS = world.address(world.SITE)


def fill(folder: Path, shared: Path) -> Callable[[Database], Images]:
    """Return what puts the studies into a hub that keeps its files in a folder."""

    def work(care: Database) -> Images:
        hub = ImagingHub.over(care, folder / "blobs")
        head = [head_slice(shared, number) for number in range(SLICES)]
        others = [of_kind(shared, name, number) for number, name in enumerate(KINDS)]
        for group, study, files, missing in (("head", HEAD, head, 0), ("others", OTHERS, others, 2)):
            for content in files:
                hub.arrive(ADDRESS, content, group)
            named = [*(hash_of(one) for one in files), *(f"{number:064x}" for number in range(missing))]
            hub.send_manifest(ADDRESS, manifest(group, study, named))
        asyncio.run(_index(hub))
        return Images(hub.blobs, Readers(ImagingConfig()))

    return work


async def _index(hub: ImagingHub) -> None:
    await hub.indexer.read_all()
    await hub.readers.close()


def manifest(group: str, study: str, hashes: list[str]) -> StudyManifest:
    """Return what a site says of a study of `own`."""
    objects = tuple(StudyObject(f"{study}.9.{n}", "", f"{study}.1", "", one, 1) for n, one in enumerate(hashes))
    return StudyManifest(group, study, 1, person_id="own", objects=objects)


def hash_of(content: bytes) -> str:
    """Return the name of a file on its way."""
    return hashlib.sha256(content).hexdigest()


def growing(shared: Path, number: int) -> bytes:
    """Return a slice of GROWING, known as those of the head are."""
    found = pydicom.dcmread(io.BytesIO(head_slice(shared, number)))
    found.StudyInstanceUID, found.SeriesInstanceUID = GROWING, f"{GROWING}.1"
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = UID(f"{GROWING}.1.{number}")
    return _written(found)


def twin(shared: Path, number: int) -> bytes:
    """Return an image of TWIN: two frames, the slices `number` and `number + 1` of the head."""
    found = pydicom.dcmread(io.BytesIO(head_slice(shared, number)))
    other = pydicom.dcmread(io.BytesIO(head_slice(shared, number + 1)))
    found.PixelData += other.PixelData
    found.NumberOfFrames, found.StudyDescription = 2, "Twin"
    found.StudyInstanceUID, found.SeriesInstanceUID = TWIN, f"{TWIN}.1"
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = UID(f"{TWIN}.1.1")
    return _written(found)


def store(page: Page, *contents: bytes, person: str = "own") -> None:
    """Store images of somebody with the session of a page."""
    root = page.url.partition("/#")[0].rstrip("/")
    token = page.request.get(f"{root}/api/v1/session").json()["csrf_token"]
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b', "X-CSRF-Token": token}
    body = b"".join(b"--b\r\n\r\n" + content + b"\r\n" for content in contents) + b"--b--\r\n"
    answer = page.request.post(f"{root}/dicom-web/studies?person={person}", data=body, headers=headers)
    assert answer.ok, answer.text()


def head_slice(shared: Path, number: int) -> bytes:
    """Return a slice: the CT image of WG04 shifted by 20 rows a slice, so that each is known from the others."""
    found = pydicom.dcmread(shared / "dicom" / "wg04" / "CT1_UNC.dcm")
    pixels = np.roll(found.pixel_array, 20 * number, axis=0)
    found.PixelData = pixels.tobytes()
    if number == BROKEN:
        found.PixelData = found.PixelData[: len(found.PixelData) // 2]
    found.StudyInstanceUID, found.SeriesInstanceUID = HEAD, f"{HEAD}.1"
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = UID(f"{HEAD}.1.{number + 1}")
    found.InstanceNumber, found.SeriesNumber = number + 1, 1
    found.StudyDescription, found.SeriesDescription = "头部 CT 平扫", "平扫 5 mm"
    found.SpecificCharacterSet = "ISO_IR 192"
    found.StudyDate, found.StudyTime = "20261126", "154800"
    found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    found.ImagePositionPatient = [-120, -120, 5 * number]
    return _written(found)


def of_kind(shared: Path, name: str, number: int) -> bytes:
    """Return an image of another kind, in a series of its own."""
    found = pydicom.dcmread(shared / "dicom" / "wg04" / f"{name}.dcm")
    found.StudyInstanceUID, found.SeriesInstanceUID = OTHERS, f"{OTHERS}.{number + 1}"
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = UID(f"{OTHERS}.{number + 1}.1")
    found.SeriesNumber, found.SeriesDescription = number + 1, name
    found.StudyDate, found.StudyTime, found.StudyDescription = "20261125", "", "All kinds"
    return _written(found)


def _written(found: pydicom.Dataset) -> bytes:
    made = io.BytesIO()
    found.save_as(made)
    return made.getvalue()


def plain(study: str, **more: str) -> bytes:
    """Return the one small image of a study."""
    return dicom_files.image(study, f"{study}.1", f"{study}.1.1", **more)


def newcomer(shared: Path) -> bytes:
    """Return an image of a study that nobody has seen yet, of the newest day."""
    found = pydicom.dcmread(shared / "dicom" / "wg04" / "MR1_RLE.dcm")
    found.StudyInstanceUID, found.SeriesInstanceUID = "1.2.826.0.1.3", "1.2.826.0.1.3.1"
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = UID("1.2.826.0.1.3.1.1")
    found.StudyDate, found.StudyDescription = "20261127", "Newcomer"
    return _written(found)

"""Made-up heads as the MR images that a scanner would send: one series of magnitude, one of phase."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from models.phantoms.swi_head import Head

MR = "1.2.840.10008.5.1.4.1.1.4"
MAKER = "YUANZHEN PHANTOM"


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two series."""

    name: str
    number: int
    image_type: tuple[str, ...]
    description: str
    slope: float
    intercept: float


MAGNITUDE = Kind("magnitude", 4, ("ORIGINAL", "PRIMARY", "M", "SWI"), "SWI_Images", 1.0, 0.0)
PHASE = Kind("phase", 5, ("ORIGINAL", "PRIMARY", "P"), "Pha_Images", 2.0, -4096.0)


@dataclass(frozen=True, slots=True)
class Study:
    """Whose images they are, and of which study."""

    uid: str
    """Series, images and frame of reference have UIDs below it."""
    taken: datetime
    number: str
    """Patient ID."""
    name: str
    """As DICOM has it, with carets."""
    birth_date: str
    """YYYYMMDD."""
    sex: str
    """M, F or O."""


def images(made: Head, study: Study) -> Iterator[Dataset]:
    """Yield the images of a head, magnitude first, each from the feet to the head."""
    assert made.study.phase_rad is not None
    magnitude = np.clip(made.study.swi * 2000, 0, 4095)
    phase = np.clip(made.study.phase_rad / np.pi * 2048 + 2048, 0, 4095)
    for kind, volume in ((MAGNITUDE, magnitude), (PHASE, phase)):
        for at, pixels in enumerate(np.rint(volume).astype(np.uint16)):
            yield _image(made, kind, at, pixels, study)


def _image(made: Head, kind: Kind, at: int, pixels: NDArray[np.uint16], study: Study) -> Dataset:
    uid = study.uid
    geometry = made.study.geometry
    place = geometry.to_world_mm(np.array([[at, 0, 0]], dtype=np.float64))[0]
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = UID(MR)
    image.SOPClassUID = UID(MR)
    image.SOPInstanceUID = UID(f"{uid}.{kind.number}.{at + 1}")
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = list(kind.image_type)
    times = [study.taken + timedelta(minutes=minutes) for minutes in (0, 2, 3)]
    image.StudyDate, image.SeriesDate, image.ContentDate = (each.strftime("%Y%m%d") for each in times)
    image.StudyTime, image.SeriesTime, image.ContentTime = (each.strftime("%H%M%S") for each in times)
    image.AccessionNumber, image.StudyID = "A-1", "S-1"
    image.Modality, image.Manufacturer = "MR", MAKER
    image.ManufacturerModelName, image.DeviceSerialNumber, image.SoftwareVersions = "swi_head", "1", "1"
    image.ReferringPhysicianName = ""
    image.StudyDescription, image.SeriesDescription = "Head", kind.description
    image.PatientName, image.PatientID = study.name, study.number
    image.PatientBirthDate, image.PatientSex = study.birth_date, study.sex
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "GR", "SP", ""
    image.MRAcquisitionType, image.EchoTrainLength = "3D", "1"
    image.RepetitionTime, image.EchoTime = "28", "20"
    image.StudyInstanceUID, image.SeriesInstanceUID = uid, f"{uid}.{kind.number}"
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = f"{uid}.9", ""
    image.SeriesNumber, image.InstanceNumber = kind.number, at + 1
    image.ImagePositionPatient = [round(float(each), 6) for each in place]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing = list(geometry.spacing_mm[1:])
    image.SliceThickness = geometry.spacing_mm[0]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = pixels.shape
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = kind.slope, kind.intercept, "US"
    image.PixelData = pixels.astype("<u2").tobytes()
    return image

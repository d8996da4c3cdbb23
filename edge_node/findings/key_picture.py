"""One plain picture for viewers that show nothing else: the likeliest finding ringed on its image, the marks beneath.

Secondary capture in colour; text is in the pixels.  In the writer alone.
"""

from datetime import datetime
from pathlib import Path

import numpy as np
from highdicom import sc
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import pixel_array
from pydicom.valuerep import DA, TM

from edge_node.findings import equipment
from edge_node.findings.documents import Write
from edge_node.findings.pipe import Found
from edge_node.findings.segments import away

SIDE_PX = 512
MARKS = Path(__file__).with_name("marks")
SHORT = "short"
_ORANGE = (230, 159, 0)
_AROUND_PX = 3
"""The ring is drawn so far outside, so that it does not cover what it shows."""
_LINE_PX = 26
_SMALL_PX = 14


def made(write: Write, image: Dataset, path: str) -> Dataset:
    """Return the picture.

    Args:
        write: what is told; it has findings.
        image: header of the image that shows the likeliest finding best.
        path: of its file.
    """
    shown = [each for each in write.findings if each.key_image_uid == str(image.SOPInstanceUID)]
    capture = sc.SCImage(
        pixel_array=drawn(write, dcmread(path), shown),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=image.StudyInstanceUID,
        patient_id=image.PatientID,
        patient_name=image.PatientName,
        patient_birth_date=image.PatientBirthDate,
        patient_sex=image.PatientSex or None,
        accession_number=image.AccessionNumber,
        study_id=image.StudyID,
        study_date=image.StudyDate or None,
        study_time=image.StudyTime or None,
        referring_physician_name=image.ReferringPhysicianName,
        patient_orientation=orientation(image),
        **equipment.names(write, "picture"),
    )
    at = datetime.fromisoformat(write.made_at)
    capture.DateOfSecondaryCapture = DA(at.strftime("%Y%m%d"))
    capture.TimeOfSecondaryCapture = TM(at.strftime("%H%M%S"))
    capture.ConversionType, capture.Modality = "WSD", "OT"
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER", "AI_RESULT"]
    capture.BurnedInAnnotation, capture.RecognizableVisualFeatures = "YES", "NO"
    # Its condition cannot be told from the object: empty says that it is not known.
    capture.Laterality = ""
    capture.DerivationDescription = equipment.description(write)
    return equipment.finished(capture, write, image)


def orientation(image: Dataset) -> tuple[str, str]:
    """Return to what side of the patient the columns of an axial image grow, and its rows (PS3.3 C.7.6.1.1.1)."""
    along_row, along_column = image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:]
    return "L" if along_row[0] >= 0 else "R", "P" if along_column[1] >= 0 else "A"


def drawn(write: Write, image: Dataset, shown: list[Found]) -> NDArray[np.uint8]:
    """Return the picture's pixels, [row, column, colour]: image and rings, beneath them marks and model."""
    grey = Image.fromarray(_grey(image)).convert("RGB")
    scale = SIDE_PX / max(grey.size)
    grey = grey.resize((round(grey.width * scale), round(grey.height * scale)), Image.Resampling.BICUBIC)
    marks = [SHORT, "ai-zh", "ai-en", *(("research-zh", "research-en") if write.model.is_for_research else ())]
    page = Image.new("RGB", (SIDE_PX, SIDE_PX + _LINE_PX * (len(marks) + 1)))
    page.paste(grey, ((SIDE_PX - grey.width) // 2, 0))
    pen = ImageDraw.Draw(page)
    for each in shown:
        _ring(pen, _circle(image, each, scale, (SIDE_PX - grey.width) // 2))
    for line, name in enumerate(marks):
        with Image.open(MARKS / f"{name}.png") as mark:
            page.paste(_ORANGE, (4, SIDE_PX + line * _LINE_PX + 2), mark.convert("L"))
    text = f"{write.model.task} {write.model.version}  {datetime.fromisoformat(write.made_at):%Y-%m-%d}"
    text += f"  series {image.get('SeriesNumber', '')} image {image.get('InstanceNumber', '')}"
    font = ImageFont.load_default(_SMALL_PX)
    pen.text((4, SIDE_PX + len(marks) * _LINE_PX + 4), text, fill=(255, 255, 255), font=font)
    return np.asarray(page, dtype=np.uint8)


def _circle(image: Dataset, found: Found, scale: float, shift_px: int) -> tuple[float, float, float]:
    """Return where a finding's ring lies on the page and its radius, in pixels."""
    column, row, _ = away(image, found)
    radius_px = found.diameter_mm / 2 / float(image.PixelSpacing[0]) * scale + _AROUND_PX
    return (column + 0.5) * scale + shift_px, (row + 0.5) * scale, radius_px


def _ring(pen: ImageDraw.ImageDraw, circle: tuple[float, float, float]) -> None:
    x, y, radius = circle
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_ORANGE)


def _grey(image: Dataset) -> NDArray[np.uint8]:
    values = pixel_array(image).astype(np.float64)
    low, high = np.percentile(values, (1.0, 99.5))
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255, dtype=np.uint8)

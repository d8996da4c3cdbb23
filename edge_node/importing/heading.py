"""What every imported object says of its person, study and origin; in the converting process alone."""

from datetime import datetime

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian

from edge_node.importing.names import STUDY, uid
from edge_node.importing.order import Order

MANUFACTURER, MODEL_NAME = "Yuanzhen", "Edge gateway"


def headed(order: Order, sop_class_uid: UID, name: str, by: str) -> Dataset:
    """Return an object of a study with person, study, equipment and provenance, and nothing of its own.

    Args:
        order: what is imported.
        sop_class_uid: of what class it is.
        name: tells it from the others of the study.
        by: what read the file.
    """
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = sop_class_uid, uid(order, name)
    at = datetime.fromisoformat(order.made_at)
    made.InstanceCreationDate, made.InstanceCreationTime = f"{at:%Y%m%d}", f"{at:%H%M%S}"
    made.TimezoneOffsetFromUTC = f"{at:%z}" or "+0000"
    made.StudyDate, made.StudyTime = order.study_date, ""
    made.AccessionNumber = made.ReferringPhysicianName = ""
    made.StudyDescription = order.description
    made.PatientName, made.PatientID = order.subject.name, order.subject.patient_id
    if order.subject.issuer:
        made.IssuerOfPatientID = order.subject.issuer
    made.PatientBirthDate, made.PatientSex = order.subject.birth_date, order.subject.sex
    made.StudyInstanceUID, made.StudyID = uid(order, STUDY), ""
    made.Modality = order.modality
    # Who made the machine that took it is not told by such files.
    made.Manufacturer = ""
    made.ContributingEquipmentSequence = [_converted(order, by, at)]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def in_series(made: Dataset, order: Order, number: int, description: str) -> Dataset:
    """Put an object into the series of a number, 1 the first."""
    made.SeriesInstanceUID, made.SeriesNumber = uid(order, f"series {number}"), number
    made.SeriesDescription = description[:64]
    return made


def _converted(order: Order, by: str, at: datetime) -> Dataset:
    """Return where an object came from, for whoever wonders later."""
    equipment = Dataset()
    equipment.Manufacturer, equipment.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    equipment.StationName = order.node[:16]
    equipment.DeviceSerialNumber = order.node[:64]
    equipment.SoftwareVersions = [f"yuanzhen {order.software}"[:64], by[:64]] if by else f"yuanzhen {order.software}"
    equipment.ContributionDateTime = f"{at:%Y%m%d%H%M%S%z}"
    equipment.ContributionDescription = f"Converted from {order.kind}, SHA-256 {order.sha256}"
    purpose, code = Dataset(), codes.DCM.ProcessingEquipment
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code.value, "DCM", code.meaning
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    return equipment

"""Modalities that send studies by C-STORE, and remember which objects they were promised.

A modality sends what it was not promised again, as scanners do, until it was promised everything.
"""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association

from edge_node.imaging import part10
from tests.fakes import dicom_files

ROOT_UID = "1.2.826.0.1.3680043.10.20"
SIDE = 192
"""Rows and columns of a slice."""
AGAIN_AFTER_S = 0.3
ASSOCIATE_LIMIT_S, ANSWER_LIMIT_S = 5.0, 20.0
SUCCESS = 0x0000


@dataclass(frozen=True, slots=True)
class Image:
    """One object as a modality has it."""

    study: str
    instance: str
    content: bytes = field(repr=False)

    @property
    def data_set(self) -> bytes:
        """What goes over the wire, and must come back."""
        return bytes(part10.parted(self.content).data)


@dataclass(slots=True)
class Ledger:
    """What the node promised; written by all modalities."""

    promised: dict[str, Image] = field(default_factory=dict)
    """By SOP Instance UID."""
    broken: int = 0
    """Associations that ended before everything was promised, and such as did not come about."""
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def note(self, image: Image) -> None:
        """Remember a promise."""
        with self._writing:
            self.promised[image.instance] = image

    def note_broken(self) -> None:
        """Count an association that did not last."""
        with self._writing:
            self.broken += 1


def slices(number: int, count: int, patient: str) -> list[Image]:
    """Return the CT slices of study `number`, noise that no two of them share."""
    study = f"{ROOT_UID}.{number}"
    noise = np.random.default_rng(number).integers(0, 4096, (count, SIDE, SIDE), np.uint16)
    found = []
    for nth, pixels in enumerate(noise, 1):
        instance = f"{study}.1.{nth}"
        more = {"Rows": SIDE, "Columns": SIDE, "InstanceNumber": str(nth), "PatientID": patient}
        content = dicom_files.image(study, f"{study}.1", instance, **more, PixelData=pixels.tobytes())
        found.append(Image(study, instance, content))
    return found


def send_until_promised(images: Sequence[Image], port: int, ledger: Ledger, is_over: threading.Event) -> None:
    """Send a study, again and again what of it is not promised, until all is or `is_over` is set."""
    sender = AE("STORESCU")
    sender.acse_timeout, sender.dimse_timeout = ASSOCIATE_LIMIT_S, ANSWER_LIMIT_S
    for kind in (CTImageStorage, MRImageStorage):
        sender.add_requested_context(kind, ExplicitVRLittleEndian)
    while left := [image for image in images if image.instance not in ledger.promised]:
        association = sender.associate("127.0.0.1", port, ae_title="YUANZHEN")
        try:
            is_whole = association.is_established and _send(association, left, ledger)
        finally:
            if association.is_established:
                association.release()
        if not is_whole:
            ledger.note_broken()
            if is_over.wait(AGAIN_AFTER_S):
                return


def _send(association: Association, images: Sequence[Image], ledger: Ledger) -> bool:
    for image in images:
        if not association.is_established:
            return False
        answer = association.send_c_store(dcmread(io.BytesIO(image.content)))
        if answer.get("Status") != SUCCESS:
            return False
        ledger.note(image)
    return True

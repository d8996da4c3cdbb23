"""Names of what is made of a file: the same file of the same person gives the same names, however often.  Pure."""

from uuid import UUID, uuid5

from edge_node.importing.order import Order

STUDY = "study"
_ROOM = UUID("0b0d1a0e-6a2f-4d0c-9d53-6f7a1b8c2d40")
"""Never changed."""


def uid(order: Order, *words: str) -> str:
    """Return the DICOM UID of a thing that is made of a file (PS3.5 annex B.2).

    Description and day are not part of it: who mends them does not make a second study.
    """
    subject = order.subject
    about = (subject.issuer, subject.patient_id, order.sha256, order.kind, order.modality, order.axes)
    return f"2.25.{uuid5(_ROOM, '/'.join((*about, *words))).int}"

"""The images that show findings best, as a key object selection; in the writer alone."""

from collections.abc import Sequence

from highdicom import ko, sr
from pydicom import Dataset
from pydicom.sr.codedict import codes

from edge_node.findings import equipment
from edge_node.findings.documents import Write

MOST = 8
"""Key images of a study."""


def chosen(write: Write, magnitude: Sequence[Dataset]) -> list[Dataset]:
    """Return the images that show the likeliest findings, each once, the likeliest first."""
    by_uid = {str(each.SOPInstanceUID): each for each in magnitude}
    uids = dict.fromkeys(each.key_image_uid for each in write.findings if each.key_image_uid in by_uid)
    return [by_uid[uid] for uid in uids][:MOST]


def made(write: Write, images: Sequence[Dataset]) -> Dataset:
    """Return the selection of these images."""
    content = ko.KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=list(images),
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=equipment.node_uid(write), name=write.node
            ),
        ),
        description="; ".join(f"{zh} · {en}" for zh, en in write.model.marks),
    )
    document = ko.KeyObjectSelectionDocument(evidence=list(images), content=content, **equipment.names(write, "keys"))
    return equipment.finished(document, write, images[0])

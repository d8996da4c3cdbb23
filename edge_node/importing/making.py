"""Makes the objects of one file and puts them among the node's images; in a process of its own alone."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom import Dataset

from edge_node.imaging import content, part10, reading
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored
from edge_node.importing import document, photo, slice_images, volume_files, vti_file
from edge_node.importing.kinds import VOLUMES, Kind
from edge_node.importing.order import Order
from edge_node.importing.reasons import NotImported, Reason

SENDER = "IMPORT"
"""Stands where a modality's title stands."""
LARGEST_OBJECT_BYTES = 256 * 1024 * 1024


def serve(order: Order, say: Callable[[Stored], None]) -> None:
    """Make and put every object, and say each.

    Raises:
        NotImported: nothing can be made of the file.
        OSError: an object could not be put.
    """
    objects = Objects(Path(order.folder))
    for number, made in enumerate(made_of(order)):
        say(_put(objects, number, made))


def made_of(order: Order) -> Iterator[Dataset]:
    """Yield the objects of a file.

    Raises:
        NotImported: it cannot be read, or may not be imported.
        OSError: likewise.
    """
    path, kind = Path(order.path), Kind(order.kind)
    if kind not in VOLUMES:
        yield (document.made if kind is Kind.PDF else photo.made)(order, path)
    elif kind is Kind.VTI:
        yield from slice_images.made(order, *vti_file.read(path, order.axes))
    else:
        yield from slice_images.made(order, *volume_files.read(path, kind, order.axes))


def _put(objects: Objects, number: int, made: Dataset) -> Stored:
    whole = io.BytesIO()
    made.save_as(whole, enforce_file_format=True)
    if whole.tell() > LARGEST_OBJECT_BYTES:
        raise NotImported(Reason.FILE_TOO_LARGE)
    parts = part10.parted(whole.getvalue())
    # The node's own head, as in front of what a modality sends.
    head = part10.head(parts.sop_class_uid, parts.sop_instance_uid, parts.transfer_syntax)
    said = reading.read(parts.data, parts.transfer_syntax, LARGEST_OBJECT_BYTES)
    said = content.announced(said, parts.sop_class_uid, parts.sop_instance_uid)
    sha256 = objects.put(head, parts.data)
    return Stored(number, sha256, len(head) + len(parts.data), parts.transfer_syntax, SENDER, said)

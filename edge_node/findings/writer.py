"""Makes the objects of one study's results and puts them among the node's images; in a process of its own alone."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom import Dataset

from edge_node.findings import equipment, key_picture, keys, report, segments
from edge_node.findings.documents import Write
from edge_node.imaging import content, part10, reading
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored

SENDER = "YUANZHEN-AI"
"""Stands where a modality's title stands: these objects came from this node."""
LIMIT_BYTES = 256 * 1024 * 1024


def serve(write: Write, say: Callable[[Stored], None]) -> None:
    """Make and put every object, and say each: what lies first in importance goes first.

    Raises:
        OSError: one could not be put.
    """
    objects = Objects(Path(write.folder))
    for number, made in enumerate(made_of(write)):
        say(_put(objects, number, made))


def made_of(write: Write) -> Iterator[Dataset]:
    """Yield the report, and of what has findings the key picture, the selection of key images and the segments."""
    magnitude = [equipment.header(path) for path in write.magnitude]
    yield report.made(write, magnitude, [equipment.header(path) for path in write.phase])
    chosen = keys.chosen(write, magnitude)
    if not chosen:
        return
    paths = {each.SOPInstanceUID: path for each, path in zip(magnitude, write.magnitude, strict=True)}
    yield key_picture.made(write, chosen[0], paths[chosen[0].SOPInstanceUID])
    yield keys.made(write, chosen)
    yield segments.made(write, magnitude)


def _put(objects: Objects, number: int, made: Dataset) -> Stored:
    whole = io.BytesIO()
    made.save_as(whole, enforce_file_format=True)
    parts = part10.parted(whole.getvalue())
    # The node's own head, as in front of what a modality sends.
    head = part10.head(parts.sop_class_uid, parts.sop_instance_uid, parts.transfer_syntax)
    said = reading.read(parts.data, parts.transfer_syntax, LIMIT_BYTES)
    said = content.announced(said, parts.sop_class_uid, parts.sop_instance_uid)
    sha256 = objects.put(head, parts.data)
    return Stored(number, sha256, len(head) + len(parts.data), parts.transfer_syntax, SENDER, said)

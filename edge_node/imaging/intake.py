"""The steps of one object inside a receiver: bounds, content, file on disk, row committed, answer."""

from collections.abc import Callable
from dataclasses import dataclass

from edge_node.imaging import content, part10, reading
from edge_node.imaging.content import Content, NotUnderstood, is_uid
from edge_node.imaging.judged import NOT_UNDERSTOOD, OUT_OF_RESOURCES, STATUS, Verdict, status_of
from edge_node.imaging.objects import Objects


@dataclass(frozen=True, slots=True)
class Arrived:
    """An object as a sender announced it; names that are empty are those that it has itself."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    sender: str
    """AE title, or a word for another way in."""
    data: bytes
    """The data set, exactly as it came."""


@dataclass(frozen=True, slots=True)
class OnDisk:
    """An object whose file is synced."""

    sha256: str
    size_bytes: int
    content: Content


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes objects; may be called from several threads."""

    objects: Objects
    limit_bytes: int
    disk_limit_share: float
    commit: Callable[[Arrived, OnDisk], Verdict]
    """Returns once the row is synced."""
    refused: Callable[[str], None]
    """Told of a word for what was refused."""

    def take(self, arrived: Arrived) -> int:
        """Store one object and return the status for its sender; success only after file and row are synced."""
        if self.objects.used_share(len(arrived.data)) >= self.disk_limit_share:
            return self._refuse("disk-full", OUT_OF_RESOURCES)
        if not is_uid(arrived.transfer_syntax):
            return self._refuse("no-uid", NOT_UNDERSTOOD)
        try:
            found = reading.read(arrived.data, arrived.transfer_syntax, self.limit_bytes)
            found = content.announced(found, arrived.sop_class_uid, arrived.sop_instance_uid)
        except NotUnderstood as refusal:
            return self._refuse(str(refusal), status_of(refusal))
        head = part10.head(found.sop_class_uid, found.sop_instance_uid, arrived.transfer_syntax)
        try:
            sha256 = self.objects.put(head, arrived.data)
        except OSError:
            return self._refuse("disk-failed", OUT_OF_RESOURCES)
        verdict = self.commit(arrived, OnDisk(sha256, len(head) + len(arrived.data), found))
        return STATUS[verdict]

    def _refuse(self, reason: str, status: int) -> int:
        self.refused(reason)
        return status

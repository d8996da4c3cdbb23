"""Takes in files that the node names: what came over HTTPS, piece by piece, is opened by a receiver alone."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from edge_node.imaging import content, part10, reading
from edge_node.imaging.content import Content, NotUnderstood
from edge_node.imaging.intake import Arrived, Intake
from edge_node.imaging.judged import NOT_MATCHING, NOT_UNDERSTOOD, OUT_OF_RESOURCES, status_of
from edge_node.imaging.pipe import Line, Look, Taken


@dataclass(frozen=True, slots=True)
class Looking:
    """Takes one file after another; used in one thread."""

    intake: Intake
    next: Callable[[], Look]
    """Returns the next one, and waits for it."""
    say: Callable[[Line], None]

    def run(self) -> None:
        """Take files for ever.

        Raises:
            OSError: the node is gone.
        """
        while True:
            look = self.next()
            self.say(self.taken(look))

    def taken(self, look: Look) -> Taken:
        """Take one file and return what became of it; success only after file and row are synced."""
        try:
            with os.fdopen(os.open(look.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                whole = file.read(self.intake.limit_bytes + 1)
            return self._taken(look, whole)
        except (OSError, MemoryError):
            self.intake.refused("file-failed")
            return Taken(look.number, OUT_OF_RESOURCES)

    def _taken(self, look: Look, whole: bytes) -> Taken:
        try:
            if len(whole) > self.intake.limit_bytes:
                raise ValueError("larger than an object may be")
            file = part10.parted(whole)
            found = reading.read(file.data, file.transfer_syntax, self.intake.limit_bytes)
            found = content.announced(found, file.sop_class_uid, file.sop_instance_uid)
        except NotUnderstood as refusal:
            self.intake.refused(str(refusal))
            return Taken(look.number, status_of(refusal))
        except ValueError:
            self.intake.refused("no-file")
            return Taken(look.number, NOT_UNDERSTOOD)
        if look.study_uid not in ("", found.study_uid):
            self.intake.refused("other-study")
            return _told(look, NOT_MATCHING, found)
        arrived = Arrived(file.sop_class_uid, file.sop_instance_uid, file.transfer_syntax, look.sender, file.data)
        return _told(look, self.intake.take(arrived), found)


def _told(look: Look, status: int, found: Content) -> Taken:
    return Taken(look.number, status, found.sop_class_uid, found.study_uid, found.series_uid, found.sop_instance_uid)

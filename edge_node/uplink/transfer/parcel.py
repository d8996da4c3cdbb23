"""A file in the queue: what it is, and where it stands."""

from dataclasses import dataclass

from telemed.transfer import FileKind

from edge_node.uplink.transfer.states import State

PRIORITIES = {FileKind.STUDY: 3, FileKind.EXAM: 3, FileKind.OTHER: 6, FileKind.BUNDLE: 8}
"""0 goes first, 9 last; what a file gets that names none."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What whoever queues a file says of it."""

    kind: FileKind
    name: str
    """For people, at most 200 characters."""
    group: str = ""
    """Files that belong together, e.g. of one study, at most 64 characters; empty = by itself."""
    is_preview: bool = False
    """The preview or key image of its group."""
    priority: int = -1
    """0 goes first, 9 last; -1 = the usual one of its kind."""
    is_urgent: bool = False
    """Goes at any hour and whatever the day's budget says; what it sends is counted all the same."""

    @property
    def rank(self) -> int:
        """The priority that counts."""
        return self.priority if self.priority >= 0 else PRIORITIES[self.kind]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file of the queue as its row has it."""

    parcel_id: str
    sha256: str
    size_bytes: int
    labels: Labels
    queued_ns: int
    state: State = State.WAITING
    code: str = ""
    """Why it is paused or refused; a code of telemed.errors."""
    resume_ns: int = 0
    """When it goes on by itself; 0 = not known."""
    durable_bytes: int = 0
    """What the hub has told to be durable."""
    hub_id: str = ""
    """The hub's name for the transfer; empty before the first offer."""
    changed_ns: int = 0

"""The sender's own account of what it was promised (pure): one line of JSON an event, synced where it is a promise.

It is written by the sender alone and never read by the product: what the invariants compare against.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SENT, ACKNOWLEDGED, REFUSED = "sent", "ack", "refused"
TAKEN = ("AA", "CA")


@dataclass(frozen=True, slots=True)
class Promise:
    """A message that the node has acknowledged; times are the right wall clock, nanoseconds."""

    control_id: str
    device: str
    first_sent_ns: int
    acknowledged_ns: int


@dataclass(slots=True)
class Ledger:
    """What the lines say so far; `take` more of them as they come."""

    promises: dict[str, Promise] = field(default_factory=dict)
    """By control id, in the order of the answers."""
    open: dict[str, int] = field(default_factory=dict)
    """Sent and not answered yet: control id -> when it was first sent."""
    refused: int = 0
    """Answers that told the sender to come again later."""
    answered_again: int = 0
    """Messages whose answer came for more than one sending."""

    def take(self, lines: Iterable[str]) -> None:
        """Take whole lines in their order."""
        for line in lines:
            self._take(json.loads(line))

    def _take(self, said: Mapping[str, str | int]) -> None:
        control_id, at_ns = str(said["id"]), int(said["at_ns"])
        if said["event"] == SENT:
            if control_id not in self.promises:
                self.open.setdefault(control_id, at_ns)
        elif said["event"] == REFUSED:
            self.refused += 1
        elif control_id in self.promises:
            self.answered_again += 1
        else:
            first_ns = self.open.pop(control_id, at_ns)
            self.promises[control_id] = Promise(control_id, str(said["device"]), first_ns, at_ns)


def line(event: str, control_id: str, device: str, at_ns: int) -> str:
    """Return one line, its end included."""
    return json.dumps({"event": event, "id": control_id, "device": device, "at_ns": at_ns}) + "\n"


@dataclass(slots=True)
class Tail:
    """Turns what was read of a growing file into whole lines."""

    rest: str = ""

    def lines(self, read: str) -> list[str]:
        """Return the lines that are whole now."""
        *whole, self.rest = (self.rest + read).split("\n")
        return whole

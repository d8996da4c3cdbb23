"""The messages of a peer that called: waited for, not slept for, and the answer to an object written as it is sent.

This changes internals of pynetdicom, as `association` does, and for the same reason has tests.
"""

import queue
import struct
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

WAIT_S = 0.005
"""How long it is waited for a whole message before it is looked whether the association is to end."""
_WHOLE_COMMAND = b"\x03"
"""Before a command in one piece (PS3.8 annex E.2)."""
_PDV_HEAD_BYTES = 6
_SHORT = struct.Struct("<H")


class _Waiting(queue.Queue[Any]):
    """Messages to be answered: who looks for one waits a moment for it, instead of sleeping between looks."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return super().get(True, timeout if block else WAIT_S)


class Messages(DIMSEServiceProvider):
    """The messages of a peer that called."""

    def __init__(self, assoc: Association) -> None:
        super().__init__(assoc)
        self.msg_queue = _Waiting()
        self.is_at_work = False
        """Whether one waits for its answer."""

    def get_msg(self, block: bool = False) -> Any:
        """Return the next message, and None where there is none yet."""
        self.is_at_work = False
        found = super().get_msg(block)
        self.is_at_work = found[1] is not None
        return found

    def until_answered(self) -> None:
        """Wait a moment for the answer of the one that waits for it."""
        answers = self.dul.to_provider_queue
        with answers.not_empty:
            answers.not_empty.wait_for(answers.queue.__len__, WAIT_S)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a message; the answer to an object goes without the data set that the library makes of each."""
        self.is_at_work = False
        command = store_response(primitive) if isinstance(primitive, C_STORE) else None
        if command is None or 0 < self.maximum_pdu_size < len(command) + _PDV_HEAD_BYTES:
            super().send_msg(primitive, context_id)
            return
        answer = P_DATA()
        answer.presentation_data_value_list = [[context_id, _WHOLE_COMMAND + command]]  # type: ignore[list-item]
        self.dul.send_pdu(answer)


def store_response(answer: C_STORE) -> bytes | None:
    """Return a C-STORE response as the peer reads it, little endian and implicit (PS3.7 6.3.1, 9.3.1.2).

    None where it is a request, says more than a status, or repeats what is no UID.
    """
    number, said = answer.MessageIDBeingRespondedTo, (answer.ErrorComment, answer.OffendingElement)
    uids = f"{answer.AffectedSOPClassUID or ''}{answer.AffectedSOPInstanceUID or ''}"
    if number is None or answer.Status is None or said != (None, None) or not uids.isascii():
        return None
    elements = b"".join(
        (
            _element(0x0002, _uid(answer.AffectedSOPClassUID)),
            _element(0x0100, _SHORT.pack(0x8001)),
            _element(0x0120, _SHORT.pack(number)),
            _element(0x0800, _SHORT.pack(0x0101)),
            _element(0x0900, _SHORT.pack(answer.Status)),
            _element(0x1000, _uid(answer.AffectedSOPInstanceUID)),
        )
    )
    return _element(0x0000, struct.pack("<L", len(elements))) + elements


def _element(number: int, value: bytes) -> bytes:
    """Return an element of the group of commands."""
    return struct.pack("<HHL", 0, number, len(value)) + value


def _uid(uid: str | None) -> bytes:
    value = str(uid or "").encode("ascii")
    return value + b"\0" * (len(value) % 2)

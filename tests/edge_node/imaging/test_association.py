"""The bounds on a peer's PDUs: each has one deadline, however it is stretched."""

import queue
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE

from edge_node.imaging import association, messages
from edge_node.imaging.association import BoundedSocket

HEAD = 6
UNANSWERED_S, STALL_S = 30.0, 10.0


@dataclass(slots=True)
class Trickle:
    """A line that gives one byte after each wait."""

    wait_s: float
    now: list[float] = field(default_factory=lambda: [0.0])
    limits_s: list[float] = field(default_factory=list)

    def settimeout(self, limit_s: float) -> None:
        self.limits_s.append(limit_s)

    def setsockopt(self, *_: object) -> None:
        pass

    def recv_into(self, view: memoryview) -> int:
        if self.wait_s > self.limits_s[-1]:
            self.now[0] += self.limits_s[-1]
            raise TimeoutError
        self.now[0] += self.wait_s
        view[0] = 0
        return 1


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trickle]:
    made = Trickle(0)
    bounds = association.Bounds(100_000, STALL_S, UNANSWERED_S, 1, lambda: made.now[0])
    monkeypatch.setattr(association, "_BOUNDS", bounds)
    yield made
    assert made.limits_s[-1] == STALL_S, "what is sent may take so long, whatever was read"


def on(line: Trickle) -> BoundedSocket:
    whole = SimpleNamespace(
        dimse=SimpleNamespace(message=None), dul=SimpleNamespace(event_queue=queue.Queue()), is_acceptor=False
    )
    return BoundedSocket(cast("Association", whole), client_socket=cast("socket.socket", line))


def read(bounded: BoundedSocket, size_bytes: int) -> None:
    """Read a PDU as pynetdicom does."""
    bounded.recv(HEAD)
    bounded.recv(size_bytes)


def test_the_first_pdu_has_one_deadline_from_the_connection_on(line: Trickle) -> None:
    bounded = on(line)
    line.wait_s = 5.0
    with pytest.raises(TimeoutError):
        read(bounded, 1000)
    assert line.now[0] == UNANSWERED_S


def test_who_waits_before_the_first_byte_has_less_time_for_the_others(line: Trickle) -> None:
    bounded = on(line)
    line.now[0] = UNANSWERED_S - 1
    line.wait_s = 0.25
    with pytest.raises(TimeoutError):
        read(bounded, 1000)
    assert line.now[0] == UNANSWERED_S


def test_each_later_pdu_has_one_deadline_from_its_first_byte_on(line: Trickle) -> None:
    bounded = on(line)
    read(bounded, 70)
    line.now[0] = 1000.0
    read(bounded, 100)
    line.wait_s = 1.0
    with pytest.raises(TimeoutError):
        read(bounded, 100)
    assert line.now[0] == 1000.0 + STALL_S


def test_a_pdu_in_time_is_read_whole(line: Trickle) -> None:
    bounded = on(line)
    line.wait_s = 0.1
    assert len(bounded.recv(HEAD)) == HEAD
    assert len(bounded.recv(90)) == 90


def answer(status: int = 0) -> C_STORE:
    made = C_STORE()
    made.MessageID = made.MessageIDBeingRespondedTo = 65535
    made.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    made.AffectedSOPInstanceUID = "1.2.3.44"
    made.Status = status
    return made


@pytest.mark.parametrize("status", [0, 0xA700, 0xC211])
def test_an_answer_to_an_object_is_written_as_the_library_writes_it(status: int) -> None:
    message = C_STORE_RSP()
    message.primitive_to_message(answer(status))
    (only,) = message.encode_msg(1, 16384)
    ((_, written),) = only.presentation_data_value_list
    assert messages.store_response(answer(status)) == written[1:]


def test_what_says_more_than_a_status_is_left_to_the_library() -> None:
    request, commented = answer(), answer()
    request.MessageIDBeingRespondedTo = None
    commented.ErrorComment = "no room"  # type: ignore[assignment]
    assert messages.store_response(request) is None
    assert messages.store_response(commented) is None
    # pynetdicom takes it for a UID, and what it answers the sender may read.
    odd = answer(0xA900)
    with pytest.warns(UserWarning, match="Invalid value"):
        odd.AffectedSOPInstanceUID = "1.2.\xe9"
    assert messages.store_response(odd) is None


def test_an_answer_wakes_who_waits_for_it_instead_of_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "WAIT_S", 20.0)
    monkeypatch.setattr(association, "_BOUNDS", association.Bounds(1, STALL_S, UNANSWERED_S, 1))
    answers: queue.Queue[object] = queue.Queue()
    dul = SimpleNamespace(event_queue=queue.Queue(), to_provider_queue=answers, send_pdu=answers.put)
    whole = SimpleNamespace(dul=dul, is_acceptor=True, is_requestor=False, dimse_timeout=None)
    whole.requestor = SimpleNamespace(maximum_length=0)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as theirs,
        server.accept()[0] as ours,
        ThreadPoolExecutor(1) as waiting,
    ):
        bounded = BoundedSocket(cast("Association", whole), client_socket=ours)
        whole.dimse.msg_queue.put((1, "to be answered"))
        assert whole.dimse.get_msg() == (1, "to be answered")
        theirs.send(b"the next one")
        began_s = time.monotonic()
        is_ready = waiting.submit(lambda: bounded.ready)
        with pytest.raises(TimeoutError):
            is_ready.result(0.3)
        whole.dimse.send_msg(answer(), 1)
        assert is_ready.result(), "what the peer sent meanwhile is read next"
        answers.get()
        assert bounded.ready, "and nobody waits for another answer"
        assert time.monotonic() - began_s < 10

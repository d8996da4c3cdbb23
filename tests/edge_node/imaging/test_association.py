"""The bounds on a peer's PDUs: each has one deadline, however it is stretched."""

import queue
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from pynetdicom.association import Association

from edge_node.imaging import association
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
    whole = SimpleNamespace(dimse=SimpleNamespace(message=None), dul=SimpleNamespace(event_queue=queue.Queue()))
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

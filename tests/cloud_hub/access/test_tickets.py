"""Tickets of people half way through signing in."""

import base64

import pytest

from cloud_hub.access.sealing import KEY_BYTES, Seal
from cloud_hub.access.tickets import Tickets
from tests.cloud_hub.access.conftest import Clock

SEAL = Seal(b"k" * KEY_BYTES)


def test_a_ticket_opens_for_its_purpose_and_time_alone() -> None:
    clock = Clock()
    tickets = Tickets(SEAL, clock)
    ticket = tickets.write("asked", {"state": "s"}, 600)
    assert tickets.read("asked", ticket) == {"state": "s"}
    assert tickets.read("half-way", ticket) is None
    assert Tickets(Seal(b"l" * KEY_BYTES), clock).read("asked", ticket) is None
    clock.pass_s(600)
    assert tickets.read("asked", ticket) is None


@pytest.mark.parametrize(
    "bad", ["", "x", "\ud800", "====", "é", "A" * 5000, base64.urlsafe_b64encode(b"x" * 40).decode()]
)
def test_what_is_no_ticket_is_nothing(bad: str) -> None:
    assert Tickets(SEAL, Clock()).read("asked", bad) is None


def test_a_sealed_secret_of_an_account_is_no_ticket() -> None:
    """Whatever the account is called."""
    clock = Clock()
    sealed = base64.urlsafe_b64encode(SEAL.close('{"ends_ns": 9e30, "fields": {}}', "asked")).decode()
    assert Tickets(SEAL, clock).read("asked", sealed) is None

"""A browser that an account is known in is not held up by what its neighbours try under the same address."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cloud_hub.access.delay import CROWD, FREE_FAILURES, LONGEST_S, PACE_S
from cloud_hub.access.sign_in import Access
from cloud_hub.access.tickets import Tickets
from cloud_hub.web.known_browsers import LIFETIME_S, LONGEST_LIST, PURPOSE
from tests.cloud_hub.web.test_oauth import question

pytestmark = pytest.mark.anyio


@pytest.fixture
async def neighbour(stranger: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Another browser behind the same address."""
    async with httpx.AsyncClient(transport=stranger._transport, base_url="http://hub") as client:
        yield client


async def enter(browser: httpx.AsyncClient, password: str, username: str = "clinic") -> int:
    answer = await browser.post("/api/v1/session", json={"username": username, "password": password})
    return answer.status_code


async def test_a_neighbour_who_tries_a_name_holds_up_that_account_in_no_browser_that_it_knows(
    stranger: httpx.AsyncClient, neighbour: httpx.AsyncClient, password: str
) -> None:
    assert await enter(stranger, password) == 200
    tried = [await enter(neighbour, "wrong-password-0") for _ in range(FREE_FAILURES + 1)]
    assert tried == [401] * FREE_FAILURES + [429]
    assert await enter(stranger, password) == 200
    form = question(username="clinic", password=password)
    assert (await stranger.post("/oauth/authorize", data=form)).status_code == 303
    # The neighbour's own browser is not known to it, whatever else it knows.
    assert await enter(neighbour, password, "physician") == 200
    assert await enter(neighbour, password) == 429


async def test_guessing_goes_no_faster_in_a_browser_that_is_known(
    stranger: httpx.AsyncClient, neighbour: httpx.AsyncClient, password: str
) -> None:
    await enter(stranger, password)
    tried = [await enter(stranger, "wrong-password-0") for _ in range(FREE_FAILURES + 1)]
    assert tried == [401] * FREE_FAILURES + [429]
    assert await enter(neighbour, password) == 200
    # Names that it does not know count for the address, as from anywhere.
    tried = [await enter(stranger, "wrong-password-0", "physician") for _ in range(FREE_FAILURES)]
    assert await enter(neighbour, "wrong-password-0", "physician") == 429


@pytest.mark.parametrize(("hosts", "last"), [("2001:db8:1:2::{:x}", 429), ("::ffff:192.0.2.{}", 401)])
async def test_addresses_of_one_ipv6_line_count_as_one_and_those_of_ipv4_apart(
    stranger: httpx.AsyncClient, hosts: str, last: int
) -> None:
    transport = stranger._transport
    assert isinstance(transport, httpx.ASGITransport)
    tried = []
    for number in range(FREE_FAILURES + 1):
        transport.client = (hosts.format(number + 1), 1)
        tried.append(await enter(stranger, "wrong-password-0"))
    assert tried == [401] * FREE_FAILURES + [last]


async def test_what_the_browser_keeps_opens_nothing_ends_and_cannot_be_made_up(
    stranger: httpx.AsyncClient, neighbour: httpx.AsyncClient, password: str, clock: Any
) -> None:
    answer = await stranger.post("/api/v1/session", json={"username": "clinic", "password": password})
    (kept,) = [one.lower() for one in answer.headers.get_list("set-cookie") if one.startswith("yz_known=")]
    assert "httponly" in kept
    # Strict is not sent on the way back from a provider, and the list would begin anew with whoever comes so.
    assert "samesite=lax" in kept
    sealed = stranger.cookies["yz_known"]
    neighbour.cookies["yz_known"] = sealed
    assert (await neighbour.get("/api/v1/session")).status_code == 401
    assert "clinic" not in sealed
    for browser, cookie in ((neighbour, sealed[:-4] + "AAAA"), (stranger, sealed)):
        browser.cookies.clear()
        browser.cookies["yz_known"] = cookie
        clock.pass_s(LIFETIME_S if browser is stranger else 0)
        tried = [await enter(browser, "wrong-password-0") for _ in range(FREE_FAILURES)]
        assert tried == [401] * FREE_FAILURES
        browser.cookies.clear()
        assert await enter(browser, password) == 429
        clock.pass_s(LONGEST_S * 20)


async def test_a_station_of_many_keeps_the_last_eight(
    stranger: httpx.AsyncClient, access: Access, password: str
) -> None:
    tickets = Tickets(access.second.seal, access.now_ns)
    names = [f"name-{number}" for number in range(LONGEST_LIST)]
    fields = {"id": "x", "usernames": json.dumps(names)}
    stranger.cookies["yz_known"] = tickets.write(PURPOSE, fields, 60)
    answer = await stranger.post("/api/v1/session", json={"username": "clinic", "password": password})
    (kept,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("yz_known=")]
    read = tickets.read(PURPOSE, kept.split("=", 1)[1].split(";")[0].strip('"'))
    assert read is not None
    assert (read["id"], json.loads(read["usernames"])) == ("x", ["clinic", *names[:-1]])


async def test_after_many_failures_an_address_gets_an_attempt_a_second_whatever_the_names(
    stranger: httpx.AsyncClient, neighbour: httpx.AsyncClient, access: Access, password: str, clock: Any
) -> None:
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    access.pause = pause
    await enter(stranger, password)
    for number in range(CROWD + 2):
        await enter(neighbour, "wrong-password-0", f"name-{number}")
    assert paused == [0.0] * (CROWD + 1) + [PACE_S] * 2
    await enter(stranger, password)
    assert paused[-1] == 0.0
    clock.pass_s(3 * 120)
    await enter(neighbour, "wrong-password-0", "physician")
    assert paused[-1] == 0.0

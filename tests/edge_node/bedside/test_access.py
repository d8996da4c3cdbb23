"""Who gets in: sign-in with the hub gone, CSRF, origin, replay after sign-out, rights of each role."""

import asyncio
import time

import httpx
import pytest
from fastapi.routing import APIRoute
from telemed import passwords
from telemed.v1 import event_pb2

from edge_node.bedside.accounts import FREE_FAILURES, SESSION_LIMIT, SESSION_S, Refused, Session

from .conftest import NS, PASSWORD, SITE, START_NS, House, account, sign_in

pytestmark = pytest.mark.anyio
NAMES = {
    "key": f"{SITE}:B01",
    "alarm_id": "a",
    "referral_id": "r",
    "person_id": "p-1",
    "study_id": "s-1",
    "study": "1.2",
    "import_id": "a" * 32,
}
OBSERVE = f"/api/v1/beds/{SITE}:B01/observations"


async def test_a_person_of_the_site_signs_in_and_out(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    me = (await client.get("/api/v1/session")).json()
    assert (me["username"], me["role"], me["name"], me["sites"]) == (
        "clinic",
        "clinic",
        {"zh": "clinic中", "en": "clinic"},
        [SITE],
    )
    ((name, cookie),) = client.cookies.items()
    assert (await client.delete("/api/v1/session")).status_code == 204
    client.cookies.set(name, cookie)
    replayed = await client.get("/api/v1/session")
    assert (replayed.status_code, replayed.json()["code"]) == (401, "not-signed-in")


async def test_the_cookie_is_named_by_port_because_browsers_keep_cookies_by_host(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    (name,) = client.cookies
    assert name == f"yz_session_{client.base_url.port or 0}"


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/session", json={"username": "clinic", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


async def test_where_no_account_can_be_read_for_want_of_a_key_that_is_said(
    client: httpx.AsyncClient, house: House
) -> None:
    entered = {"username": "clinic", "password": PASSWORD}
    house.stuck = [("store-locked", "")]
    assert (await client.post("/api/v1/session", json=entered)).status_code == 200
    house.log.rows.clear()
    refused = await client.post("/api/v1/session", json=entered)
    assert (refused.status_code, refused.json()["code"]) == (503, "store-locked")
    assert "密钥" in refused.json()["text"]["zh"]
    assert "put the key back" in refused.json()["text"]["en"]
    house.stuck = []
    assert (await client.post("/api/v1/session", json=entered)).json()["code"] == "sign-in-refused"


@pytest.mark.parametrize("username", ["nobody", "elsewhere", "operator"])
async def test_who_has_no_business_here_is_refused_like_a_wrong_password(
    client: httpx.AsyncClient, username: str
) -> None:
    wrong = await client.post("/api/v1/session", json={"username": "clinic", "password": "wrong"})
    refused = await client.post("/api/v1/session", json={"username": username, "password": PASSWORD})
    assert refused.status_code == 401
    assert refused.json() == wrong.json()


async def test_wrong_tries_wait_longer_and_longer(client: httpx.AsyncClient, house: House) -> None:
    async def attempt(password: str) -> httpx.Response:
        return await client.post("/api/v1/session", json={"username": "clinic", "password": password})

    for _ in range(FREE_FAILURES - 1):
        assert (await attempt("wrong")).status_code == 401
    assert (await attempt("wrong")).status_code == 429
    waiting = await attempt(PASSWORD)
    assert (waiting.status_code, waiting.headers["retry-after"]) == (429, "1")
    house.now_ns += 1 * NS
    assert (await attempt("wrong")).headers["retry-after"] == "2"
    house.now_ns += 2 * NS
    assert (await attempt(PASSWORD)).status_code == 200


async def test_a_session_ends_after_its_time_and_with_its_account(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    disabled = account("clinic", "clinic")
    disabled.event_id = "again"
    disabled.account_set.disabled = True
    house.log.order(disabled)
    assert (await client.get("/api/v1/session")).status_code == 401
    await sign_in(client, "physician")
    house.now_ns += SESSION_S * NS
    assert (await client.get("/api/v1/session")).status_code == 401


@pytest.mark.parametrize("token", [None, "", "wrong"])
async def test_a_change_needs_the_token_of_its_session(client: httpx.AsyncClient, token: str | None) -> None:
    await sign_in(client)
    del client.headers["X-CSRF-Token"]
    headers = {} if token is None else {"X-CSRF-Token": token}
    answer = await client.post(OBSERVE, json={"acvpu": "A"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "refused-csrf")


async def test_a_page_of_another_site_is_refused_even_with_cookie_and_token(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    for origin, status in (("http://evil.example", 403), ("null", 403), ("http://station", 201)):
        answer = await client.post(OBSERVE, json={"acvpu": "A"}, headers={"Origin": origin})
        assert answer.status_code == status
    body = {"username": "clinic", "password": PASSWORD}
    assert (
        await client.post("/api/v1/session", json=body, headers={"Origin": "http://evil.example"})
    ).status_code == 403


OPEN = {("GET", "/api/v1/station"), ("POST", "/api/v1/session"), ("GET", "/healthz"), ("GET", "/readyz")}
OPEN |= {("GET", "/metrics"), ("GET", "/{path:path}")}
CAREGIVER = {("GET", "/api/v1/session"), ("DELETE", "/api/v1/session"), ("GET", "/api/v1/beds/{key}/trends")}
CAREGIVER |= {("POST", "/api/v1/beds/{key}/observations"), ("GET", "/api/v1/persons/{person_id}/consents")}
CAREGIVER |= {("POST", "/api/v1/persons/{person_id}/consents/withdrawal")}


def routes(house: House) -> list[tuple[str, str]]:
    """Every route of the application, also of the routers inside it."""
    found = []
    for path, item in house.app.openapi()["paths"].items():
        found += [(method.upper(), path) for method in item]
    found += [
        (method, route.path)
        for route in house.app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        if (method, route.path) not in found
    ]
    return found


async def test_nothing_but_the_named_routes_is_open_to_a_stranger(client: httpx.AsyncClient, house: House) -> None:
    all_routes = routes(house)
    assert ("POST", "/api/v1/referrals") in all_routes
    for method, path in all_routes:
        if (method, path) in OPEN:
            continue
        answer = await client.request(
            method,
            path.format(**NAMES),
            json={"purpose": "C4", "version": 0},
        )
        assert answer.status_code == 401, (method, path, answer.text)


async def test_a_caregiver_may_use_nothing_but_what_is_named(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client, "daughter")
    for method, path in routes(house):
        if (method, path) in OPEN | CAREGIVER:
            continue
        answer = await client.request(
            method,
            path.format(**NAMES),
            json={"purpose": "C4", "version": 0},
        )
        assert answer.status_code == 403, (method, path, answer.text)


async def test_a_caregiver_finds_no_bed_but_their_own_persons(client: httpx.AsyncClient) -> None:
    await sign_in(client, "daughter")
    assert (await client.get(f"/api/v1/beds/{SITE}:B01/trends")).status_code == 200
    for key in (f"{SITE}:B02", "other-site:B01", f"{SITE}:B99", "B01"):
        assert (await client.get(f"/api/v1/beds/{key}/trends")).status_code == 404


async def test_a_session_ends_when_its_account_gets_another_role(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    changed = account("clinic", "caregiver")
    changed.event_id = "again"
    house.log.order(changed)
    assert (await client.get("/api/v1/session")).status_code == 401


async def test_trends_begin_when_the_person_came_not_with_who_lay_there_before(
    client: httpx.AsyncClient, house: House
) -> None:
    came_ns = START_NS - 3600 * NS
    moved = event_pb2.BedAssigned(person_id="p-9", from_unix_ns=came_ns)
    house.log.order(event_pb2.Event(event_id="in", aggregate_type="bed", aggregate_id="B01", bed_assigned=moved))
    await sign_in(client)
    answer = (await client.get(f"/api/v1/beds/{SITE}:B01/trends?hours=6")).json()
    assert (answer["from_ms"], answer["to_ms"]) == (came_ns // 10**6, START_NS // 10**6)


async def test_the_station_tells_strangers_no_names(client: httpx.AsyncClient) -> None:
    text = (await client.get("/api/v1/station")).text
    assert "谷" not in text
    assert '"link":"live"' in text
    assert "028-0000-1111" in text


@pytest.mark.parametrize(
    ("address", "token", "status"),
    [("127.0.0.1", "", 200), ("10.0.0.9", "", 403), ("10.0.0.9", "wrong", 403), ("10.0.0.9", "scrape-me", 200)],
)
async def test_figures_are_for_loopback_or_a_token(house: House, address: str, token: str, status: int) -> None:
    transport = httpx.ASGITransport(app=house.app, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://station") as found:
        answer = await found.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status
    assert ('edge_hl7_answers_total{kind="AA"} 6.0' in answer.text) == (status == 200)


async def test_tries_made_at_once_are_counted_like_tries_one_after_another(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def wrong(_stored: str, password: str) -> bool:
        tried.append(password)
        return False

    monkeypatch.setattr(passwords, "is_right", wrong)
    accounts = house.station.accounts
    for username in ("clinic", "nobody"):
        tried.clear()
        answers = await asyncio.gather(*[accounts.sign_in(username, "wrong") for _ in range(40)])
        assert len(tried) == FREE_FAILURES
        assert all(isinstance(one, Refused) for one in answers)


async def test_a_thousand_made_up_names_do_not_wash_away_the_waits_of_an_account(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "is_right", lambda _stored, _password: False)
    accounts = house.station.accounts
    for _ in range(FREE_FAILURES):
        await accounts.sign_in("clinic", "wrong")
    for number in range(SESSION_LIMIT + 1):
        await accounts.sign_in(f"made-up-{number}", "wrong")
    again = await accounts.sign_in("clinic", "wrong")
    assert isinstance(again, Refused)
    assert not again.was_tried


async def test_a_right_password_is_no_failure(house: House) -> None:
    for _ in range(2 * FREE_FAILURES):
        assert isinstance(await house.station.accounts.sign_in("clinic", PASSWORD), Session)


async def test_an_unknown_name_takes_as_long_as_a_known_one(house: House) -> None:
    strong = account("clinic", "clinic")
    strong.event_id = "as the hub makes them"
    strong.account_set.password_hash = passwords.HASHER.hash(PASSWORD)
    house.log.order(strong)

    async def seconds(username: str) -> float:
        house.now_ns += 300 * NS
        begin = time.process_time()
        assert isinstance(await house.station.accounts.sign_in(username, "wrong"), Refused)
        return time.process_time() - begin

    known = min([await seconds("clinic") for _ in range(5)])
    for stranger in ("nobody", "elsewhere"):
        unknown = min([await seconds(stranger) for _ in range(5)])
        assert known / 2 < unknown < known * 2, stranger


async def test_a_session_ends_when_the_password_is_changed_at_the_hub(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    changed = account("clinic", "clinic")
    changed.event_id = "again"
    changed.account_set.password_hash = passwords.HASHER.hash("another horse battery")
    house.log.order(changed)
    assert (await client.get("/api/v1/session")).status_code == 401


async def test_a_first_password_that_nobody_changed_ends_here_too_and_the_session_with_it(
    client: httpx.AsyncClient, house: House
) -> None:
    first = account("clinic", "clinic")
    first.event_id = "first"
    first.account_set.password_ends_unix_ns = house.now_ns + 3600 * NS
    house.log.order(first)
    await sign_in(client)
    house.now_ns += 3600 * NS
    assert (await client.get("/api/v1/session")).status_code == 401
    house.audit.entries.clear()
    late = await client.post("/api/v1/session", json={"username": "clinic", "password": PASSWORD})
    assert (late.status_code, late.json()["code"]) == (401, "password-ended")
    assert "初始密码" in late.json()["text"]["zh"]
    assert "first password" in late.json()["text"]["en"]
    assert house.audit.entries == [("clinic", "sign-in", "account", "password-ended")]
    wrong = await client.post("/api/v1/session", json={"username": "clinic", "password": "wrong"})
    assert wrong.json()["code"] == "sign-in-refused"
    chosen = account("clinic", "clinic")
    chosen.event_id = "chosen"
    house.log.order(chosen)
    await sign_in(client)

"""Signing in with a real identity provider: what comes back is believed only where all of it fits."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection
from telemed.roles import Role

from cloud_hub import server
from cloud_hub.access import federated
from cloud_hub.access import passkeys as keys
from cloud_hub.access.sign_in import Access, SecondFactor
from cloud_hub.access.tickets import Tickets
from cloud_hub.config import OidcConfig, PasskeysConfig, WebConfig
from cloud_hub.store import accounts, identities, passkeys
from cloud_hub.store.identities import Identity
from cloud_hub.store.passkeys import Passkey
from cloud_hub.web import problems
from cloud_hub.web.api import oidc, second_factor, session, sign_in_ways
from cloud_hub.web.api import passkeys as own_keys
from cloud_hub.web.limits import RequestLimits
from tests.cloud_hub.access.conftest import Clock
from tests.fakes import oidc_provider
from tests.fakes.authenticator import Authenticator
from tests.fakes.oidc_provider import OidcProvider, leave, walk
from tests.fakes.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
API = "/api/v1"
KEYS_ORIGIN = "http://localhost:8080"


@pytest.fixture
def clock() -> Clock:
    """The provider goes by the machine's clock; the hub's may be put wrong against it."""
    return Clock(time.time_ns())


@dataclass
class Place:
    """A hub, its provider, and somebody's browser at the hub and at the provider."""

    url: str
    access: Access
    provider: OidcProvider
    hub: httpx.AsyncClient
    there: httpx.AsyncClient

    async def begin(self) -> str:
        answer = await self.hub.post(f"{API}/oidc/begin")
        assert answer.status_code == 200, answer.text
        address: str = answer.json()["address"]
        return address

    async def sign_in(self, who: str, **more: str) -> httpx.Response:
        """Go all the way; return how the hub answers what the browser brings back."""
        return await self.hub.get(await walk(self.there, await self.begin(), who, **more))

    async def me(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.hub.get(f"{API}/session")).json()
        self.hub.headers["X-CSRF-Token"] = found.get("csrf_token", "")
        return found


def config(provider: OidcProvider, folder: Path, **more: Any) -> OidcConfig:
    secret = folder / "secret"
    secret.write_text(oidc_provider.CLIENT_SECRET + "\n")
    wanted: dict[str, Any] = {
        "issuer": provider.issuer,
        "client_id": oidc_provider.CLIENT_ID,
        "client_secret_file": secret,
        "redirect_uri": f"{provider.hub}api/v1/oidc/callback",
        "name_zh": "医院统一认证",
        "name_en": "Hospital sign-in",
        "scopes": ["openid"],
        "userinfo": True,
        "second_factor_amr": ["mfa"],
        "second_factor_acr": ["urn:test:two"],
        "private_network": True,
        "rules": [
            {"claim": "groups", "value": "tele-doctors", "role": "physician", "creates_account": True},
            {"claim": "groups", "value": "guests", "role": "nurse"},
            {
                "claim": "realm_access.roles",
                "value": "qingshi-doctors",
                "role": "clinic",
                "sites": ["qingshi"],
                "creates_account": True,
            },
        ],
    }
    return OidcConfig.model_validate(wanted | more)


def refusal(answer: httpx.Response) -> str:
    """What the sign-in page is told."""
    assert answer.status_code == 303
    assert "yz_session" not in answer.cookies
    return parse_qs(urlsplit(answer.headers["Location"]).query)["refused"][0]


@contextlib.asynccontextmanager
async def served(app: FastAPI, port: int) -> AsyncIterator[None]:
    serving = server.make(app)
    listener = server.listen(WebConfig(port=port))
    task = asyncio.create_task(serving.serve(sockets=[listener]))
    try:
        yield
    finally:
        serving.stop()
        await task
        listener.close()


@pytest.fixture
async def place(access: Access, tmp_path: Path) -> AsyncIterator[Place]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    app = FastAPI()
    app.state.access = access
    problems.install(app)
    app.add_middleware(RequestLimits)
    app.state.passkeys = keys.make(PasskeysConfig(rp_id="localhost", origins=[KEYS_ORIGIN]), access)
    for module in (session, sign_in_ways, oidc, second_factor, own_keys):
        app.include_router(module.router)
    with oidc_provider.running(free_port(), url) as provider:
        app.state.federated = federated.make(config(provider, tmp_path), access)
        async with (
            served(app, port),
            httpx.AsyncClient(base_url=url, timeout=15) as hub,
            httpx.AsyncClient(timeout=15) as there,
        ):
            yield Place(url, access, provider, hub, there)


async def test_somebody_new_gets_the_account_that_the_mapping_gives(place: Place, audit_of: Any) -> None:
    assert (await place.hub.get(f"{API}/sign-in-ways")).json()["provider"]["en"] == "Hospital sign-in"
    asked = await place.begin()
    question = parse_qs(urlsplit(asked).query)
    assert question["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge"} <= set(question)
    answer = await place.hub.get(await walk(place.there, asked, "p-1"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    me = await place.me()
    assert (me["username"], me["role"], me["name"]["zh"]) == ("fuling", "physician", "茯苓")
    trail = audit_of()
    assert ("identity-provider", "account-set", "account/fuling", "ok") in trail
    assert trail[-1] == ("fuling", "sign-in", "account/fuling", "ok")
    place.there.cookies.clear()
    assert (await place.sign_in("p-4")).headers["Location"] == "/"
    account = await place.access.database.read(lambda c: accounts.account_of(c, "beimu"))
    assert account is not None
    assert (account.role, account.sites) == (Role.CLINIC, ("qingshi",))


@pytest.mark.parametrize(
    ("who", "why"), [("p-2", "identity-unknown"), ("p-3", "identity-name-taken"), ("p-5", "identity-unknown")]
)
async def test_whom_no_line_maps_or_whose_name_is_anothers_gets_nothing(
    place: Place, audit_of: Any, who: str, why: str
) -> None:
    before = len(await place.access.database.read(accounts.accounts))
    assert refusal(await place.sign_in(who)) == "identity-unknown"
    assert len(await place.access.database.read(accounts.accounts)) == before
    assert audit_of()[-1][1:] == ("sign-in", f"account/{oidc_provider.PEOPLE[who]['preferred_username']}", why)


async def test_role_and_sites_follow_the_claims_and_go_with_them(place: Place) -> None:
    await place.sign_in("p-1")
    assert (await place.me())["role"] == "physician"
    place.provider.people["p-1"] |= {"groups": [], "realm_access": {"roles": ["qingshi-doctors"]}}
    place.provider.stop()
    place.provider.start()
    await place.sign_in("p-1")
    me = await place.me()
    assert (me["role"], me["sites"]) == ("clinic", ["qingshi"])
    place.provider.people["p-1"] |= {"realm_access": {"roles": []}}
    place.provider.stop()
    place.provider.start()
    key = Passkey("fuling", b"c", b"p", 0, b"h", "key", (), 1)
    await place.access.database.write(lambda c: passkeys.add(c, key))
    assert refusal(await place.sign_in("p-1")) == "identity-unknown"
    assert (await place.hub.get(f"{API}/session")).status_code == 401
    assert await place.access.database.read(lambda c: passkeys.count(c, "fuling")) == 0


async def test_each_sign_in_is_noted_as_word_of_the_provider(place: Place, clock: Clock) -> None:
    await place.sign_in("p-1")
    clock.pass_s(50)
    now_ns = clock()
    assert await place.access.database.read(lambda c: identities.is_unheard(c, "fuling", now_ns))
    await place.sign_in("p-1")
    assert not await place.access.database.read(lambda c: identities.is_unheard(c, "fuling", now_ns))


@pytest.mark.parametrize("is_half_way", [False, True])
async def test_nobody_comes_in_as_a_program_however_it_was_linked(place: Place, is_half_way: bool) -> None:
    linked = Identity(place.provider.issuer, "p-2", "api", is_mapped=False)
    await place.access.database.write(lambda c: identities.link(c, linked, 1))
    if not is_half_way:
        assert refusal(await place.sign_in("p-2")) == "identity-unknown"
        return
    ticket = Tickets(place.access.second.seal, place.access.now_ns).write("half-way", {"username": "api", "sid": ""}, 9)
    proved = await place.hub.post(
        f"{API}/oidc/second-factor", json={"code": "000000"}, headers={"Cookie": f"yz_asked={ticket}"}
    )
    assert proved.json()["code"] == "provider-refused"


async def test_an_account_linked_by_an_administrator_keeps_its_own_role(place: Place) -> None:
    linked = Identity(place.provider.issuer, "p-2", "operator", is_mapped=False)
    await place.access.database.write(lambda c: identities.link(c, linked, 1))
    assert (await place.sign_in("p-2")).headers["Location"] == "/"
    assert (await place.me())["role"] == "operator"


async def test_an_account_that_is_disabled_stays_out(place: Place, audit_of: Any) -> None:
    await place.sign_in("p-1")

    def disable(connection: Connection) -> None:
        account = accounts.account_of(connection, "fuling")
        assert account is not None
        accounts.save_account(connection, replace(account, disabled=True), 1)

    await place.access.database.write(disable)
    assert refusal(await place.sign_in("p-1")) == "identity-unknown"
    assert audit_of()[-1] == ("fuling", "sign-in", "account/fuling", "account-disabled")


async def test_an_answer_to_another_question_or_of_another_browser_is_refused(place: Place) -> None:
    back = await walk(place.there, await place.begin(), "p-1")
    forged = back.replace("state=", "state=x")
    assert refusal(await place.hub.get(forged)) == "provider-refused"
    back = await walk(place.there, await place.begin(), "p-1")
    async with httpx.AsyncClient(base_url=place.url) as another:
        assert refusal(await another.get(back)) == "provider-refused"
    foreign = back.replace("iss=http", "iss=https")
    assert foreign != back
    assert refusal(await place.hub.get(foreign)) == "provider-refused"


async def test_wrong_answers_shut_nobody_out_and_what_nobody_asked_for_is_not_even_noted(
    place: Place, audit_of: Any
) -> None:
    before = audit_of()
    async with httpx.AsyncClient(base_url=place.url) as another:
        for _ in range(5):
            assert refusal(await another.get(f"{API}/oidc/callback?code=x&state=y")) == "provider-refused"
    assert audit_of() == before
    assert (await place.sign_in("p-1")).headers["Location"] == "/"
    for _ in range(12):
        state = parse_qs(urlsplit(await place.begin()).query)["state"][0]
        assert refusal(await place.hub.get(f"{API}/oidc/callback?code=x&state={state}")) == "provider-refused"
    place.there.cookies.clear()
    assert (await place.sign_in("p-1")).headers["Location"] == "/"
    tried = [entry[3] for entry in audit_of() if entry[3] in ("provider-refused", "many-refused")]
    assert tried == ["provider-refused"] * 10 + ["many-refused"]


async def test_a_code_counts_once_and_a_refusal_of_the_person_is_taken(place: Place, audit_of: Any) -> None:
    back = await walk(place.there, await place.begin(), "p-1")
    ticket = place.hub.cookies["yz_asked"]
    assert (await place.hub.get(back)).headers["Location"] == "/"
    place.hub.cookies.clear()
    again = await place.hub.get(back, headers={"Cookie": f"yz_asked={ticket}"})
    assert refusal(again) == "provider-refused"
    async with httpx.AsyncClient(timeout=15) as fresh:
        declined = await walk(fresh, await place.begin(), "p-1", what="decline")
    assert refusal(await place.hub.get(declined)) == "provider-refused"
    assert audit_of()[-1] == ("", "sign-in", "account/", "provider-refused")


@pytest.mark.parametrize("what", ["nonce", "verifier"])
async def test_nonce_and_verifier_must_be_those_of_the_question(place: Place, what: str) -> None:
    back = await walk(place.there, await place.begin(), "p-1")
    tickets = Tickets(place.access.second.seal, place.access.now_ns)
    fields = tickets.read("asked", place.hub.cookies["yz_asked"])
    assert fields is not None
    swapped = tickets.write("asked", fields | {what: "another" * 8}, 600)
    place.hub.cookies.clear()
    answer = await place.hub.get(back, headers={"Cookie": f"yz_asked={swapped}"})
    assert refusal(answer) == "provider-refused"


async def test_new_keys_of_the_provider_are_fetched_and_unknown_ones_refused(place: Place, clock: Clock) -> None:
    await place.sign_in("p-1")
    place.provider.stop()
    place.provider.key = oidc_provider.new_key("second")
    place.provider.start()
    clock.pass_s(11)
    assert (await place.sign_in("p-1")).headers["Location"] == "/"
    place.provider.stop()
    place.provider.key = oidc_provider.new_key("second")
    place.provider.start()
    assert refusal(await place.sign_in("p-1")) == "provider-refused"


@pytest.mark.parametrize("off_s", [-50, 50, 340])
async def test_clocks_may_be_a_minute_apart(place: Place, clock: Clock, off_s: int) -> None:
    clock.pass_s(off_s)
    assert (await place.sign_in("p-1")).headers["Location"] == "/"


@pytest.mark.parametrize("off_s", [-90, 400])
async def test_a_token_of_another_time_is_refused(place: Place, clock: Clock, off_s: int) -> None:
    """It lives 300 s, and a minute is forgiven."""
    clock.pass_s(off_s)
    assert refusal(await place.sign_in("p-1")) == "provider-refused"


async def test_a_provider_that_is_down_says_so_and_local_sign_in_goes_on(place: Place, password: str) -> None:
    place.provider.stop()
    began = time.monotonic()
    down = await place.hub.post(f"{API}/oidc/begin")
    assert time.monotonic() - began < 5
    assert (down.status_code, down.json()["code"]) == (503, "provider-away")
    assert "local account" in down.json()["text"]["en"]
    local = await place.hub.post(f"{API}/session", json={"username": "clinic", "password": password})
    assert local.status_code == 200


async def test_a_provider_that_hangs_is_given_up_and_holds_nobody_up(
    place: Place, access: Access, tmp_path: Path, password: str
) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()

    place.provider.stop()
    hanging = await asyncio.start_server(hang, "127.0.0.1", place.provider.port)
    try:
        asking = asyncio.create_task(place.hub.post(f"{API}/oidc/begin"))
        local = await place.hub.post(f"{API}/session", json={"username": "clinic", "password": password})
        assert local.status_code == 200
        assert not asking.done()
        assert (await asking).json()["code"] == "provider-away"
    finally:
        hanging.close()


async def test_the_providers_second_factor_counts_where_configuration_says_so(place: Place) -> None:
    place.access.second = SecondFactor(frozenset({Role.PHYSICIAN}))
    await place.sign_in("p-1")
    assert (await place.me())["must_enrol"] is True
    for strong in ({"amr": "pwd mfa"}, {"acr": "urn:test:two"}):
        async with httpx.AsyncClient(timeout=15) as fresh:
            back = await walk(fresh, await place.begin(), "p-1", **strong)
        await place.hub.get(back)
        assert (await place.me())["must_enrol"] is False
    async with httpx.AsyncClient(timeout=15) as fresh:
        await place.hub.get(await walk(fresh, await place.begin(), "p-1", amr="pwd"))
    assert (await place.me())["must_enrol"] is True


async def test_who_has_a_second_factor_here_is_asked_for_it_unless_the_provider_did(place: Place, clock: Clock) -> None:
    await place.sign_in("p-1")
    await place.me()
    secret = (await place.hub.post(f"{API}/second-factor/totp")).json()["secret"]
    totp = pyotp.TOTP(secret)
    await place.hub.post(f"{API}/second-factor/totp/confirm", json={"code": totp.at(clock() // 10**9)})
    place.hub.cookies.delete("yz_session")
    assert refusal(await place.sign_in("p-1")) == "second-factor-needed"
    assert (await place.hub.get(f"{API}/session")).status_code == 401
    wrong = await place.hub.post(f"{API}/oidc/second-factor", json={"code": "000000"})
    assert wrong.json()["code"] == "second-factor-refused"
    clock.pass_s(30)
    proved = await place.hub.post(f"{API}/oidc/second-factor", json={"code": totp.at(clock() // 10**9)})
    assert proved.json()["username"] == "fuling"
    assert (await place.hub.get(f"{API}/session")).status_code == 200


async def test_who_has_keys_alone_answers_with_one_after_the_provider(place: Place) -> None:
    stranger = await place.hub.post(f"{API}/oidc/key/begin")
    assert stranger.json()["code"] == "provider-refused"
    await place.sign_in("p-1")
    await place.me()
    key = Authenticator(KEYS_ORIGIN, "localhost")
    asked = (await place.hub.post(f"{API}/passkeys/begin")).json()["options"]
    added = await place.hub.post(f"{API}/passkeys", json={"name": "k", "credential": key.create(asked)})
    assert added.status_code == 201
    place.hub.cookies.delete("yz_session")
    assert refusal(await place.sign_in("p-1")) == "second-factor-needed"
    asked = (await place.hub.post(f"{API}/oidc/key/begin")).json()["options"]
    other = Authenticator(KEYS_ORIGIN, "localhost")
    refused = await place.hub.post(f"{API}/passkeys/proof", json={"credential": other.get(asked)})
    assert refused.json()["code"] == "passkey-refused"
    code = (await place.hub.post(f"{API}/passkeys/proof", json={"credential": key.get(asked)})).json()["code"]
    proved = await place.hub.post(f"{API}/oidc/second-factor", json={"code": code})
    assert (proved.json()["username"], proved.json()["must_enrol"]) == ("fuling", False)
    assert (await place.hub.get(f"{API}/session")).status_code == 200


async def test_signing_out_ends_the_session_and_leads_to_the_provider(place: Place) -> None:
    await place.sign_in("p-1")
    await place.me()
    left = await place.hub.post(f"{API}/oidc/sign-out")
    address = urlsplit(left.json()["address"])
    assert (address.netloc, address.path) == (urlsplit(place.provider.issuer).netloc, "/session/end")
    assert parse_qs(address.query)["post_logout_redirect_uri"] == [place.url]
    assert (await place.hub.get(f"{API}/session")).status_code == 401


async def test_signing_out_at_the_provider_ends_the_session_here(place: Place, audit_of: Any) -> None:
    await place.sign_in("p-1")
    await place.me()
    await leave(place.there, place.provider.issuer)
    assert (await place.hub.get(f"{API}/session")).status_code == 401
    assert audit_of()[-1] == ("identity-provider", "provider-sign-out", "account/fuling", "ok")


async def test_a_logout_token_that_the_provider_did_not_write_ends_nothing(place: Place) -> None:
    await place.sign_in("p-1")
    for body in ({"logout_token": "e30.e30.e30"}, {"logout_token": "x"}, {}):
        answer = await place.hub.post(f"{API}/oidc/back-channel-logout", data=body)
        assert answer.status_code in (401, 422)
    assert (await place.hub.get(f"{API}/session")).status_code == 200


async def test_a_hub_without_a_provider_offers_none_and_signs_out_all_the_same(access: Access, password: str) -> None:
    app = FastAPI()
    app.state.access = access
    problems.install(app)
    for module in (session, sign_in_ways, oidc):
        app.include_router(module.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as browser:
        assert (await browser.get(f"{API}/sign-in-ways")).json()["provider"] is None
        assert (await browser.post(f"{API}/oidc/begin")).status_code == 404
        assert (await browser.get(f"{API}/oidc/callback")).status_code == 404
        signed_in = await browser.post(f"{API}/session", json={"username": "clinic", "password": password})
        token = {"X-CSRF-Token": signed_in.json()["csrf_token"]}
        assert (await browser.post(f"{API}/oidc/sign-out", headers=token)).json() == {"address": ""}
        assert (await browser.get(f"{API}/session")).status_code == 401

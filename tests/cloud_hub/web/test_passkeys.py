"""Passkeys over HTTP with keys in software: what counts, and each thing that must not."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import cbor2
import httpx
import pyotp
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telemed.roles import Role

from cloud_hub.access import passkeys as keys
from cloud_hub.access.oauth import OAuth
from cloud_hub.access.sign_in import Access, SecondFactor
from cloud_hub.config import PasskeysConfig
from cloud_hub.store import accounts, identities
from cloud_hub.store.identities import Identity
from cloud_hub.web import problems
from cloud_hub.web.api import passkeys, second_factor, session, sign_in_ways
from cloud_hub.web.limits import RequestLimits
from tests.cloud_hub.access.conftest import Clock
from tests.fakes.authenticator import Authenticator, packed, unpacked

pytestmark = pytest.mark.anyio
API, KEYS, ORIGIN, RP_ID = "/api/v1", "/api/v1/passkeys", "https://hub.example", "hub.example"
CONFIG = PasskeysConfig(rp_id=RP_ID, origins=[ORIGIN])


@asynccontextmanager
async def browsing(access: Access, *modules: ModuleType) -> AsyncIterator[httpx.AsyncClient]:
    """Serve some routes of a hub with keys to one browser."""
    access.second = SecondFactor(frozenset({Role.PHYSICIAN}))
    app = FastAPI()
    app.state.access = access
    app.state.passkeys = keys.make(CONFIG, access)
    problems.install(app)
    app.add_middleware(RequestLimits)
    for module in modules:
        app.include_router(module.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN) as client:
        yield client


@pytest.fixture
async def browser(access: Access) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(access, session, sign_in_ways, passkeys, second_factor) as client:
        yield client


@pytest.fixture
def key() -> Authenticator:
    return Authenticator(ORIGIN, RP_ID)


async def enter(browser: httpx.AsyncClient, who: str, password: str, code: str = "") -> httpx.Response:
    answer = await browser.post(f"{API}/session", json={"username": who, "password": password, "code": code})
    if answer.status_code == 200:
        browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return answer


async def add(browser: httpx.AsyncClient, key: Authenticator, name: str = "钥匙") -> httpx.Response:
    options = (await browser.post(f"{KEYS}/begin")).json()["options"]
    answer = await browser.post(KEYS, json={"name": name, "credential": key.create(options)})
    if answer.status_code == 201:
        browser.headers["X-CSRF-Token"] = answer.json()["me"]["csrf_token"]
    return answer


async def with_key(browser: httpx.AsyncClient, key: Authenticator) -> httpx.Response:
    options = (await browser.post(f"{KEYS}/sign-in/begin")).json()["options"]
    answer = await browser.post(f"{KEYS}/sign-in", json={"credential": key.get(options)})
    if answer.status_code == 200:
        browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return answer


async def proof(browser: httpx.AsyncClient, key: Authenticator, who: str, password: str) -> httpx.Response:
    begun = await browser.post(f"{KEYS}/proof/begin", json={"username": who, "password": password})
    assert begun.status_code == 200, begun.text
    return await browser.post(f"{KEYS}/proof", json={"credential": key.get(begun.json()["options"])})


async def enrolled(browser: httpx.AsyncClient, key: Authenticator, password: str, who: str = "physician") -> None:
    """Sign in as somebody, give them the key, and forget the session."""
    await enter(browser, who, password)
    assert (await add(browser, key)).status_code == 201
    browser.cookies.clear()


async def test_a_key_is_the_second_factor_from_then_on_and_opens_alone(
    browser: httpx.AsyncClient, key: Authenticator, password: str, audit_of: Any
) -> None:
    assert (await enter(browser, "physician", password)).json()["must_enrol"] is True
    before = browser.cookies["__Host-yz_session"]
    added = await add(browser, key, " 门诊钥匙 ")
    assert (added.json()["passkey"]["name"], added.json()["me"]["must_enrol"]) == ("门诊钥匙", False)
    assert browser.cookies["__Host-yz_session"] != before
    listed = (await browser.get(KEYS)).json()
    assert [one["used_ms"] for one in listed["passkeys"]] == [None]
    browser.cookies.clear()
    assert (await enter(browser, "physician", password)).json()["code"] == "second-factor-needed"
    opened = await with_key(browser, key)
    assert (opened.json()["username"], opened.json()["must_enrol"]) == ("physician", False)
    assert (await browser.get(KEYS)).json()["passkeys"][0]["used_ms"] is not None
    trail = audit_of()
    assert ("physician", "passkey-added", "account/physician", "ok") in trail
    assert trail[-1] == ("physician", "sign-in", "account/physician", "ok")


async def test_beside_a_password_a_keys_answer_is_a_code_that_counts_once(
    browser: httpx.AsyncClient, key: Authenticator, password: str, clock: Clock
) -> None:
    await enrolled(browser, key, password)
    code = (await proof(browser, key, "physician", password)).json()["code"]
    assert (await enter(browser, "clinic", password, code)).json()["username"] == "clinic"
    assert (await enter(browser, "physician", password, code)).json()["must_enrol"] is False
    assert (await enter(browser, "physician", password, code)).json()["code"] == "second-factor-refused"
    late = (await proof(browser, key, "physician", password)).json()["code"]
    clock.pass_s(121)
    assert (await enter(browser, "physician", password, late)).json()["code"] == "second-factor-refused"


async def test_an_account_may_have_several_keys_and_an_app_and_lose_one(
    browser: httpx.AsyncClient, key: Authenticator, password: str, clock: Clock
) -> None:
    second = Authenticator(ORIGIN, RP_ID)
    await enter(browser, "clinic", password)
    await add(browser, key, "一")
    await add(browser, second, "二")
    assert key.handle == second.handle
    secret = (await browser.post(f"{API}/second-factor/totp")).json()["secret"]
    code = pyotp.TOTP(secret).at(clock() // 10**9)
    confirmed = await browser.post(f"{API}/second-factor/totp/confirm", json={"code": code})
    browser.headers["X-CSRF-Token"] = confirmed.json()["me"]["csrf_token"]
    names = {one["name"]: one["key_id"] for one in (await browser.get(KEYS)).json()["passkeys"]}
    assert (await browser.post(f"{KEYS}/{names['一']}/remove")).status_code == 204
    assert (await browser.get(KEYS)).status_code == 401
    assert (await with_key(browser, key)).json()["code"] == "passkey-refused"
    assert (await with_key(browser, second)).status_code == 200
    clock.pass_s(30)
    app_code = pyotp.TOTP(secret).at(clock() // 10**9)
    assert (await enter(browser, "clinic", password, app_code)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [{"verifies": False}, {"present": False}, {"origin": "https://evil.example"}, {"rp_id": "evil.example"}],
)
async def test_an_answer_without_verification_presence_or_of_another_page_is_refused(
    browser: httpx.AsyncClient, key: Authenticator, password: str, change: dict[str, Any], audit_of: Any
) -> None:
    wrong = replace(key, **change)
    await enter(browser, "physician", password)
    assert (await add(browser, wrong)).json()["code"] == "passkey-refused"
    assert (await add(browser, key)).status_code == 201
    browser.cookies.clear()
    wrong = replace(key, **change)
    assert (await with_key(browser, wrong)).json()["code"] == "passkey-refused"
    assert audit_of()[-1] == ("", "sign-in", "account/", "passkey-refused")
    assert (await proof(browser, replace(key, **change), "physician", password)).json()["code"] == "passkey-refused"


async def test_a_role_that_needs_no_second_factor_may_have_a_key_without_verification_beside_a_password_only(
    browser: httpx.AsyncClient, key: Authenticator, password: str
) -> None:
    key.verifies = False
    await enrolled(browser, key, password, "caregiver")
    assert (await with_key(browser, key)).json()["code"] == "passkey-refused"
    code = (await proof(browser, key, "caregiver", password)).json()["code"]
    assert (await enter(browser, "caregiver", password, code)).status_code == 200


async def test_a_counter_that_goes_back_shows_a_copy_and_is_refused(
    browser: httpx.AsyncClient, key: Authenticator, password: str, audit_of: Any
) -> None:
    await enrolled(browser, key, password)
    copy = replace(key)
    assert (await with_key(browser, key)).status_code == 200
    assert (await with_key(browser, copy)).json()["code"] == "passkey-refused"
    assert audit_of()[-1][2:] == ("account/physician", "passkey-copied")
    assert (await with_key(browser, key)).status_code == 200


async def test_a_key_that_does_not_count_is_taken(
    browser: httpx.AsyncClient, key: Authenticator, password: str
) -> None:
    key.counter = -1
    await enrolled(browser, key, password)
    assert (await with_key(browser, key)).status_code == 200
    assert (await with_key(browser, key)).status_code == 200


async def test_a_challenge_counts_once_for_its_browser_purpose_and_two_minutes(
    browser: httpx.AsyncClient, key: Authenticator, password: str, clock: Clock
) -> None:
    key.counter = -1
    await enrolled(browser, key, password)
    options = (await browser.post(f"{KEYS}/sign-in/begin")).json()["options"]
    body, ticket = (
        {"credential": key.get(options)},
        {"Cookie": f"__Host-yz_key_asked={browser.cookies['__Host-yz_key_asked']}"},
    )
    browser.cookies.clear()
    assert (await browser.post(f"{KEYS}/sign-in", json=body)).json()["code"] == "passkey-refused"
    assert (await browser.post(f"{KEYS}/proof", json=body, headers=ticket)).json()["code"] == "passkey-refused"
    assert (await browser.post(f"{KEYS}/sign-in", json=body, headers=ticket)).status_code == 200
    browser.cookies.clear()
    assert (await browser.post(f"{KEYS}/sign-in", json=body, headers=ticket)).json()["code"] == "passkey-refused"
    options = (await browser.post(f"{KEYS}/sign-in/begin")).json()["options"]
    clock.pass_s(121)
    late = await browser.post(f"{KEYS}/sign-in", json={"credential": key.get(options)})
    assert late.json()["code"] == "passkey-refused"


async def test_a_key_of_another_account_or_under_another_handle_proves_nothing(
    browser: httpx.AsyncClient, key: Authenticator, password: str
) -> None:
    other = Authenticator(ORIGIN, RP_ID)
    await enrolled(browser, key, password)
    await enrolled(browser, other, password, "clinic")
    assert (await proof(browser, other, "physician", password)).json()["code"] == "passkey-refused"
    assert (await with_key(browser, replace(key, handle=other.handle))).json()["code"] == "passkey-refused"
    stolen = replace(other, credential_id=key.credential_id, handle=key.handle)
    assert (await with_key(browser, stolen)).json()["code"] == "passkey-refused"
    await enter(browser, "caregiver", password)
    assert (await add(browser, replace(other, credential_id=key.credential_id))).status_code == 409


async def test_changing_keys_is_open_only_soon_after_signing_in(
    browser: httpx.AsyncClient, key: Authenticator, password: str, clock: Clock
) -> None:
    await enter(browser, "physician", password)
    await add(browser, key)
    (known,) = (await browser.get(KEYS)).json()["passkeys"]
    clock.pass_s(601)
    for path in (f"{KEYS}/begin", f"{KEYS}/{known['key_id']}/remove"):
        assert (await browser.post(path)).json()["code"] == "sign-in-again"
    await with_key(browser, key)
    assert (await browser.post(f"{KEYS}/begin")).status_code == 200


async def test_answers_of_strangers_hold_up_nobody_behind_the_same_address(
    browser: httpx.AsyncClient, key: Authenticator, password: str, audit_of: Any
) -> None:
    await enrolled(browser, key, password)
    codes = [(await with_key(browser, Authenticator(ORIGIN, RP_ID))).json()["code"] for _ in range(15)]
    assert codes == ["passkey-refused"] * 15
    assert (await with_key(browser, key)).status_code == 200
    tried = [entry[3] for entry in audit_of() if entry[3] in ("passkey-refused", "many-refused")]
    assert tried == ["passkey-refused"] * 10 + ["many-refused"]


async def test_a_disabled_account_has_no_use_of_its_key(
    browser: httpx.AsyncClient, access: Access, key: Authenticator, password: str
) -> None:
    await enrolled(browser, key, password)
    account = await access.database.read(lambda c: accounts.account_of(c, "physician"))
    assert account is not None
    await access.database.write(lambda c: accounts.save_account(c, replace(account, disabled=True), 1))
    assert (await with_key(browser, key)).json()["code"] == "passkey-refused"


async def test_without_the_password_nobody_learns_which_keys_an_account_has(
    browser: httpx.AsyncClient, key: Authenticator, password: str
) -> None:
    await enrolled(browser, key, password)
    for who in ("physician", "nobody"):
        begun = await browser.post(f"{KEYS}/proof/begin", json={"username": who, "password": "wrong"})
        assert (begun.status_code, begun.json()["code"]) == (401, "sign-in-refused")
    options = json.loads((await browser.post(f"{KEYS}/sign-in/begin")).json()["options"])
    assert options["allowCredentials"] == []


async def test_a_program_in_somebodys_name_does_not_touch_their_keys(
    browser: httpx.AsyncClient, access: Access, password: str
) -> None:
    grant = await OAuth(access).for_program("api", password, "", "a")
    token = {"Authorization": f"Bearer {grant.access_token}"}
    body = {"name": "x", "credential": "{}"}
    for path, sent in ((f"{KEYS}/begin", None), (KEYS, body), (f"{KEYS}/{'a' * 64}/remove", None)):
        assert (await browser.post(path, json=sent, headers=token)).status_code == 403


async def test_ten_keys_are_enough(browser: httpx.AsyncClient, password: str) -> None:
    await enter(browser, "clinic", password)
    for _ in range(10):
        assert (await add(browser, Authenticator(ORIGIN, RP_ID))).status_code == 201
    assert (await browser.post(f"{KEYS}/begin")).status_code == 409


def spoilt(text: str) -> st.SearchStrategy[str]:
    """A credential with one part of its response replaced by bytes of any kind, or the text cut."""
    whole: dict[str, Any] = json.loads(text)

    def change(part: str, raw: bytes) -> str:
        return json.dumps(whole | {"response": whole["response"] | {part: packed(raw)}})

    def flip(part: str, place: int, value: int) -> str:
        raw = bytearray(unpacked(whole["response"][part]))
        raw[place % len(raw)] = value
        return change(part, bytes(raw))

    parts = st.sampled_from(sorted(whole["response"]))
    return st.one_of(
        st.builds(change, parts, st.binary(max_size=300)),
        st.builds(flip, parts, st.integers(0, 10_000), st.integers(0, 255)),
        st.builds(lambda cut: text[:cut], st.integers(0, len(text) - 1)),
        st.builds(
            lambda part, value: json.dumps(whole | {part: value}),
            st.sampled_from(sorted(whole)),
            st.none() | st.integers() | st.text(max_size=9) | st.lists(st.integers(), max_size=2),
        ),
    )


def attested(data: bytes, **change: Any) -> str:
    """An attestation object about these authenticator data, as it stands in an answer."""
    return packed(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data} | change))


SHAPES: list[Any] = [5, [], {}, None, {"fmt": 5}, {1: 2}, "x"]
MISSHAPEN: list[tuple[str, Any]] = [
    *(("clientDataJSON", packed(raw)) for raw in (b"5", b"[]", b"null", b"{}", b'{"type":{}}', b"\xff")),
    *(("attestationObject", packed(cbor2.dumps(shape))) for shape in SHAPES),
]


@pytest.mark.parametrize(("part", "value"), MISSHAPEN)
async def test_an_answer_of_another_shape_is_refused(
    browser: httpx.AsyncClient, key: Authenticator, password: str, part: str, value: str
) -> None:
    await enter(browser, "clinic", password)
    answer = json.loads(key.create((await browser.post(f"{KEYS}/begin")).json()["options"]))
    answer["response"][part] = value
    refused = await browser.post(KEYS, json={"name": "x", "credential": json.dumps(answer)})
    assert refused.json()["code"] == "passkey-refused"


@pytest.mark.parametrize(
    "form", ["packed", "tpm", "apple", "fido-u2f", "android-key", "android-safetynet", "none", "x"]
)
@pytest.mark.parametrize(
    "statement", [5, {}, {"x5c": 5}, {"x5c": [b"x"], "sig": b"s", "alg": -7}, {"sig": 5, "ver": []}]
)
async def test_a_statement_about_the_maker_that_is_none_is_refused(
    browser: httpx.AsyncClient, key: Authenticator, password: str, form: str, statement: Any
) -> None:
    await enter(browser, "clinic", password)
    answer = json.loads(key.create((await browser.post(f"{KEYS}/begin")).json()["options"]))
    data = cbor2.loads(unpacked(answer["response"]["attestationObject"]))["authData"]
    answer["response"]["attestationObject"] = attested(data, fmt=form, attStmt=statement)
    refused = await browser.post(KEYS, json={"name": "x", "credential": json.dumps(answer)})
    assert refused.status_code in ((201, 401) if (form, statement) == ("none", {}) else (401,)), refused.text


@pytest.mark.parametrize("what", ["create", "get"])
async def test_whatever_a_key_answers_is_refused_and_breaks_nothing(
    browser: httpx.AsyncClient, key: Authenticator, password: str, access: Access, what: str
) -> None:
    key.counter = -1
    await enter(browser, "clinic", password)
    if what == "create":
        options = (await browser.post(f"{KEYS}/begin")).json()["options"]
        good, path = key.create(options), KEYS
    else:
        await add(browser, key)
        options = (await browser.post(f"{KEYS}/sign-in/begin")).json()["options"]
        good, path = key.get(options), f"{KEYS}/sign-in"
    found: list[str] = []

    @settings(max_examples=150, database=None, suppress_health_check=list(HealthCheck))
    @given(spoilt(good))
    def collect(text: str) -> None:
        found.append(text)

    collect()
    for text in found:
        answer = await browser.post(path, json={"name": "x", "credential": text})
        if answer.status_code == 201:  # nothing signs what a new key says of its maker
            browser.headers["X-CSRF-Token"] = answer.json()["me"]["csrf_token"]
        assert answer.status_code in (400, 401, 422) or (what, answer.status_code) == ("create", 201), (
            answer.text,
            text,
        )


async def test_a_key_alone_opens_no_account_that_its_provider_has_not_vouched_for_in_seven_days(
    browser: httpx.AsyncClient, access: Access, key: Authenticator, password: str, clock: Clock, audit_of: Any
) -> None:
    mapped = Identity("https://idp.example", "s-1", "physician", is_mapped=True)
    linked = Identity("https://idp.example", "s-2", "clinic", is_mapped=False)
    await access.database.write(lambda c: identities.link(c, mapped, clock()))
    await access.database.write(lambda c: identities.link(c, linked, clock()))
    other = Authenticator(ORIGIN, RP_ID)
    await enrolled(browser, key, password)
    await enrolled(browser, other, password, "clinic")
    clock.pass_s(7 * 86_400)
    assert (await with_key(browser, key)).status_code == 200
    clock.pass_s(1)
    assert (await with_key(browser, key)).json()["code"] == "passkey-refused"
    assert audit_of()[-1] == ("physician", "sign-in", "account/physician", "provider-unheard")
    assert (await with_key(browser, other)).status_code == 200
    await access.database.write(lambda c: identities.hear(c, mapped, clock()))
    assert (await with_key(browser, key)).status_code == 200

"""OAuth 2: tokens for programs, codes with PKCE for people, and everything that must be refused."""

import base64
import hashlib
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import Connection

from cloud_hub.access.oauth import CodeRequest, OAuth, OAuthRefused, Proof, is_same_redirect, is_verified, narrowed
from cloud_hub.access.rights import RESOURCES
from cloud_hub.access.sign_in import FIRST_PASSWORD_NS, NS_PER_S, Access
from cloud_hub.store import accounts
from cloud_hub.store.accounts import SetBy
from cloud_hub.web import oauth

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
REDIRECT = "http://127.0.0.1:51004/callback"


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


async def token(client: httpx.AsyncClient, _headers: Any = None, **form: str) -> httpx.Response:
    return await client.post("/oauth/token", data=form, headers=_headers or {})


def question(**changes: str) -> dict[str, str]:
    asked = {
        "response_type": "code",
        "client_id": "api",
        "redirect_uri": REDIRECT,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "scope": "user/Observation.rs",
        "state": "st&ate",
    }
    return asked | changes


@pytest.mark.anyio
async def test_a_program_gets_a_token_by_form_or_by_basic(stranger: httpx.AsyncClient, password: str) -> None:
    by_form = await token(stranger, grant_type="client_credentials", client_id="api", client_secret=password)
    by_basic = await token(stranger, basic("api", password), grant_type="client_credentials")
    for response in (by_form, by_basic):
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        answer = response.json()
        assert answer["token_type"] == "Bearer"
        assert answer["expires_in"] == 3600
        assert answer["scope"] == "system/Observation.rs system/Device.rs"
        headers = {"Authorization": f"Bearer {answer['access_token']}"}
        assert (await stranger.get("/api/v1/session", headers=headers)).json()["role"] == "program"


@pytest.mark.anyio
async def test_a_token_ends_after_an_hour(stranger: httpx.AsyncClient, password: str, clock: Any) -> None:
    answer = await token(stranger, basic("api", password), grant_type="client_credentials")
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    clock.pass_s(3599)
    assert (await stranger.get("/api/v1/session", headers=headers)).status_code == 200
    clock.pass_s(1)
    assert (await stranger.get("/api/v1/session", headers=headers)).status_code == 401


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "api", "client_secret": "no"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "who", "client_secret": "no"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"grant_type": "password", "username": "clinic", "password": "x"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "client_id": "api", "code": "none"}, 400, "invalid_grant"),
    ],
)
async def test_what_is_not_a_grant_is_refused_in_the_words_of_rfc_6749(
    stranger: httpx.AsyncClient, form: dict[str, str], status: int, error: str
) -> None:
    response = await token(stranger, **form)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert ("www-authenticate" in response.headers) == (status == 401)


@pytest.mark.anyio
async def test_a_scope_the_program_does_not_have_is_refused_and_a_narrower_one_given(
    stranger: httpx.AsyncClient, password: str
) -> None:
    for scope in ("system/Patient.rs", "system/Observation.cruds", "nonsense", "system/*.rs"):
        response = await token(stranger, basic("api", password), grant_type="client_credentials", scope=scope)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    narrow = await token(
        stranger, basic("api", password), grant_type="client_credentials", scope="system/Observation.s"
    )
    assert narrow.json()["scope"] == "system/Observation.s"


@pytest.mark.anyio
async def test_people_have_no_client_credentials(stranger: httpx.AsyncClient, password: str) -> None:
    response = await token(stranger, basic("clinic", password), grant_type="client_credentials")
    assert (response.status_code, response.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.anyio
async def test_a_form_that_is_none_is_refused(stranger: httpx.AsyncClient) -> None:
    for content, kind in ((b"{}", "application/json"), (b"a=1&a=2", None), (b"a=%ff", None), (b"a=%00", None)):
        headers = {"Content-Type": kind or "application/x-www-form-urlencoded"}
        response = await stranger.post("/oauth/token", content=content, headers=headers)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.anyio
async def test_a_person_signs_in_for_a_program_with_pkce(
    stranger: httpx.AsyncClient, access: Access, password: str
) -> None:
    page = await stranger.get("/oauth/authorize", params=question())
    assert page.status_code == 200
    assert "登录" in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    form = question(username="clinic", password=password)
    answer = await stranger.post("/oauth/authorize", data=form, headers={"Origin": "http://hub"})
    assert answer.status_code == 303
    sent_back = urlsplit(answer.headers["location"])
    assert f"{sent_back.scheme}://{sent_back.netloc}{sent_back.path}" == REDIRECT
    values = parse_qs(sent_back.query)
    assert values["state"] == ["st&ate"]
    form = {
        "grant_type": "authorization_code",
        "client_id": "api",
        "redirect_uri": REDIRECT,
        "code": values["code"][0],
        "code_verifier": VERIFIER,
    }
    granted = await token(stranger, **form)
    assert granted.status_code == 200
    assert granted.json()["scope"] == "user/Observation.rs"
    held = await access.database.read(lambda c: accounts.sessions_of(c, "clinic"))
    assert [one.extra["client"] for one in held] == ["api"]
    headers = {"Authorization": f"Bearer {granted.json()['access_token']}"}
    assert (await stranger.get("/api/v1/session", headers=headers)).json()["username"] == "clinic"
    assert (await token(stranger, **form)).json()["error"] == "invalid_grant"


@pytest.mark.anyio
async def test_the_page_says_in_words_what_is_asked_for_and_for_how_long(stranger: httpx.AsyncClient) -> None:
    page = (await stranger.get("/oauth/authorize", params=question(scope="user/Observation.rs user/Patient.r"))).text
    assert "程序 · Program" in page
    for words in ("一小时", "for one hour", "测量值 · measurements", "患者资料 · persons", "user/Patient.r<"):
        assert words in page
    unnamed = (await stranger.get("/oauth/authorize", params=question(scope=""))).text
    assert "devices and referrals that you may see" in unnamed
    assert set(RESOURCES) | {"*"} == set(oauth._WORDS)


@pytest.mark.anyio
async def test_a_code_that_comes_twice_ends_the_token_of_its_first_use_and_no_other(
    stranger: httpx.AsyncClient, password: str, audit_of: Any
) -> None:
    granted = []
    for _ in range(2):
        answer = await stranger.post("/oauth/authorize", data=question(username="clinic", password=password))
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "client_id": "api", "redirect_uri": REDIRECT, "code": code}
        granted.append((await token(stranger, **form, code_verifier=VERIFIER)).json()["access_token"])
    assert (await token(stranger, **form, code_verifier=VERIFIER)).json()["error"] == "invalid_grant"
    assert audit_of()[-1] == ("clinic", "token-ended", "account/clinic", "code-reused")
    asked = [await stranger.get("/api/v1/session", headers={"Authorization": f"Bearer {one}"}) for one in granted]
    assert [one.status_code for one in asked] == [200, 401]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": VERIFIER[:-1] + "X"},
        {"code_verifier": ""},
        {"redirect_uri": "http://127.0.0.1:51005/callback"},
        {"client_id": "other"},
    ],
)
async def test_a_code_is_worth_nothing_with_another_verifier_redirect_or_program_and_is_then_spent(
    stranger: httpx.AsyncClient, password: str, changes: dict[str, str]
) -> None:
    answer = await stranger.post("/oauth/authorize", data=question(username="clinic", password=password))
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {
        "grant_type": "authorization_code",
        "client_id": "api",
        "redirect_uri": REDIRECT,
        "code": code,
        "code_verifier": VERIFIER,
    }
    for tried in (form | changes, form):
        response = await token(stranger, **tried)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


@pytest.mark.anyio
async def test_a_code_lives_one_minute(stranger: httpx.AsyncClient, password: str, clock: Any) -> None:
    answer = await stranger.post("/oauth/authorize", data=question(username="clinic", password=password))
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    clock.pass_s(60)
    response = await token(
        stranger,
        grant_type="authorization_code",
        client_id="api",
        redirect_uri=REDIRECT,
        code=code,
        code_verifier=VERIFIER,
    )
    assert response.json()["error"] == "invalid_grant"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes", [{"client_id": "who"}, {"client_id": "clinic"}, {"redirect_uri": "https://evil.example/callback"}]
)
async def test_nobody_is_sent_to_a_place_that_is_not_registered(
    stranger: httpx.AsyncClient, changes: dict[str, str]
) -> None:
    response = await stranger.get("/oauth/authorize", params=question(**changes))
    assert response.status_code == 422
    assert "location" not in response.headers


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "invalid_request"),
        ({"scope": "user/Patient.cruds"}, "invalid_scope"),
    ],
)
async def test_a_wrong_question_is_told_to_the_program(
    stranger: httpx.AsyncClient, changes: dict[str, str], error: str
) -> None:
    response = await stranger.get("/oauth/authorize", params=question(**changes))
    assert response.status_code == 303
    assert parse_qs(urlsplit(response.headers["location"]).query)["error"] == [error]


@pytest.mark.anyio
async def test_a_first_password_that_has_ended_is_not_told_as_a_wrong_one(
    stranger: httpx.AsyncClient, access: Access, password: str, clock: Any
) -> None:
    def give(connection: Connection) -> None:
        account = accounts.account_of(connection, "clinic")
        assert account is not None
        accounts.save_account(connection, replace(account, password_by=SetBy.OPERATOR, password_ns=clock()), clock())

    await access.database.write(give)
    clock.pass_s(FIRST_PASSWORD_NS // NS_PER_S + 1)
    answer = await stranger.post("/oauth/authorize", data=question(username="clinic", password=password))
    assert answer.status_code == 401
    assert "This first password has ended" in answer.text
    assert "is not right" not in answer.text


@pytest.mark.anyio
async def test_a_wrong_password_shows_the_page_again_and_what_was_asked_is_escaped(stranger: httpx.AsyncClient) -> None:
    asked = question(username="clinic", password="no", state='"><script>alert(1)</script>')
    response = await stranger.post("/oauth/authorize", data=asked)
    assert response.status_code == 401
    assert "<script>" not in response.text
    assert "&lt;script&gt;" in response.text
    forged = await stranger.post("/oauth/authorize", data=asked, headers={"Origin": "http://evil.example"})
    assert forged.status_code == 403


@pytest.mark.anyio
async def test_other_programs_find_the_endpoints(stranger: httpx.AsyncClient) -> None:
    found = (await stranger.get("/.well-known/smart-configuration")).json()
    assert found["token_endpoint"] == "http://hub/oauth/token"
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert "password" not in found["grant_types_supported"]


def test_the_vector_of_rfc_7636_fits() -> None:
    assert is_verified(VERIFIER, CHALLENGE)
    assert not is_verified(CHALLENGE, CHALLENGE)
    hashed = base64.urlsafe_b64encode(hashlib.sha256(b"short").digest()).rstrip(b"=").decode()
    assert not is_verified("short", hashed)


@pytest.mark.parametrize(
    ("asked", "registered", "is_same"),
    [
        ("http://127.0.0.1:9/cb", "http://127.0.0.1/cb", True),
        ("http://127.0.0.1:9/cb", "http://127.0.0.1:8/cb", True),
        ("http://[::1]:9/cb", "http://[::1]/cb", True),
        ("http://127.0.0.1:9/cb2", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:9/cb?x=1", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:9/cb#x", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1.evil.example:9/cb", "http://127.0.0.1/cb", False),
        ("http://evil@127.0.0.1:9/cb", "http://127.0.0.1/cb", False),
        ("https://127.0.0.1:9/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:99999/cb", "http://127.0.0.1/cb", False),
        ("https://app.example/cb", "https://app.example/cb", True),
        ("https://app.example:444/cb", "https://app.example/cb", False),
        ("https://app.example/cb/", "https://app.example/cb", False),
    ],
)
def test_redirects_match_exactly_but_for_the_port_of_loopback(asked: str, registered: str, is_same: bool) -> None:
    assert is_same_redirect(asked, registered) is is_same


def test_the_audit_trail_is_granted_only_where_it_is_held_by_name() -> None:
    with pytest.raises(OAuthRefused):
        narrowed("system/AuditEvent.rs", ("system/*.rs",))
    assert narrowed("system/AuditEvent.rs", ("system/*.rs", "system/AuditEvent.rs")) == ("system/AuditEvent.rs",)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("asked", "given"), [("", ("user/*.rs",)), ("user/*.rs user/AuditEvent.rs", ("user/*.rs", "user/AuditEvent.rs"))]
)
async def test_a_person_hands_on_the_audit_trail_only_where_the_program_asks_for_it_by_name(
    access: Access, password: str, asked: str, given: tuple[str, ...]
) -> None:
    oauth = OAuth(access)
    asked_for = CodeRequest("api", REDIRECT, CHALLENGE, asked)
    code = await oauth.give_code(asked_for, Proof("clinic", password), "a")
    assert (await oauth.exchange(code, "api", REDIRECT, VERIFIER)).scopes == given

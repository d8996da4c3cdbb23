"""Letting a program in with a key and no password: what the answer counts for, and what it does not."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cloud_hub.access.sign_in import Access
from cloud_hub.store import accounts
from cloud_hub.store.accounts import SetBy
from cloud_hub.web import oauth
from cloud_hub.web.api import passkeys, session, sign_in_ways
from tests.cloud_hub.web.test_oauth import CHALLENGE, REDIRECT, VERIFIER, question
from tests.cloud_hub.web.test_passkeys import KEYS, ORIGIN, RP_ID, browsing, enrolled, key
from tests.fakes.authenticator import Authenticator

__all__ = ["key"]
pytestmark = pytest.mark.anyio


@pytest.fixture
async def browser(access: Access) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(access, session, sign_in_ways, passkeys, oauth) as client:
        yield client


async def asked(browser: httpx.AsyncClient, **changes: str) -> str:
    """Return what the page's script hands to the key."""
    answer = await browser.post("/oauth/authorize/key", data=question(**changes))
    assert answer.status_code == 200, answer.text
    options: str = answer.json()["options"]
    return options


async def let_in(browser: httpx.AsyncClient, credential: str, **changes: str) -> httpx.Response:
    return await browser.post("/oauth/authorize", data=question(credential=credential, **changes))


async def test_a_key_alone_lets_a_program_in(browser: httpx.AsyncClient, key: Authenticator, password: str) -> None:
    await enrolled(browser, key, password)
    page = await browser.get("/oauth/authorize", params=question())
    assert 'src="/oauth/key.js"' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for address, kind in (("/oauth/key.js", "text/javascript"), ("/oauth/page.css", "text/css")):
        assert address in page.text
        served = await browser.get(address)
        assert (served.status_code, served.headers["content-type"].startswith(kind)) == (200, True)
    answer = await let_in(browser, key.get(await asked(browser)))
    assert answer.status_code == 303, answer.text
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "client_id": "api", "redirect_uri": REDIRECT, "code": code}
    granted = (await browser.post("/oauth/token", data=form | {"code_verifier": VERIFIER})).json()
    assert granted["scope"] == "user/Observation.rs"
    who = await browser.get("/api/v1/session", headers={"Authorization": f"Bearer {granted['access_token']}"})
    assert (who.json()["username"], who.json()["must_enrol"]) == ("physician", False)


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "user/*.rs"},
        {"redirect_uri": "http://127.0.0.1:51005/callback"},
        {"code_challenge": CHALLENGE[:-1] + "0"},
        {"state": "another"},
    ],
)
async def test_an_answer_counts_for_the_very_request_that_was_shown(
    browser: httpx.AsyncClient, key: Authenticator, password: str, change: dict[str, str]
) -> None:
    await enrolled(browser, key, password)
    credential = key.get(await asked(browser))
    refused = await let_in(browser, credential, **change)
    assert refused.status_code == 401
    assert "密钥未通过验证" in refused.text
    assert (await let_in(browser, credential)).status_code == 303
    assert (await let_in(browser, credential)).status_code == 401


async def test_an_answer_for_signing_in_lets_no_program_in_and_the_other_way_round(
    browser: httpx.AsyncClient, key: Authenticator, password: str
) -> None:
    await enrolled(browser, key, password)
    options = (await browser.post(f"{KEYS}/sign-in/begin")).json()["options"]
    assert (await let_in(browser, key.get(options))).status_code == 401
    credential = key.get(await asked(browser))
    entered = await browser.post(f"{KEYS}/sign-in", json={"credential": credential})
    assert entered.json()["code"] == "passkey-refused"


async def test_a_key_that_did_not_verify_its_person_or_of_nobody_lets_nobody_in(
    browser: httpx.AsyncClient, key: Authenticator, password: str
) -> None:
    await enrolled(browser, key, password)
    for one in (replace(key, verifies=False), Authenticator(ORIGIN, RP_ID)):
        assert (await let_in(browser, one.get(await asked(browser)))).status_code == 401
    assert (await let_in(browser, "no JSON")).status_code == 422


async def test_no_key_is_asked_for_what_is_no_request(browser: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    for change in ({"client_id": "nobody"}, {"redirect_uri": "https://elsewhere.example/"}, {"scope": "nonsense"}):
        assert (await browser.post("/oauth/authorize/key", data=question(**change))).status_code == 422
    # A hub that has no keys offers none.
    page = await stranger.get("/oauth/authorize", params=question())
    assert "key.js" not in page.text
    assert (await stranger.post("/oauth/authorize/key", data=question())).status_code == 404


async def test_whoever_came_by_a_key_need_not_change_a_first_password_for_it(
    browser: httpx.AsyncClient, access: Access, key: Authenticator, password: str
) -> None:
    await enrolled(browser, key, password)

    def work(connection: Any) -> None:
        account = accounts.account_of(connection, "physician")
        assert account is not None
        given = replace(account, password_by=SetBy.OPERATOR, password_ns=access.now_ns())
        accounts.save_account(connection, given, access.now_ns())

    await access.database.write(work)
    answer = await let_in(browser, key.get(await asked(browser)))
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "client_id": "api", "redirect_uri": REDIRECT, "code": code}
    granted = (await browser.post("/oauth/token", data=form | {"code_verifier": VERIFIER})).json()
    principal = await access.resolve(granted["access_token"], "bearer")
    assert principal is not None
    assert not principal.must_change

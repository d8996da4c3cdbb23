"""Setting up an authenticator app over HTTP: the session is replaced, and the next sign-in asks for a code."""

from typing import Any

import httpx
import pyotp
import pytest
from fastapi import FastAPI
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.access.oauth import OAuth
from cloud_hub.access.rights import Principal
from cloud_hub.access.sign_in import Access
from cloud_hub.access.wall_displays import WallDisplays
from cloud_hub.store import persons
from cloud_hub.web import problems
from cloud_hub.web.api import second_factor, session

pytestmark = pytest.mark.anyio
SESSION, FACTOR = "/api/v1/session", "/api/v1/second-factor"


@pytest.fixture
async def browser(access: Access) -> Any:
    app = FastAPI()
    app.state.access = access
    problems.install(app)
    app.include_router(session.router)
    app.include_router(second_factor.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        yield client


async def sign_in(browser: httpx.AsyncClient, password: str, code: str = "") -> httpx.Response:
    answer = await browser.post(SESSION, json={"username": "clinic", "password": password, "code": code})
    if answer.status_code == 200:
        browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return answer


async def test_an_app_is_set_up_and_asked_for_from_then_on(
    browser: httpx.AsyncClient, password: str, clock: Any
) -> None:
    await sign_in(browser, password)
    before = browser.cookies["yz_session"]
    begun = (await browser.post(f"{FACTOR}/totp")).json()
    assert begun["picture"].startswith("data:image/svg+xml")
    assert (await browser.post(f"{FACTOR}/totp/confirm", json={"code": "000000"})).status_code == 422
    code = pyotp.TOTP(begun["secret"]).at(clock() // 10**9)
    done = await browser.post(f"{FACTOR}/totp/confirm", json={"code": code})
    assert len(done.json()["recovery_codes"]) == 10
    assert browser.cookies["yz_session"] != before
    state = (await browser.get(FACTOR)).json()
    assert state == {"required": False, "has_totp": True, "recovery_codes_left": 10}
    old = await browser.get(SESSION, headers={"Cookie": f"yz_session={before}"})
    assert old.status_code == 401 or old.json()["csrf_token"] == done.json()["me"]["csrf_token"]
    needed = await sign_in(browser, password)
    assert (needed.status_code, needed.json()["code"]) == (401, "second-factor-needed")
    used = await sign_in(browser, password, code)
    assert (used.status_code, used.json()["code"]) == (401, "second-factor-refused")
    clock.pass_s(30)
    assert (await sign_in(browser, password, pyotp.TOTP(begun["secret"]).at(clock() // 10**9))).status_code == 200


async def test_a_wrong_password_is_answered_alike_whether_or_not_there_is_a_second_factor(
    browser: httpx.AsyncClient, password: str
) -> None:
    refused = await sign_in(browser, "wrong", "123456")
    assert (refused.status_code, refused.json()["code"]) == (401, "sign-in-refused")


async def test_a_program_that_acts_for_somebody_cannot_change_how_they_sign_in(
    browser: httpx.AsyncClient, access: Access, password: str
) -> None:
    grant = await OAuth(access).for_program("api", password, "", "a")
    browser.cookies.clear()
    for path, body in (("/totp", None), ("/totp/confirm", {"code": "000000"}), ("/totp/remove", {"password": "x"})):
        answer = await browser.post(FACTOR + path, json=body, headers={"Authorization": f"Bearer {grant.access_token}"})
        assert answer.status_code == 403, path


async def test_a_wall_display_sets_up_no_second_factor(browser: httpx.AsyncClient, access: Access) -> None:
    where = ("baoshan", "baoshan-clinic")
    await access.database.write(lambda c: persons.describe_node(c, where, "n", event_pb2.NodeDescribed()))
    operator = Principal("operator", Role.OPERATOR, "", "", "baoshan", None)
    walls = WallDisplays(access)
    _, code = await walls.make(operator, "baoshan-clinic", "Ward")
    opened = await walls.pair(code, "a")
    headers = {"Cookie": f"yz_session={opened.token}", "X-CSRF-Token": opened.principal.csrf_token}
    for path, body in (("/totp", None), ("/totp/confirm", {"code": "000000"}), ("/totp/remove", {"password": "x"})):
        answer = await browser.post(FACTOR + path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "refused-rights"), path


async def test_setting_up_an_app_is_open_only_soon_after_signing_in(
    browser: httpx.AsyncClient, password: str, clock: Any
) -> None:
    await sign_in(browser, password)
    begun = (await browser.post(f"{FACTOR}/totp")).json()
    clock.pass_s(601)
    code = pyotp.TOTP(begun["secret"]).at(clock() // 10**9)
    for path, body in (("/totp", None), ("/totp/confirm", {"code": code})):
        assert (await browser.post(FACTOR + path, json=body)).json()["code"] == "sign-in-again", path
    await sign_in(browser, password)
    assert (await browser.post(f"{FACTOR}/totp/confirm", json={"code": code})).status_code == 200

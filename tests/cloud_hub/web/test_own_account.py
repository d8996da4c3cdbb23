"""One's own password and sessions over HTTP, and first passwords that somebody else has set."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.access.oauth import OAuth
from cloud_hub.access.own_account import OwnAccount
from cloud_hub.access.sign_in import FIRST_PASSWORD_NS, FRESH_S, NS_PER_S, PAGES_LIMIT, Access, SecondFactor
from cloud_hub.access.tokens import digest
from cloud_hub.errors import NotSignedIn, SignInAgain
from cloud_hub.store import accounts, events
from cloud_hub.store.accounts import Session, SetBy
from cloud_hub.web import problems
from cloud_hub.web.api import own_account, second_factor, session

pytestmark = pytest.mark.anyio
SESSION, ACCOUNT = "/api/v1/session", "/api/v1/account"
NEW = "willow-harbour-2719"


def app_of(access: Access) -> FastAPI:
    app = FastAPI()
    app.state.access = access
    problems.install(app)
    for module in (session, own_account, second_factor):
        app.include_router(module.router)
    return app


class Browser:
    """A browser that keeps its cookie and sends the token of its session."""

    def __init__(self, access: Access) -> None:
        transport = httpx.ASGITransport(app=app_of(access))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://hub")

    async def sign_in(self, password: str, username: str = "clinic") -> httpx.Response:
        answer = await self.client.post(SESSION, json={"username": username, "password": password})
        if answer.status_code == 200:
            self.client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        return answer

    async def change(self, old: str, new: str) -> httpx.Response:
        answer = await self.client.post(f"{ACCOUNT}/password", json={"password": old, "new_password": new})
        if answer.status_code == 200:
            self.client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        return answer

    async def is_in(self) -> bool:
        return (await self.client.get(SESSION)).status_code == 200

    async def sessions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.client.get(f"{ACCOUNT}/sessions")).json()["sessions"]
        return found


@pytest.fixture
async def browser(access: Access) -> Any:
    made = Browser(access)
    yield made
    await made.client.aclose()


@pytest.fixture
async def other(access: Access) -> Any:
    made = Browser(access)
    yield made
    await made.client.aclose()


async def give_first_password(access: Access, username: str = "clinic") -> None:
    """Make the password one that an operator has set just now."""

    def work(connection: Any) -> None:
        account = accounts.account_of(connection, username)
        assert account is not None
        given = replace(account, password_by=SetBy.OPERATOR, password_ns=access.now_ns())
        accounts.save_account(connection, given, access.now_ns())

    await access.database.write(work)


async def test_another_password_takes_the_place_of_the_old_one_and_ends_other_sessions(
    browser: Browser, other: Browser, password: str
) -> None:
    await browser.sign_in(password)
    await other.sign_in(password)
    before = browser.client.cookies["yz_session"]
    assert (await browser.change(password, NEW)).status_code == 200
    assert await browser.is_in()
    assert browser.client.cookies["yz_session"] != before
    assert not await other.is_in()
    assert (await other.sign_in(password)).status_code == 401
    assert (await other.sign_in(NEW)).status_code == 200


async def test_the_sites_hear_of_it_so_that_it_counts_at_the_bedside(
    browser: Browser, access: Access, password: str
) -> None:
    told: list[str] = []
    access.site_changed = told.append
    await browser.sign_in(password)
    await browser.change(password, NEW)

    def last(connection: Any) -> event_pb2.AccountSet:
        pages = [events.events_after(connection, site, 0, 100) for site in told]
        sets = [one.event.account_set for page in pages for one in page]
        return [one for one in sets if one.username == "clinic"][-1]

    hashed = (await access.database.read(lambda c: accounts.account_of(c, "clinic"))).password_hash  # type: ignore[union-attr]
    assert (await access.database.read(last)).password_hash == hashed


@pytest.mark.parametrize(
    ("old", "new", "status", "code"),
    [
        ("wrong-password-0", NEW, 401, "sign-in-refused"),
        (None, "short", 422, "password-unfit"),
        (None, "password1234", 422, "password-unfit"),
        (None, None, 422, "password-unfit"),
    ],
)
async def test_what_does_not_fit_changes_nothing(
    browser: Browser, password: str, old: str | None, new: str | None, status: int, code: str
) -> None:
    await browser.sign_in(password)
    refused = await browser.change(old or password, new or password)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert await browser.is_in()
    assert (await browser.sign_in(password)).status_code == 200


async def test_the_second_factor_of_the_session_is_kept(browser: Browser, access: Access, password: str) -> None:
    account = await access.database.read(lambda c: accounts.account_of(c, "clinic"))
    assert account is not None
    access.second = SecondFactor(frozenset({Role.CLINIC}), access.second.seal)
    opened = await access.open(account, "totp")
    browser.client.cookies["yz_session"] = opened.token
    browser.client.headers["X-CSRF-Token"] = opened.principal.csrf_token
    changed = await browser.change(password, NEW)
    assert (changed.status_code, changed.json()["must_enrol"]) == (200, False)


async def test_a_session_after_the_change_is_as_old_and_as_strong_as_before(
    browser: Browser, access: Access, password: str, clock: Any
) -> None:
    account = await access.database.read(lambda c: accounts.account_of(c, "clinic"))
    assert account is not None
    opened = await access.open(account, "provider", more={"issuer": "https://idp.example", "sid": "s"})
    browser.client.cookies["yz_session"] = opened.token
    browser.client.headers["X-CSRF-Token"] = opened.principal.csrf_token
    before = await access.database.read(lambda c: accounts.session_of(c, digest(opened.token)))
    clock.pass_s(FRESH_S + 1)
    changed = await browser.change(password, NEW)
    assert changed.status_code == 200
    token = changed.cookies["yz_session"]
    after = await access.database.read(lambda c: accounts.session_of(c, digest(token)))
    assert before is not None
    assert after is not None
    assert (after.created_ns, after.expires_ns, after.extra) == (before.created_ns, before.expires_ns, before.extra)
    assert f"Max-Age={12 * 3600 - FRESH_S - 1}" in changed.headers["set-cookie"]
    # Who has the password and found this page open gets no further by it.
    with pytest.raises(SignInAgain):
        await access.begin_totp(opened.principal, token)


async def test_a_session_that_ended_meanwhile_is_not_opened_again(access: Access, password: str) -> None:
    opened = await access.sign_in("clinic", password, "a")
    await access.sign_out(opened.token)
    with pytest.raises(NotSignedIn):
        await OwnAccount(access).change_password(opened.principal, password, NEW, "a", opened.token)
    assert (await access.sign_in("clinic", password, "a")).principal.username == "clinic"


async def test_with_a_first_password_nothing_is_open_but_changing_it(
    browser: Browser, access: Access, password: str
) -> None:
    await give_first_password(access)
    entered = await browser.sign_in(password)
    assert entered.json()["must_change"]
    principal = await access.resolve(browser.client.cookies["yz_session"], "cookie")
    assert principal is not None
    assert [right.value for right in principal.rights] == ["signed-in"]
    changed = await browser.change(password, NEW)
    assert not changed.json()["must_change"]
    principal = await access.resolve(browser.client.cookies["yz_session"], "cookie")
    assert principal is not None
    assert len(principal.rights) > 1


async def test_nobody_gets_around_changing_a_first_password_by_setting_up_a_factor(
    browser: Browser, access: Access, password: str
) -> None:
    await give_first_password(access)
    await browser.sign_in(password)
    assert (await browser.client.post("/api/v1/second-factor/totp")).status_code == 409
    await browser.change(password, NEW)
    assert (await browser.client.post("/api/v1/second-factor/totp")).status_code == 200


async def test_a_first_password_ends_after_three_days(
    browser: Browser, access: Access, password: str, clock: Any
) -> None:
    await give_first_password(access)
    clock.pass_s(FIRST_PASSWORD_NS // NS_PER_S - 1)
    assert (await browser.sign_in(password)).status_code == 200
    clock.pass_s(2)
    late = await browser.sign_in(password)
    assert (late.status_code, late.json()["code"]) == (401, "password-ended")
    wrong = await browser.sign_in("wrong-password-0")
    assert wrong.json()["code"] == "sign-in-refused"


async def test_sessions_are_listed_and_ended_one_by_one(browser: Browser, other: Browser, password: str) -> None:
    await browser.sign_in(password)
    await other.sign_in(password)
    listed = await browser.sessions()
    assert [one["is_this"] for one in listed].count(True) == 1
    token = browser.client.cookies["yz_session"]
    assert token not in str(listed)
    (elsewhere,) = [one for one in listed if not one["is_this"]]
    path = f"{ACCOUNT}/sessions/{elsewhere['session_id']}"
    assert (await browser.client.delete(path)).status_code == 204
    assert not await other.is_in()
    assert await browser.is_in()
    assert (await browser.client.delete(path)).status_code == 404


async def test_each_session_says_its_machine_and_keeps_it_when_it_goes_on(
    browser: Browser, other: Browser, password: str
) -> None:
    browser.client.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
    await browser.sign_in(password)
    await other.sign_in(password)
    assert {one["machine"] for one in await browser.sessions()} == {"Linux, Firefox", ""}
    await browser.change(password, NEW)
    assert [one["machine"] for one in await browser.sessions()] == ["Linux, Firefox"]


async def test_the_page_longest_unused_is_signed_out_where_an_account_opens_too_many(
    browser: Browser, access: Access, password: str, clock: Any
) -> None:
    account = await access.database.read(lambda c: accounts.account_of(c, "clinic"))
    assert account is not None
    opened = []
    for _ in range(PAGES_LIMIT):
        clock.pass_s(1)
        opened.append(await access.open(account, ""))
    clock.pass_s(60)
    assert await access.resolve(opened[0].token, "cookie") is not None  # used just now
    await browser.sign_in(password)
    assert len(await browser.sessions()) == PAGES_LIMIT
    alive = [await access.is_current(one.token, "cookie") for one in opened]
    assert alive == [True, False, *[True] * (PAGES_LIMIT - 2)]


async def test_what_a_program_holds_in_ones_name_is_listed_and_taken_back(
    browser: Browser, access: Access, password: str
) -> None:
    await browser.sign_in(password)
    now_ns = access.now_ns()
    ends_ns, extra = now_ns + 3600 * NS_PER_S, {"client": "api"}
    token = Session(digest("t"), "bearer", "clinic", now_ns, now_ns, ends_ns, ("user/Patient.rs",), extra=extra)
    await access.database.write(lambda c: accounts.open_session(c, token))
    (held,) = [one for one in await browser.sessions() if one["is_program"]]
    assert (held["machine"], held["scopes"]) == ("程序 Program", ["user/Patient.rs"])
    assert await access.resolve("t", "bearer") is not None
    assert (await browser.client.delete(f"{ACCOUNT}/sessions/{held['session_id']}")).status_code == 204
    assert await access.resolve("t", "bearer") is None


async def test_nobody_ends_or_sees_the_sessions_of_somebody_else(
    browser: Browser, other: Browser, password: str
) -> None:
    await browser.sign_in(password)
    await other.sign_in(password, "physician")
    (mine,) = await browser.sessions()
    assert (await other.client.delete(f"{ACCOUNT}/sessions/{mine['session_id']}")).status_code == 404
    assert (await other.client.delete(f"{ACCOUNT}/sessions")).status_code == 204
    assert await browser.is_in()


async def test_signing_out_everywhere_else_leaves_this_page(
    browser: Browser, other: Browser, access: Access, password: str
) -> None:
    await browser.sign_in(password)
    await other.sign_in(password)
    assert (await browser.client.delete(f"{ACCOUNT}/sessions")).status_code == 204
    assert await browser.is_in()
    assert not await other.is_in()
    assert len(await browser.sessions()) == 1


async def test_what_ended_by_its_time_is_not_listed(
    browser: Browser, other: Browser, password: str, clock: Any
) -> None:
    await other.sign_in(password)
    clock.pass_s(16 * 60)
    await browser.sign_in(password)
    assert [one["is_this"] for one in await browser.sessions()] == [True]


async def test_every_change_stands_in_the_audit_trail(
    browser: Browser, other: Browser, password: str, audit_of: Any
) -> None:
    await browser.sign_in(password)
    await other.sign_in(password)
    (elsewhere,) = [one for one in await browser.sessions() if not one["is_this"]]
    await browser.client.delete(f"{ACCOUNT}/sessions/{elsewhere['session_id']}")
    await browser.client.delete(f"{ACCOUNT}/sessions")
    await browser.change(password, NEW)
    told = [entry for entry in audit_of() if entry[1] in ("session-end", "sessions-end", "password-change")]
    assert [entry[1] for entry in told] == ["session-end", "sessions-end", "password-change"]
    assert NEW not in str(audit_of())


async def test_a_program_cannot_change_how_somebody_signs_in(browser: Browser, access: Access, password: str) -> None:
    grant = await OAuth(access).for_program("api", password, "", "a")
    headers = {"Authorization": f"Bearer {grant.access_token}"}
    body = {"password": password, "new_password": NEW}
    for method, path in (("POST", "/password"), ("DELETE", "/sessions"), ("DELETE", "/sessions/abc")):
        answer = await browser.client.request(
            method, ACCOUNT + path, json=body if method == "POST" else None, headers=headers
        )
        assert answer.status_code == 403, path


@pytest.mark.parametrize("change", [{"disabled": True}, {"password_hash": "another"}])
async def test_what_an_operator_does_to_the_account_meanwhile_is_not_undone(
    browser: Browser, access: Access, password: str, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    def work(connection: Any) -> None:
        account = accounts.account_of(connection, "clinic")
        assert account is not None
        accounts.save_account(connection, replace(account, **change), access.now_ns())

    def hash_meanwhile(*_asked: str) -> str:
        access.database.write_blocking(work)
        return "$argon2id$new"

    monkeypatch.setattr("cloud_hub.access.own_account.hash_password", hash_meanwhile)
    await browser.sign_in(password)
    refused = await browser.change(password, NEW)
    assert (refused.status_code, refused.json()["code"]) == (401, "sign-in-refused")
    stored = await access.database.read(lambda c: accounts.account_of(c, "clinic"))
    assert stored is not None
    assert {name: getattr(stored, name) for name in change} == change


async def test_a_first_password_shuts_out_nobody_who_came_in_another_way(access: Access, password: str) -> None:
    await give_first_password(access)
    account = await access.database.read(lambda c: accounts.account_of(c, "clinic"))
    assert account is not None
    by_key = await access.open(account, "passkey")
    by_provider = await access.open(account, "", more={"issuer": "https://idp.example", "sid": "a"})
    assert not by_key.principal.must_change
    assert not by_provider.principal.must_change
    by_password = await access.sign_in("clinic", password, "a")
    assert by_password.principal.must_change
    now_ns = access.now_ns()
    token = Session(digest("t"), "bearer", "clinic", now_ns, now_ns, now_ns + NS_PER_S, ("user/Patient.rs",))
    await access.database.write(lambda c: accounts.open_session(c, token))
    in_their_name = await access.resolve("t", "bearer")
    assert in_their_name is not None
    assert in_their_name.must_change

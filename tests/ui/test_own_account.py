"""One's own password and sessions on the hub's real HTTP face, in a browser."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import Connection, update

from cloud_hub.store import accounts
from cloud_hub.store.accounts import SetBy
from cloud_hub.store.schema import session as session_table
from tests.cloud_hub import role_world as world
from tests.ui.real_hub import RealHub, hub
from tests.ui.test_people import enter
from tests.ui.test_second_factor import pytestmark

__all__ = ["pytestmark"]
NEW = "willow-harbour-2719"


def change(page: Page, old: str, new: str, again: str = "") -> None:
    page.get_by_test_id("own-present").fill(old)
    page.get_by_test_id("own-new").fill(new)
    page.get_by_test_id("own-again").fill(again or new)
    page.get_by_test_id("own-change").click()


def give_first_password(served: RealHub, username: str) -> None:
    def work(connection: Connection) -> None:
        found = accounts.account_of(connection, username)
        assert found is not None
        now_ns = served.access.now_ns()
        accounts.save_account(connection, replace(found, password_by=SetBy.OPERATOR, password_ns=now_ns), now_ns)

    served.access.database.write_blocking(work)


def test_a_first_password_is_changed_before_anything_is_shown(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        give_first_password(served, "clinic")
        page = enter(browser, served.address, "clinic")
        expect(page.get_by_role("heading", level=1)).to_have_text("请设置自己的密码")
        change(page, world.PASSWORD, NEW, "something-else-7")
        expect(page.get_by_text("两次输入不一致。")).to_be_visible()
        page.get_by_test_id("own-again").fill(NEW)
        page.get_by_test_id("own-change").click()
        expect(page.get_by_test_id("own-change")).to_have_count(0)
        expect(page.get_by_role("heading", name="请设置自己的密码")).to_have_count(0)
        page.goto(f"{served.address}#/patient/{world.SITE}%3AB01")
        expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_somebody_ends_a_session_elsewhere_and_changes_the_password(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        elsewhere, page = enter(browser, served.address, "clinic"), enter(browser, served.address, "clinic")
        page.goto(f"{served.address}#/account")
        expect(page.get_by_test_id("session-row")).to_have_count(2)
        expect(page.get_by_test_id("session-machine").first).to_have_text("Linux, Chrome; ")
        page.get_by_test_id("session-end").click()
        expect(page.get_by_test_id("session-row")).to_have_count(1)
        expect(elsewhere.get_by_test_id("sign-in-submit")).to_be_visible(timeout=15_000)
        change(page, "not-the-password-1", NEW)
        expect(page.locator(".fault")).to_contain_text("不正确")
        change(page, world.PASSWORD, NEW)
        expect(page.get_by_test_id("own-changed")).to_be_visible()
        expect(page.get_by_test_id("own-present")).to_have_value("")


def test_signing_out_ends_the_session_also_where_another_tab_has_changed_its_token(
    tmp_path: Path, browser: Browser
) -> None:
    with hub(tmp_path) as served:
        page, database = enter(browser, served.address, "clinic"), served.access.database
        database.write_blocking(lambda c: c.execute(update(session_table).values(csrf_token="another")))
        served.access.forget()
        page.get_by_test_id("sign-out").click()
        expect(page.get_by_test_id("sign-in-submit")).to_be_visible()
        assert database.read_blocking(lambda c: accounts.sessions_of(c, "clinic")) == []


def test_a_sign_out_that_is_refused_or_does_not_reach_the_hub_says_so_and_looks_not_done(
    tmp_path: Path, browser: Browser
) -> None:
    with hub(tmp_path) as served:
        page, database = enter(browser, served.address, "clinic"), served.access.database
        ways: list[tuple[Callable[[Route], None], str]] = [
            (lambda route: route.fulfill(status=503, json={}), "没有完成"),
            (lambda route: route.abort(), "服务器没有回应"),
        ]
        for answer, said in ways:
            page.route("**/oidc/sign-out", answer)
            page.get_by_test_id("sign-out").click()
            expect(page.locator(".fault")).to_contain_text(said)
            expect(page.get_by_test_id("patient-card").first).to_be_visible()
            expect(page.get_by_test_id("sign-in-submit")).to_have_count(0)
            page.unroute("**/oidc/sign-out")
        page.locator(".fault").get_by_role("button").click()
        expect(page.get_by_test_id("sign-in-submit")).to_be_visible()
        expect(page.locator(".fault")).to_have_count(0)
        assert database.read_blocking(lambda c: accounts.sessions_of(c, "clinic")) == []

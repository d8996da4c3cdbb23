"""Passkeys and security keys in a browser with keys of its own (virtual authenticators), on the hub's real pages."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect
from sqlalchemy import Connection

from cloud_hub.access import passkeys
from cloud_hub.accounts_command import _reset_factor
from cloud_hub.config import PasskeysConfig
from cloud_hub.store import accounts
from tests.browser.glass import AXE, PHONE, barriers
from tests.cloud_hub import role_world as world
from tests.cloud_hub.web.test_oauth import CHALLENGE
from tests.ui.real_hub import RealHub, hub
from tests.ui.server import UI
from tests.ui.test_screens import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium"),
    pytest.mark.skipif(not (UI / "hub" / "index.html").exists(), reason="needs the built screens: make ui"),
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RealHub]:
    with hub(tmp_path) as found:
        config = PasskeysConfig(rp_id="localhost", origins=[found.address.rstrip("/")])
        found.app.state.passkeys = passkeys.make(config, found.access)
        yield found


def opened(browser: Browser, size: tuple[int, int] = (1280, 800)) -> Page:
    page = browser.new_context(locale="zh-CN", viewport={"width": size[0], "height": size[1]}).new_page()
    page.set_default_timeout(15_000)
    return page


class Key:
    """A key plugged into a page; its person does what it asks unless told otherwise."""

    def __init__(self, page: Page, **change: Any) -> None:
        self._devtools: CDPSession = page.context.new_cdp_session(page)
        self._devtools.send("WebAuthn.enable", {})
        kind = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
        }
        options = {"options": {**kind, "automaticPresenceSimulation": True, **change}}
        self.name = self._devtools.send("WebAuthn.addVirtualAuthenticator", options)["authenticatorId"]

    def verifies(self, does: bool) -> None:
        self._devtools.send("WebAuthn.setUserVerified", {"authenticatorId": self.name, "isUserVerified": does})

    def unplug(self) -> None:
        self._devtools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self.name})


def enter(page: Page, served: RealHub, who: str) -> None:
    page.goto(served.address)
    page.get_by_test_id("sign-in-username").fill(who)
    page.get_by_test_id("sign-in-password").fill(world.PASSWORD)
    page.get_by_test_id("sign-in-submit").click()


def test_a_physician_sets_up_a_key_by_keyboard_and_signs_in_with_it_alone(served: RealHub, browser: Browser) -> None:
    page = opened(browser)
    Key(page)
    enter(page, served, "physician")
    page.get_by_test_id("key-name").focus()
    page.keyboard.type("门诊钥匙")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("patient-card").first).to_be_visible()
    page.get_by_test_id("sign-out").click()
    page.get_by_test_id("sign-in-passkey").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("patient-card").first).to_be_visible()


def test_a_security_key_that_verifies_its_person_is_the_second_factor_beside_the_password(
    served: RealHub, browser: Browser
) -> None:
    page = opened(browser)
    key = Key(page, transport="usb", hasResidentKey=False)
    enter(page, served, "physician")
    page.get_by_test_id("key-name").fill("USB")
    page.get_by_test_id("key-add").click()
    expect(page.get_by_test_id("patient-card").first).to_be_visible()
    page.get_by_test_id("sign-out").click()
    enter(page, served, "physician")
    key.verifies(False)
    page.get_by_test_id("key-instead").click()
    expect(page.get_by_test_id("key-failed")).to_be_visible()
    key.verifies(True)
    page.get_by_test_id("key-instead").click()
    expect(page.get_by_test_id("patient-card").first).to_be_visible()


def test_keys_are_listed_added_and_taken_away_on_a_phone_in_both_languages(served: RealHub, browser: Browser) -> None:
    page = opened(browser, PHONE)
    Key(page)
    enter(page, served, "caregiver")
    page.get_by_test_id("who").click()
    for language in ("zh", "en"):
        if AXE.exists():
            assert barriers(page) == [], language
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), language
        page.get_by_test_id("language-switch").click()
    page.get_by_test_id("key-name").fill("我的手机" * 10)
    page.get_by_test_id("key-add").click()
    row = page.get_by_test_id("key-row")
    expect(row).to_contain_text("未使用过")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # The device has a key of this account already, and says so.
    page.get_by_test_id("key-name").fill("again")
    page.get_by_test_id("key-add").click()
    expect(page.get_by_test_id("key-failed")).to_be_visible()
    row.get_by_test_id("key-remove").click()
    row.get_by_test_id("key-remove-sure").click()
    expect(page.get_by_test_id("sign-in-submit")).to_be_visible()
    page.get_by_test_id("sign-in-passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("通行密钥未通过验证")
    enter(page, served, "caregiver")
    expect(page.get_by_test_id("patient-card").first).to_be_visible()


def test_who_lost_the_key_is_let_in_again_by_the_administrators_reset(served: RealHub, browser: Browser) -> None:
    page = opened(browser)
    key = Key(page)
    enter(page, served, "physician")
    page.get_by_test_id("key-name").fill("lost")
    page.get_by_test_id("key-add").click()
    expect(page.get_by_test_id("patient-card").first).to_be_visible()
    page.get_by_test_id("sign-out").click()
    key.unplug()
    Key(page)
    page.get_by_test_id("sign-in-passkey").click()
    expect(page.get_by_test_id("key-failed")).to_be_visible()
    reset(served, "physician")
    enter(page, served, "physician")
    expect(page.get_by_test_id("factor-begin")).to_be_visible()


def test_emergency_access_takes_a_key_in_place_of_a_code(served: RealHub, browser: Browser) -> None:
    page = opened(browser)
    Key(page)
    enter(page, served, "clinic")
    page.goto(f"{served.address}#/account")
    page.get_by_test_id("key-name").fill("key")
    page.get_by_test_id("key-add").click()
    expect(page.get_by_test_id("key-row")).to_be_visible()
    page.goto(f"{served.address}#/glass")
    page.get_by_test_id("glass-person").fill("elsewhere")
    page.get_by_test_id("glass-text").fill("收治急诊，意识不清")
    page.get_by_test_id("glass-password").fill("wrong-wrong-wrong")
    page.get_by_test_id("key-instead").click()
    expect(page.get_by_role("alert")).to_contain_text("密码不正确")
    page.get_by_test_id("glass-password").fill(world.PASSWORD)
    page.get_by_test_id("key-instead").click()
    expect(page.get_by_test_id("key-proved")).to_be_visible()
    page.get_by_test_id("glass-submit").click()
    expect(page.get_by_test_id("glass-banner")).to_contain_text("紧急开启")


def test_a_program_is_let_in_with_a_key_and_no_password_and_by_password(served: RealHub, browser: Browser) -> None:
    page = opened(browser)
    key = Key(page)
    enter(page, served, "physician")
    page.get_by_test_id("key-name").fill("key")
    page.get_by_test_id("key-add").click()
    expect(page.get_by_test_id("patient-card").first).to_be_visible()
    page.get_by_test_id("sign-out").click()
    expect(page.get_by_test_id("sign-in-submit")).to_be_visible()
    back = "http://127.0.0.1:51004/callback"
    served.access.database.write_blocking(lambda c: allow_redirect(c, back))
    page.route(f"{back}**", lambda route: route.fulfill(body="back at the program"))
    asked = {"client_id": "program", "redirect_uri": back, "code_challenge": CHALLENGE, "state": "s"}
    page.goto(f"{served.address}oauth/authorize?{urlencode(asked)}")
    by_key = page.locator("form[data-key]")
    key.verifies(False)
    by_key.get_by_role("button").click()
    expect(by_key.get_by_role("alert")).to_contain_text("Not completed")
    if AXE.exists():
        assert barriers(page) == []
    key.verifies(True)
    by_key.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(back) + r"\?code=[\w-]+&state=s"))
    page.goto(f"{served.address}oauth/authorize?{urlencode(asked | {'state': 't'})}")
    page.locator("input[name=username]").fill("clinic")
    page.locator("input[name=password]").fill(world.PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(back) + r"\?code=[\w-]+&state=t"))


def allow_redirect(connection: Connection, redirect: str) -> None:
    account = accounts.account_of(connection, "program")
    assert account is not None
    accounts.save_account(connection, replace(account, redirects=(redirect,)), 1)


def reset(served: RealHub, username: str) -> None:
    """What `cloud-hub accounts reset-factor` does."""
    database = served.access.database
    assert "taken away" in database.write_blocking(lambda c: _reset_factor(c, world.REGION, username))

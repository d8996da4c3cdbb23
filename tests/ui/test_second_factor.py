"""Setting up an authenticator app on the hub's own page, against the hub's real HTTP face."""

import time
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cloud_hub import role_world as world
from tests.ui.real_hub import hub
from tests.ui.server import UI
from tests.ui.test_screens import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium"),
    pytest.mark.skipif(not (UI / "hub" / "index.html").exists(), reason="needs the built screens: make ui"),
]


def enter(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_test_id("sign-in-username").fill("physician")
    page.get_by_test_id("sign-in-password").fill(world.PASSWORD)
    page.get_by_test_id("sign-in-submit").click()


def test_a_physician_sets_up_an_app_and_needs_it_from_then_on(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        page = browser.new_page(locale="zh-CN")
        enter(page, served.address)
        page.get_by_test_id("factor-begin").click()
        secret = page.get_by_test_id("factor-secret").inner_text()
        page.get_by_test_id("factor-code").fill("000000")
        page.get_by_test_id("factor-confirm").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_test_id("factor-code").fill(pyotp.TOTP(secret).at(int(time.time())))
        page.get_by_test_id("factor-confirm").click()
        expect(page.get_by_test_id("recovery-codes").locator("li")).to_have_count(10)
        recovery = page.get_by_test_id("recovery-codes").locator("li").first.inner_text()
        page.get_by_test_id("factor-done").click()
        expect(page.get_by_test_id("patient-card").first).to_be_visible()
        page.get_by_test_id("sign-out").click()
        enter(page, served.address)
        expect(page.get_by_test_id("sign-in-code")).to_be_visible()
        page.get_by_test_id("sign-in-code").fill(recovery)
        page.get_by_test_id("sign-in-submit").click()
        expect(page.get_by_test_id("patient-card").first).to_be_visible()

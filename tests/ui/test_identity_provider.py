"""Signing in with an identity provider, in a browser: the hub's real pages, a real provider."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cloud_hub.access import federated, passkeys
from cloud_hub.config import PasskeysConfig
from tests.browser.glass import AXE, PHONE, barriers
from tests.cloud_hub import role_world as world
from tests.cloud_hub.web.test_oidc import config
from tests.fakes import oidc_provider
from tests.fakes.oidc_provider import OidcProvider
from tests.fakes.ports import free_port
from tests.ui.real_hub import RealHub, hub
from tests.ui.server import UI
from tests.ui.test_passkeys import Key
from tests.ui.test_screens import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium"),
    pytest.mark.skipif(not (UI / "hub" / "index.html").exists(), reason="needs the built screens: make ui"),
]


@dataclass
class Scene:
    """A page before a hub that knows a provider."""

    page: Page
    served: RealHub
    provider: OidcProvider

    def go(self, who: str, amr: str = "") -> None:
        """Sign in at the provider from the hub's page, by keyboard."""
        self.page.goto(self.served.address)
        self.page.get_by_test_id("sign-in-provider").focus()
        self.page.keyboard.press("Enter")
        self.page.locator("#who").fill(who)
        self.page.locator("#amr").fill(amr)
        self.page.locator("#sign-in").click()


@contextmanager
def scene(browser: Browser, folder: Path, size: tuple[int, int] = (1280, 800)) -> Iterator[Scene]:
    with hub(folder) as served, oidc_provider.running(free_port(), served.address) as provider:
        served.app.state.federated = federated.make(config(provider, folder), served.access)
        page = browser.new_page(locale="zh-CN", viewport={"width": size[0], "height": size[1]})
        page.set_default_timeout(15_000)
        yield Scene(page, served, provider)
        page.close()


def test_a_physician_comes_back_from_the_provider_signed_in_and_leaves_both(tmp_path: Path, browser: Browser) -> None:
    with scene(browser, tmp_path) as here:
        here.go("p-1", amr="mfa")
        expect(here.page.get_by_test_id("patient-card").first).to_be_visible()
        here.page.reload()
        here.page.get_by_test_id("sign-out").click()
        expect(here.page).to_have_url(re.compile(r"/session/end\?"))
        here.page.get_by_role("button", name="out").click()
        expect(here.page).to_have_url(re.compile(re.escape(here.served.address)))
        expect(here.page.get_by_test_id("sign-in-provider")).to_be_visible()
        # Signed out at the provider too: it asks again who one is.
        here.page.get_by_test_id("sign-in-provider").click()
        expect(here.page.locator("#who")).to_be_visible()


def test_who_has_keys_alone_comes_in_after_the_provider_with_one(tmp_path: Path, browser: Browser) -> None:
    with scene(browser, tmp_path) as here:
        config = PasskeysConfig(rp_id="localhost", origins=[here.served.address.rstrip("/")])
        here.served.app.state.passkeys = passkeys.make(config, here.served.access)
        Key(here.page)
        here.go("p-1")
        here.page.get_by_test_id("key-name").fill("key")
        here.page.get_by_test_id("key-add").click()
        expect(here.page.get_by_test_id("patient-card").first).to_be_visible()
        here.page.context.clear_cookies()
        here.go("p-1")
        expect(here.page.get_by_test_id("own-code")).to_be_visible()
        here.page.get_by_test_id("key-instead").focus()
        here.page.keyboard.press("Enter")
        expect(here.page.get_by_test_id("patient-card").first).to_be_visible()


def test_what_went_wrong_stands_there_in_words_and_local_accounts_sign_in(tmp_path: Path, browser: Browser) -> None:
    with scene(browser, tmp_path, PHONE) as here:
        here.go("p-2")
        told = here.page.get_by_test_id("sign-in-returned")
        expect(told).to_contain_text("没有为您开通账号")
        assert "refused" not in here.page.url
        here.page.get_by_test_id("language-switch").click()
        expect(told).to_contain_text("you have no account here")
        assert here.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if AXE.exists():
            assert barriers(here.page) == []
        here.provider.stop()
        here.page.get_by_test_id("sign-in-provider").click()
        expect(here.page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
        here.page.get_by_test_id("sign-in-username").fill("caregiver")
        here.page.get_by_test_id("sign-in-password").fill(world.PASSWORD)
        here.page.get_by_test_id("sign-in-submit").click()
        expect(here.page.get_by_test_id("patient-card").first).to_be_visible()

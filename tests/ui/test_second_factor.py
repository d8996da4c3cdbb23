"""Setting up an authenticator app on the hub's own page, against the hub's real HTTP face."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pyotp
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Page, expect, sync_playwright
from telemed.roles import Role

from cloud_hub.access.passwords import hash_password
from cloud_hub.access.sign_in import SecondFactor
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.ui.server import UI
from tests.ui.test_screens import CHROMIUM, FLAGS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(90),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium"),
    pytest.mark.skipif(not (UI / "hub" / "index.html").exists(), reason="needs the built screens: make ui"),
]


@contextmanager
def hub(folder: Path) -> Iterator[str]:
    """Serve a hub whose physicians need a second factor; yield its address."""
    stores = Stores(
        Database(f"sqlite:///{folder}/care.db", CARE, "care"),
        Database(f"sqlite:///{folder}/samples.db", SAMPLES, "samples"),
    )
    for database in (stores.care, stores.samples):
        database.migrate()
    world.fill(stores, hash_password(world.PASSWORD))
    with ThreadPoolExecutor(1) as aside:  # the browser's own loop runs in this thread
        app: FastAPI = aside.submit(asyncio.run, world.build(stores, time.time_ns)).result()
    app.state.access.second = SecondFactor(frozenset({Role.PHYSICIAN}))
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(10)
    for database in (stores.care, stores.samples):
        database.close()


def enter(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_test_id("sign-in-username").fill("physician")
    page.get_by_test_id("sign-in-password").fill(world.PASSWORD)
    page.get_by_test_id("sign-in-submit").click()


def test_a_physician_sets_up_an_app_and_needs_it_from_then_on(tmp_path: Path) -> None:
    with hub(tmp_path) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(locale="zh-CN")
        enter(page, address)
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
        enter(page, address)
        expect(page.get_by_test_id("sign-in-code")).to_be_visible()
        page.get_by_test_id("sign-in-code").fill(recovery)
        page.get_by_test_id("sign-in-submit").click()
        expect(page.get_by_test_id("patient-card").first).to_be_visible()
        browser.close()

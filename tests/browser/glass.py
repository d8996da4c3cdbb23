"""What the browser tests of the story share: Chromium, and pages that fail on any error of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.consult_page import ARGUMENTS, CHROMIUM, UI
from tests.region.region import PASSWORD

DESK, PHONE = (1440, 900), (390, 844)
AXE = UI / "node_modules" / "axe-core" / "axe.min.js"
SHOWN_S = 20
"""How long a page may take to show what is not itself timed."""


@dataclass(slots=True)
class Glass:
    """One page of one person, with what went wrong on it."""

    page: Page
    faults: list[str] = field(default_factory=list)
    is_hub_down: bool = False
    """While true, requests that fail are no fault of the page."""

    def hear(self, line: ConsoleMessage) -> None:
        """Keep an error of the console, but for the question whether somebody is signed in."""
        if line.type != "error":
            return
        where = (line.location or {}).get("url", "")
        is_probe = "401" in line.text and where.endswith("/api/v1/session")
        is_gone = self.is_hub_down and ("Failed to load resource" in line.text or "WebSocket" in line.text)
        if not is_probe and not is_gone:
            self.faults.append(f"{line.text} ({where})")

    def sign_in(self, url: str, who: str) -> Page:
        """Sign in through the form and return the page."""
        self.page.goto(url)
        self.page.get_by_test_id("sign-in-username").fill(who)
        self.page.get_by_test_id("sign-in-password").fill(PASSWORD)
        self.page.get_by_test_id("sign-in-submit").click()
        expect(self.page.get_by_test_id("sign-in-submit")).to_have_count(0)
        return self.page


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium with a fake camera and microphone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def glass(browser: Browser, size: tuple[int, int] = DESK) -> Iterator[Glass]:
    """Open a page of its own context; fails when the page had an error."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, locale="zh-CN", permissions=["microphone", "camera"]
    )
    context.set_default_timeout(SHOWN_S * 1000)
    expect.set_options(timeout=SHOWN_S * 1000)
    opened = Glass(context.new_page())
    opened.page.on("pageerror", lambda error: opened.faults.append(str(error)))
    # Playwright keeps a mark on the owner of a bound method, and slots leave no room for it.
    opened.page.on("console", lambda line: opened.hear(line))  # noqa: PLW0108
    try:
        yield opened
        assert not opened.faults, opened.faults
    finally:
        context.close()


def barriers(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical on the page, as one line each."""
    page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]

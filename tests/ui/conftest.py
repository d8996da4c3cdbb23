"""What every test of the hub's pages shares: the browser, and how long it waits for what is to be seen."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.ui.test_screens import CHROMIUM, FLAGS

# Five seconds, Playwright's own, say how busy the machine is.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium, started once for the tests of a file."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The same; what a test opens in it is closed after that test."""
    before = list(chromium.contexts)
    yield chromium
    for context in chromium.contexts:
        if context not in before:
            context.close()

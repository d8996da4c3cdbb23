"""What every test of the hub's pages shares: the browser, and how long it waits for what is to be seen."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.ui.test_screens import CHROMIUM, FLAGS

# Five seconds, Playwright's own, say how busy the machine is.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def _started() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def browser(_started: Browser) -> Iterator[Browser]:
    """Chromium, started once for the tests of a file; what a test opened in it is closed after that test."""
    yield _started
    for context in _started.contexts:
        context.close()

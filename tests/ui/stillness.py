"""Waits until what a page draws stays as it is."""

from collections.abc import Callable
from typing import TypeVar

from playwright.sync_api import Page

T = TypeVar("T")
LOOKS, APART_MS = 50, 200


def settled(page: Page, look: Callable[[Page], T], tells: Callable[[T], object]) -> T:
    """Return what is seen once it tells the same twice.

    Args:
        page: where to look.
        look: what is seen there now.
        tells: what of it must stay as it is.
    """
    before = look(page)
    for _ in range(LOOKS):
        page.wait_for_timeout(APART_MS)
        now = look(page)
        if tells(now) == tells(before):
            return now
        before = now
    raise AssertionError("the picture never stands still")

"""The list of studies at a real hub: what is to be read, by keys and by hand, and what comes while one looks."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cloud_hub import role_world as world
from tests.ui import imaging_scene as scene
from tests.ui.real_hub import RealHub
from tests.ui.test_people import enter
from tests.ui.test_screens import DESK, PHONE
from tests.ui.test_second_factor import pytestmark
from tests.ui.test_studies import AXE, SERIOUS, key_of, served

__all__ = ["pytestmark", "served"]


def listed(
    browser: Browser, served: RealHub, size: tuple[int, int] = DESK, username: str = "physician", unread: bool = True
) -> Page:
    """Open the list."""
    page = enter(browser, served.address, username)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(f"{served.address}#/images")
    if not unread:
        page.get_by_test_id("list-all").click()
    expect(page.get_by_test_id("list-row").first).to_be_visible()
    return page


def test_the_list_is_newest_first_and_told_apart_by_site_kind_and_reading(served: RealHub, browser: Browser) -> None:
    page = listed(browser, served, unread=False)
    rows = page.get_by_test_id("list-row")
    # All four persons of the region have a study of their own; of one the episode is over.
    expect(page.get_by_test_id("list-count")).to_have_text("共 5 项")
    expect(rows.nth(0)).to_contain_text("谷own")
    expect(rows.nth(0)).to_contain_text("2026-11-26 15:48")
    expect(rows.nth(1)).to_contain_text("已到 5 / 7")
    page.get_by_test_id("list-modality").select_option("MR")
    expect(rows).to_have_count(1)
    page.get_by_test_id("list-modality").select_option("")
    page.get_by_test_id("list-site").select_option(world.FAR_SITE)
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("谷elsewhere")


def test_a_clinic_doctor_sees_their_own_site_alone(served: RealHub, browser: Browser) -> None:
    page = listed(browser, served, username="clinic", unread=False)
    expect(page.get_by_text("谷elsewhere")).to_have_count(0)


def test_by_keys_a_study_is_chosen_marked_as_read_and_opened(served: RealHub, browser: Browser) -> None:
    page = listed(browser, served)
    rows, count = page.get_by_test_id("list-row"), page.get_by_test_id("list-count")
    expect(count).to_have_text("共 5 项")
    page.keyboard.press("j")
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    with page.expect_request("**/read") as asked:
        page.keyboard.press("r")
    assert asked.value.post_data_json == {"images": len(scene.KINDS)}
    expect(count).to_have_text("共 4 项")
    expect(page.get_by_text("All kinds")).to_have_count(0)
    page.keyboard.press("u")
    expect(rows.filter(has_text="All kinds")).to_contain_text("已阅")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "0", timeout=30_000)
    state = page.get_by_test_id("read-state")
    expect(state).to_have_attribute("data-unread", "true")
    with page.expect_request("**/read") as asked:
        page.get_by_test_id("mark-read").click()
    assert asked.value.post_data_json == {"images": scene.SLICES}
    expect(state).to_have_attribute("data-unread", "false")
    expect(state).to_contain_text("physician")
    page.get_by_test_id("mark-read").click()
    expect(state).to_have_attribute("data-unread", "true")
    # Back to what was asked for and chosen.
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("list-all")).to_have_attribute("aria-pressed", "true")
    expect(rows.nth(0)).to_have_attribute("aria-current", "true")


def test_a_nurse_reads_the_list_and_marks_nothing(served: RealHub, browser: Browser) -> None:
    page = listed(browser, served, username="nurse", unread=False)
    page.goto(f"{served.address}#/study/{key_of(page, scene.HEAD)}")
    expect(page.get_by_test_id("read-state")).to_be_visible()
    expect(page.get_by_test_id("mark-read")).to_have_count(0)


def test_what_comes_waits_beside_the_list_while_the_pointer_is_over_it(
    served: RealHub, browser: Browser, shared_data: Path
) -> None:
    page = enter(browser, served.address, "physician")
    page.clock.install()
    page.goto(f"{served.address}#/images")
    page.get_by_test_id("list-all").click()
    # Whether the page asked or the hub was slow to answer, once seen on a busy machine and not again.
    expect(page.get_by_test_id("list-all")).to_have_attribute("aria-pressed", "true")
    rows = page.get_by_test_id("list-row")
    expect(rows).to_have_count(5, timeout=25_000)
    rows.nth(2).hover()
    scene.store(page, scene.newcomer(shared_data))
    page.clock.run_for(5_000)
    page.clock.resume()
    fresh = page.get_by_role("button", name="1 项新到")
    page.get_by_test_id("list-site").focus()
    expect(fresh).to_be_visible(timeout=25_000)
    expect(rows).to_have_count(5)
    fresh.click()
    expect(rows).to_have_count(6)
    expect(rows.nth(0)).to_contain_text("Newcomer")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_list_has_no_serious_barrier_and_fits_in_either_language(
    served: RealHub, browser: Browser, size: tuple[int, int]
) -> None:
    page = listed(browser, served, size, unread=False)
    for _ in ("zh", "en"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")
        grave = [one for one in found["violations"] if one["impact"] in SERIOUS]
        assert not grave, json.dumps(grave)[:2000]
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        page.keyboard.press("Alt+l")


def test_r_and_enter_keep_to_the_study_that_was_chosen_when_a_newer_one_comes(
    served: RealHub, browser: Browser
) -> None:
    page = enter(browser, served.address, "physician")
    page.clock.install()
    page.goto(f"{served.address}#/images")
    rows = page.get_by_test_id("list-row")
    page.mouse.move(0, 0)
    chosen = page.locator("[data-testid=list-row][aria-current=true]")
    expect(chosen).to_have_count(1)
    page.keyboard.press("j")
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    link, before = chosen.get_by_role("link").get_attribute("href"), rows.count()
    scene.store(page, scene.plain("1.2.826.0.1.7", StudyDate="20261128"))
    page.clock.fast_forward(21_000)
    expect(rows).to_have_count(before + 1)
    expect(rows.nth(2)).to_have_attribute("aria-current", "true")
    with page.expect_request("**/read") as asked:
        page.keyboard.press("r")
    assert link is not None
    assert asked.value.url.split("/")[-2] == link.rpartition("/")[2]
    # What leaves the list leaves nothing chosen, and the next key goes on from its place.
    expect(rows).to_have_count(before)
    expect(chosen).to_have_count(0)
    page.keyboard.press("Enter")
    page.keyboard.press("j")
    expect(rows.nth(2)).to_have_attribute("aria-current", "true")
    link = chosen.get_by_role("link").get_attribute("href")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{served.address}{link}")
    page.context.close()


def test_the_last_page_is_shown_when_the_one_that_was_looked_at_has_emptied(served: RealHub, browser: Browser) -> None:
    page = listed(browser, served)
    scene.store(page, *(scene.plain(f"1.2.826.0.2.{number}", StudyDate="20200101") for number in range(30)))
    page.reload()
    rows = page.get_by_test_id("list-row")
    expect(rows).to_have_count(25)
    page.get_by_test_id("list-older").click()
    page.mouse.move(0, 0)
    expect(page.get_by_text("第 26 ")).to_be_visible()
    root, token = served.address, page.request.get(f"{served.address}api/v1/session").json()["csrf_token"]
    older = page.request.get(f"{root}api/v1/studies?unread=true&limit=100").json()["studies"][25:]
    expect(rows).to_have_count(len(older))
    for row in older[1:]:
        path = f"{root}api/v1/studies/{row['study_key']}/read"
        assert page.request.post(path, data={"images": 1}, headers={"X-CSRF-Token": token}).ok
    page.keyboard.press("r")
    expect(page.get_by_test_id("list-count")).to_have_text("共 25 项")
    expect(rows).to_have_count(25)


def test_a_choice_that_has_the_focus_keeps_its_own_keys(served: RealHub, browser: Browser) -> None:
    page = listed(browser, served, unread=False)
    modality = page.get_by_test_id("list-modality")
    for key, value in (("ArrowDown", "CT"), ("ArrowDown", "MR"), ("ArrowUp", "CT"), ("End", "PT"), ("Home", "")):
        modality.focus()
        page.keyboard.press(key)
        expect(modality).to_have_value(value)
    # The page's own letters with Alt work there too.
    page.keyboard.press("Alt+l")
    expect(page.get_by_test_id("language-switch")).to_have_text("中文")

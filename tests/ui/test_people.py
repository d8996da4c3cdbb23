"""Opening a record in an emergency and pairing a wall display, on the hub's own pages and its real HTTP face."""

from pathlib import Path

from playwright.sync_api import Browser, Page, Route, expect

from tests.cloud_hub import role_world as world
from tests.ui.real_hub import hub
from tests.ui.test_second_factor import pytestmark

__all__ = ["pytestmark"]


def enter(browser: Browser, address: str, username: str, *, has_touch: bool = False) -> Page:
    page = browser.new_context(locale="zh-CN", has_touch=has_touch, is_mobile=has_touch).new_page()
    page.goto(address)
    page.get_by_test_id("sign-in-username").fill(username)
    page.get_by_test_id("sign-in-password").fill(world.PASSWORD)
    page.get_by_test_id("sign-in-submit").click()
    expect(page.get_by_test_id("sign-in-submit")).to_have_count(0)
    return page


def requests_of(page: Page) -> list[str]:
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url))
    return found


def test_an_opened_record_carries_a_red_banner_and_its_own_doctors_are_told(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        address = served.address
        page = enter(browser, address, "clinic")
        page.goto(f"{address}#/glass")
        page.get_by_test_id("glass-person").fill("elsewhere")
        page.get_by_test_id("glass-text").fill("收治急诊，意识不清")
        page.get_by_test_id("glass-password").fill(world.PASSWORD)
        was_disabled: list[bool] = []

        def look(route: Route) -> None:
            if route.request.method == "POST":
                was_disabled.append(page.get_by_test_id("glass-submit").is_disabled())
            route.continue_()

        page.route("**/api/v1/break-glass", look)
        page.get_by_test_id("glass-submit").click()
        expect(page.get_by_test_id("glass-banner")).to_contain_text("紧急开启")
        page.unroute_all(behavior="wait")
        assert was_disabled == [True]
        page.goto(f"{address}#/patient/{world.FAR_SITE}%3AH01")
        page.reload()
        expect(page.get_by_test_id("glass-banner")).to_be_visible()
        told = enter(browser, address, "far-clinic")
        told.goto(f"{address}#/glass")
        expect(told.get_by_test_id("glass-notice")).to_contain_text("收治急诊")
        review = enter(browser, address, "auditor")
        expect(review.get_by_test_id("review-row").filter(has_text="收治急诊")).to_have_count(1)
        notice = review.get_by_test_id("glass-notice").filter(has_text="收治急诊")
        notice.get_by_role("button", name="已知悉").click()
        expect(notice).to_have_count(0)


def test_who_administers_a_site_finds_its_sites_and_its_openings_to_review(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        address = served.address
        page = enter(browser, address, "site-admin")
        expect(page.get_by_role("heading", level=1)).to_have_text("站点")
        page.get_by_role("link", name="审查").click()
        expect(page.get_by_test_id("review-row")).to_have_count(3)
        page.get_by_role("link", name="站点").click()
        expect(page.get_by_role("table")).to_be_visible()


def test_only_those_who_are_told_of_openings_ask_for_notices(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        address = served.address
        for username, asks in (("clinic", True), ("nurse", False)):
            page = enter(browser, address, username)
            asked = requests_of(page)
            with page.expect_response(lambda answer: answer.url.endswith("/break-glass")):
                page.goto(f"{address}#/patient/{world.SITE}%3AB01")
            assert any(url.endswith("/break-glass/notices") for url in asked) is asks, username


def test_a_wall_display_is_paired_by_its_code_and_goes_dark_when_revoked(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        address = served.address
        operator = enter(browser, address, "operator")
        operator.get_by_test_id("display-site").select_option(world.SITE)
        operator.get_by_test_id("display-name").fill("护士站")
        operator.get_by_test_id("display-make").click()
        code = operator.get_by_test_id("display-code").inner_text()
        wall = browser.new_context(locale="zh-CN").new_page()
        wall.goto(f"{address}#/display")
        wall.get_by_test_id("pair-code").fill(code)
        wall.get_by_test_id("pair-submit").click()
        expect(wall.get_by_test_id("patient-card").first).to_be_visible()
        expect(wall.get_by_role("navigation").get_by_role("link")).to_have_text(["监护墙"])
        operator.get_by_role("button", name="撤销").first.click()
        expect(wall.get_by_test_id("patient-card")).to_have_count(0, timeout=30_000)

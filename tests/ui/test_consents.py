"""Consents seen and taken back in two taps, on the hub's real HTTP face: the doctor's page and the family's phone."""

import zipfile
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.cloud_hub import role_world as world
from tests.ui.real_hub import hub
from tests.ui.test_people import enter
from tests.ui.test_second_factor import pytestmark

__all__ = ["pytestmark"]


def test_a_doctor_records_a_consent_and_takes_one_back_in_two_taps(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        address = served.address
        page = enter(browser, address, "clinic")
        page.goto(f"{address}#/patient/{world.SITE}%3AB01")
        family = page.get_by_test_id("consent-C5")
        expect(family).to_contain_text("本人同意")
        page.get_by_test_id("consents-more").click()
        research = page.get_by_test_id("consent-C7")
        expect(research).to_contain_text("未询问")
        research.get_by_role("button", name="记录同意").click()
        expect(page.get_by_test_id("give-C7")).to_be_disabled()
        research.get_by_role("button", name="签字").click()
        page.get_by_test_id("give-C7").click()
        expect(page.locator('[data-testid="consent-C7"][data-state="given"]')).to_contain_text("签字")
        research.get_by_role("button", name="撤回").click()
        expect(research).to_contain_text("不再包含此人")
        page.get_by_test_id("withdraw-C7").click()
        expect(page.locator('[data-testid="consent-C7"][data-state="withdrawn"]')).to_contain_text("撤回")


def test_a_relatives_phone_shows_who_can_see_and_goes_blank_at_the_second_tap(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        address = served.address
        page = enter(browser, address, "caregiver")
        sharing = page.get_by_test_id("sharing")
        expect(page.get_by_test_id("patient-card")).to_have_count(1)
        sharing.get_by_role("button", name="撤回").click()
        expect(sharing).to_contain_text("立即看不到此人")
        page.get_by_test_id("withdraw-C5").click()
        expect(page.get_by_test_id("patient-card")).to_have_count(0, timeout=5_000)


def test_a_relative_takes_a_copy_of_everything_along(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path) as served:
        address = served.address
        page = enter(browser, address, "caregiver")
        with page.expect_download() as download:
            page.get_by_test_id("take-copy").click()
        assert download.value.suggested_filename == "yuanzhen-own.zip"
        with zipfile.ZipFile(download.value.path()) as found:
            assert "index.html" in found.namelist()


def test_another_screen_of_the_family_goes_blank_when_the_doctor_records_the_withdrawal(
    tmp_path: Path, browser: Browser
) -> None:
    with hub(tmp_path) as served:
        address = served.address
        phone = enter(browser, address, "caregiver")
        expect(phone.get_by_test_id("patient-card")).to_have_count(1)
        doctor = enter(browser, address, "clinic")
        doctor.goto(f"{address}#/patient/{world.SITE}%3AB01")
        doctor.get_by_test_id("consent-C5").get_by_role("button", name="撤回").click()
        doctor.get_by_test_id("withdraw-C5").click()
        # Well under the ten seconds in which an open page asks by itself what it may show.
        expect(phone.get_by_test_id("patient-card")).to_have_count(0, timeout=5_000)

"""Images at the bedside: a doctor files those of nobody in two taps, and adds a photo; the hub has both."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.consult_page import CHROMIUM, UI
from tests.browser.glass import AXE, PHONE, barriers, chromium, glass
from tests.fakes.dcmtk import needs_dcmtk
from tests.fakes.ports import free_port
from tests.flows.test_study_to_hub import IMAGING, PATIENT, manifests, slices, storescu, written
from tests.region.region import Clinic, Region, running, until

pytestmark = [
    needs_dcmtk,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
    pytest.mark.skipif(
        not (UI / "dist" / "bedside" / "index.html").exists(), reason="needs the built screens: make ui"
    ),
]
PORT = free_port()
CLINIC = Clinic(extra=IMAGING.format(port=PORT))


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    with running(Region(tmp_path_factory.mktemp("region"), (CLINIC,))) as started:
        storescu(PORT, written(started.folder / "theirs", slices(3, PATIENT, "1.2.3")))
        storescu(PORT, written(started.folder / "nobodys", slices(3, "P-UNKNOWN", "1.2.4")))
        # The accounts come down from the hub.
        started.signed_in(started.page_url(), "clinic").close()
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def opened(page: Page) -> None:
    page.get_by_test_id("site-images-open").click()
    expect(page.get_by_test_id("site-study")).to_have_count(2)


def test_a_family_sees_nothing_of_it(region: Region, browser: Browser) -> None:
    with glass(browser, PHONE) as bedside:
        page = bedside.sign_in(region.page_url(), "caregiver")
        expect(page.get_by_test_id("waiting")).to_be_visible()
        expect(page.get_by_test_id("site-images")).to_have_count(0)


def test_a_doctor_files_images_under_somebody_in_a_bed_and_the_hub_is_told(region: Region, browser: Browser) -> None:
    with glass(browser, PHONE) as bedside:
        page = bedside.sign_in(region.page_url(), "clinic")
        opened(page)
        whose = page.get_by_test_id("site-study-whose")
        expect(whose).to_contain_text("按编号自动归入")
        expect(page.get_by_test_id("site-study").first).to_contain_text("P-UNKNOWN")
        unknown = page.locator('[data-testid="site-study"][data-filed="false"]')
        unknown.get_by_role("button", name="这是谁的？").click()
        choice = page.get_by_test_id("site-study-choice")
        expect(page.get_by_test_id("site-study-file")).to_have_count(0)
        choice.locator("button.choice").first.click()
        expect(choice).to_contain_text("编号与所选的人不同")
        assert AXE.exists()
        assert barriers(page) == []
        page.get_by_test_id("site-study-file").click()
        expect(unknown).to_have_count(0)
        expect(whose.filter(has_text="由 clinic 归入")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        filed = until(
            lambda: [each for each in manifests(region) if each.patient_id == "P-UNKNOWN" and each.person_id],
            30,
            "the hub is told",
        )
        assert filed[-1].assigned_by == "clinic"


def test_a_photo_of_who_lies_in_a_bed_is_at_the_hub_under_their_name(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    photo = tmp_path / "wound.jpg"
    Image.effect_noise((320, 240), 60).convert("RGB").save(photo)
    with glass(browser, PHONE) as bedside:
        page = bedside.sign_in(region.page_url(), "clinic")
        page.get_by_test_id("bed-photo").first.click()
        form = page.get_by_test_id("bed-photo-form")
        form.get_by_test_id("bed-photo-file").set_input_files(str(Path(__file__)))
        expect(form).to_contain_text("只收 JPEG、PNG 和 PDF")
        expect(form.get_by_test_id("bed-photo-send")).to_have_count(0)
        form.get_by_test_id("bed-photo-file").set_input_files(str(photo))
        form.get_by_role("button", name="伤口").click()
        assert barriers(page) == []
        form.get_by_test_id("bed-photo-send").click()
        expect(form.locator('[data-state="imported"]')).to_contain_text("正送往中心")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        (sent,) = until(
            lambda: [each for each in manifests(region) if each.description == "伤口"], 30, "the photo is at the hub"
        )
        assert sent.person_id
        assert [each.modality for each in sent.objects] == ["XC"]

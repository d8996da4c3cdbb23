"""A physician judges what a model points to, at a real hub with the very report that a node writes."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from cloud_hub.config import ImagingConfig
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.readers import Readers
from cloud_hub.store import studies
from cloud_hub.store.engine import Database
from cloud_hub.store.studies import Narrowing
from tests.cloud_hub import role_world as world
from tests.fakes import ai_reports, swi_dicom
from tests.fakes.imaging_hub import ImagingHub
from tests.ui import imaging_scene as scene
from tests.ui.real_hub import RealHub, hub
from tests.ui.stillness import settled
from tests.ui.test_people import enter
from tests.ui.test_screens import DESK, PHONE
from tests.ui.test_second_factor import pytestmark
from tests.ui.test_studies import AXE, SERIOUS

__all__ = ["pytestmark"]
PICTURE_MM = 48
"""Of the made-up head: as many pixels of a millimetre each way."""


def fill(folder: Path, findings: int = 2) -> Callable[[Database], Images]:
    """Return what puts a study that a model read, and found so much in, into a hub."""

    def work(care: Database) -> Images:
        made = ImagingHub.over(care, folder / "blobs")
        results = ai_reports.objects(folder / "mr", findings)
        files = [*results, *(path.read_bytes() for path in sorted((folder / "mr").glob("*.dcm"))[:40])]
        for content in files:
            made.arrive(scene.ADDRESS, content, "swi")
        named = [hashlib.sha256(one).hexdigest() for one in files]
        made.send_manifest(scene.ADDRESS, scene.manifest("swi", swi_dicom.STUDY, named))
        asyncio.run(index(made))
        return Images(made.blobs, Readers(ImagingConfig()))

    return work


async def index(made: ImagingHub) -> None:
    await made.indexer.read_all()
    await made.readers.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    folder = tmp_path_factory.mktemp("hub")
    with hub(folder, fill(folder), second_factor=False) as found:
        yield found


def address_of(served: RealHub) -> str:
    """Return where the study's page is: by its key, or by its UID."""
    asked = Narrowing(study_uids=frozenset({swi_dicom.STUDY}))
    care = served.app.state.parts.stores.care
    (study,) = care.read_blocking(lambda c: list(studies.studies(c, world.REGION, asked)))
    return f"{served.address}#/study/{study.study_key}"


@contextmanager
def opened(
    browser: Browser,
    served: RealHub,
    size: tuple[int, int] = DESK,
    username: str = "physician",
    *,
    has_touch: bool = False,
) -> Iterator[Page]:
    page = enter(browser, served.address, username, has_touch=has_touch)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(address_of(served))
    expect(page.get_by_test_id("findings")).to_be_visible(timeout=30_000)
    try:
        yield page
        assert faults == []
    finally:
        page.context.close()


def finding(page: Page, number: int) -> Locator:
    return page.get_by_test_id("finding").nth(number)


def take_back(page: Page) -> None:
    """Leave no word standing, whatever a test before said, and the first finding chosen."""
    for number in range(2):
        button = finding(page, number).get_by_test_id("finding-reopen")
        if button.count():
            button.click()
            expect(finding(page, number)).to_have_attribute("data-verdict", "")
    # The one that was taken back last is chosen.
    page.keyboard.press("k")


def test_a_finding_is_marked_as_the_models_word_until_somebody_says_otherwise(
    served: RealHub, browser: Browser
) -> None:
    with opened(browser, served) as page:
        take_back(page)
        marks = page.get_by_test_id("finding-mark")
        expect(marks).to_have_text(["AI · 未经核实", "AI · 未经核实"])
        page.keyboard.press("y")
        expect(marks.nth(0)).to_contain_text("physician")
        expect(marks.nth(0)).to_contain_text("核实：属实")
        expect(marks.nth(1)).to_have_text("AI · 未经核实")
        expect(page.get_by_test_id("report-state")).to_have_attribute("data-state", "preliminary")


def test_a_rejection_asks_why_and_a_word_is_taken_back_by_another(served: RealHub, browser: Browser) -> None:
    with opened(browser, served) as page:
        take_back(page)
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.get_by_test_id("reason-vessel").click()
        expect(finding(page, 1)).to_have_attribute("data-verdict", "rejected")
        expect(finding(page, 1).get_by_test_id("finding-mark")).to_contain_text("不属实（血管）")
        page.keyboard.press("u")
        expect(finding(page, 1)).to_have_attribute("data-verdict", "")
        expect(finding(page, 1)).to_contain_text("此前的判断")


def test_a_change_says_what_it_is_and_keeps_what_the_model_said(served: RealHub, browser: Browser) -> None:
    with opened(browser, served) as page:
        take_back(page)
        page.keyboard.press("e")
        expect(page.get_by_test_id("edit-save")).to_be_disabled()
        page.get_by_test_id("edit-region").select_option("deep")
        page.get_by_test_id("edit-diameter").fill("4.5")
        page.get_by_test_id("edit-save").click()
        expect(finding(page, 0)).to_have_attribute("data-verdict", "edited")
        expect(finding(page, 0)).to_contain_text("直径 4.5 mm · 深部")
        expect(finding(page, 0)).to_contain_text("AI 原为：直径 3.0 mm · 脑叶")


def test_pressing_a_finding_shows_the_image_that_shows_it_best(served: RealHub, browser: Browser) -> None:
    with opened(browser, served) as page:
        finding(page, 1).get_by_test_id("finding-show").click()
        viewer = page.get_by_test_id("viewer")
        expect(viewer).to_have_attribute("data-shown", "14", timeout=30_000)
        page.keyboard.press("k")
        expect(viewer).to_have_attribute("data-shown", "13")


def ring_of(page: Page, number: int) -> tuple[float, float, float]:
    """Return where a ring stands in the picture, as a share of its breadth and height, and its radius in images' mm."""
    width, height, x, y, radius = page.evaluate(
        """number => {
            const {clientWidth, clientHeight} = document.querySelector(".viewer-canvas");
            const ring = document.querySelectorAll("[data-testid=finding-drawn] circle.under")[number];
            return [clientWidth, clientHeight, ...["cx", "cy", "r"].map(name => Number(ring.getAttribute(name)))];
        }""",
        number,
    )
    # The picture fills the canvas as far as its form allows.
    px_per_mm = min(width, height) / PICTURE_MM
    left, top = (width - PICTURE_MM * px_per_mm) / 2, (height - PICTURE_MM * px_per_mm) / 2
    return (x - left) / px_per_mm, (y - top) / px_per_mm, radius / px_per_mm


def test_a_finding_is_drawn_around_its_place_in_the_slices_that_cut_it(served: RealHub, browser: Browser) -> None:
    with opened(browser, served) as page:
        take_back(page)
        finding(page, 0).get_by_test_id("finding-show").click()
        drawn = page.get_by_test_id("finding-drawn")
        expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "13", timeout=30_000)
        # The second one's ball, a millimetre higher, is cut by this slice and by the next.
        expect(drawn).to_have_text(["AI 1 · 未核实", "AI 2"])
        for number, centre in enumerate(((1.5, -2.25), (9.5, -2.25))):
            x, y, radius = ring_of(page, number)
            # As drawn: half a pixel before the first pixel's centre at (-23.5, -23.5) is the edge of the picture.
            assert (x - 24, y - 24) == pytest.approx(centre, abs=0.15)
            assert 1.5 < radius < 4
        page.keyboard.press("ArrowDown")
        expect(drawn).to_have_text(["AI 2"])
        page.keyboard.press("ArrowDown")
        expect(drawn).to_have_count(0)


def test_what_the_model_points_to_is_hidden_by_a_key_and_follows_the_picture(served: RealHub, browser: Browser) -> None:
    with opened(browser, served) as page:
        take_back(page)
        finding(page, 0).get_by_test_id("finding-show").click()
        drawn = page.get_by_test_id("finding-drawn")
        expect(drawn).to_have_count(2, timeout=30_000)
        before = ring_of(page, 0)
        page.keyboard.press("m")
        expect(drawn.nth(0).locator("circle.under")).not_to_have_attribute("cx", str(before[0]))
        assert ring_of(page, 0)[:2] == pytest.approx((PICTURE_MM - before[0], before[1]), abs=0.15)
        page.keyboard.press("m")
        page.keyboard.press("y")
        expect(drawn.nth(0)).to_have_text("AI 1 · 已核实")
        page.keyboard.press("h")
        expect(drawn).to_have_count(0)
        expect(page.get_by_test_id("hide-ai")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("h")
        expect(drawn).to_have_count(2)
        # Of what is none nothing is drawn but while one asks for it.
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.get_by_test_id("reason-vessel").click()
        expect(drawn).to_have_attribute("data-verdict", "rejected")
        page.keyboard.press("k")
        expect(drawn).to_have_text(["AI 1 · 已核实"])


def turned(page: Page, plane: str) -> None:
    page.get_by_test_id(f"plane-{plane}").click()
    name = {"axial": "轴位", "sagittal": "矢状", "coronal": "冠状"}[plane]
    expect(page.get_by_test_id("made-plane")).to_contain_text(name)
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-plane", plane)


def edges(page: Page) -> str:
    return "".join(page.get_by_test_id(f"edge-{side}").inner_text() for side in ("left", "right", "top", "bottom"))


def test_of_slices_that_have_all_come_other_planes_are_made_through_what_one_looks_at(
    served: RealHub, browser: Browser
) -> None:
    with opened(browser, served) as page:
        take_back(page)
        finding(page, 0).get_by_test_id("finding-show").click()
        drawn = page.get_by_test_id("finding-drawn")
        expect(drawn).to_have_count(2, timeout=30_000)
        expect(page.get_by_test_id("plane-sagittal")).to_be_enabled(timeout=30_000)

        turned(page, "sagittal")
        expect(drawn).to_have_text(["AI 1 · 未核实"])
        assert edges(page) == "APHF"
        # To the right lies the back, downwards the feet: the finding's y and z.
        assert ring_of(page, 0)[:2] == pytest.approx((24 - 2.25, 24 - 3), abs=0.15)
        number = page.get_by_test_id("slice-number").inner_text()
        for _ in range(2):
            page.keyboard.press("ArrowDown")
        expect(drawn).to_have_count(0)
        expect(page.get_by_test_id("slice-number")).not_to_have_text(number)

        page.keyboard.press("k")
        expect(drawn).to_have_count(1)
        turned(page, "coronal")
        assert edges(page) == "RLHF"
        expect(drawn).to_have_count(2)
        assert ring_of(page, 0)[:2] == pytest.approx((24 + 1.5, 24 - 3), abs=0.15)
        # Another one that is pressed is what the planes go through, also where another slice was looked at before.
        finding(page, 1).get_by_test_id("finding-show").click()
        turned(page, "sagittal")
        expect(drawn).to_have_text(["AI 2 · 未核实"])
        turned(page, "coronal")
        expect(drawn).to_have_count(2)
        page.keyboard.press("k")

        page.keyboard.press("v")
        expect(page.get_by_test_id("viewer")).to_have_attribute("data-plane", "slices")
        expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "13")
        expect(drawn).to_have_count(2)


def test_all_planes_go_through_the_point_that_was_pressed_twice(served: RealHub, browser: Browser) -> None:
    with opened(browser, served) as page:
        expect(page.get_by_test_id("plane-axial")).to_be_enabled(timeout=30_000)
        turned(page, "axial")
        canvas = page.locator(".viewer-canvas")
        box = canvas.bounding_box()
        assert box is not None
        canvas.dblclick(position={"x": box["width"] * 0.6, "y": box["height"] * 0.3})
        cross = page.get_by_test_id("plane-point")
        expect(cross).to_have_count(1)
        before = float(cross.get_attribute("data-x") or "nan")
        assert before == pytest.approx(box["width"] * 0.6, abs=1)
        turned(page, "coronal")
        expect(cross).to_have_count(1)
        after = settled(page, lambda _: float(cross.get_attribute("data-x") or "nan"), round)
        assert after == pytest.approx(before, abs=1)
        # The head's left is on the right, and the front at the top: the plane lies before the middle.
        at, count = (int(part) for part in page.get_by_test_id("slice-number").inner_text().split()[1::2])
        share = at / count
        assert min(abs(share - 0.3), abs(share - 0.7)) < 0.05


def test_who_was_second_sees_what_the_first_said(served: RealHub, browser: Browser) -> None:
    with opened(browser, served) as first:
        take_back(first)
        with opened(browser, served, username="clinic") as second:
            first.keyboard.press("y")
            expect(finding(first, 0)).to_have_attribute("data-verdict", "accepted")
            second.keyboard.press("x")
            second.get_by_test_id("reason-artefact").click()
            expect(second.get_by_test_id("findings").get_by_role("alert")).to_contain_text("其他医师已先作出判断")
            expect(finding(second, 0)).to_have_attribute("data-verdict", "accepted")


def test_a_nurse_sees_the_words_and_no_buttons(served: RealHub, browser: Browser) -> None:
    with opened(browser, served, username="nurse") as page:
        expect(page.get_by_test_id("finding")).to_have_count(2)
        expect(page.get_by_test_id("finding-accept")).to_have_count(0)
        page.keyboard.press("x")
        expect(page.get_by_test_id("reason-vessel")).to_have_count(0)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_findings_have_no_serious_barrier_and_are_not_wider_than_the_page(
    served: RealHub, browser: Browser, size: tuple[int, int]
) -> None:
    with opened(browser, served, size) as page:
        take_back(page)
        page.keyboard.press("x")
        for _ in ("zh", "en"):
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate("axe.run()")
            grave = [one["id"] for one in found["violations"] if one["impact"] in SERIOUS]
            assert not grave, json.dumps([one for one in found["violations"] if one["id"] in grave])[:2000]
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0
            page.keyboard.press("Alt+l")


def test_where_nothing_was_found_a_physician_says_so_too_and_takes_it_back(tmp_path: Path, browser: Browser) -> None:
    with hub(tmp_path, fill(tmp_path, findings=0), second_factor=False) as found, opened(browser, found, PHONE) as page:
        none = page.get_by_test_id("none-found")
        expect(none.get_by_test_id("finding-mark")).to_contain_text("未经核实")
        page.get_by_test_id("none-agree").click()
        expect(none.get_by_test_id("finding-mark")).to_contain_text("看过：未见")
        expect(page.locator('[data-testid="none-found"][data-verdict="accepted"]')).to_have_count(1)
        page.get_by_test_id("none-reopen").click()
        expect(page.get_by_test_id("none-agree")).to_be_visible()

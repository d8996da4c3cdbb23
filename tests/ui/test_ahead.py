"""A study of which only the key image has come: listed with it, and looked at, before any image is here."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from telemed.study import KEY_IMAGE_NAME, StudyManifest, StudyObject

from cloud_hub.config import ImagingConfig
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.readers import Readers
from cloud_hub.store.engine import Database
from edge_node.imaging.picture import LONGEST_SIDE_PX, key_picture
from tests.cloud_hub import role_world as world
from tests.fakes.imaging_hub import ImagingHub
from tests.ui import imaging_scene as scene
from tests.ui.real_hub import RealHub, hub
from tests.ui.test_people import enter
from tests.ui.test_screens import PHONE
from tests.ui.test_second_factor import pytestmark
from tests.ui.test_studies import AXE, SERIOUS

__all__ = ["pytestmark"]
STUDY = "1.2.826.0.1.9"
FILES = 120
WIDTH_PX = "async image => { await image.decode(); return image.naturalWidth; }"


def fill(folder: Path, shared: Path) -> Callable[[Database], Images]:
    """Return what puts a study into a hub as a site announces it."""

    def work(care: Database) -> Images:
        here = ImagingHub.over(care, folder / "blobs")
        here.arrive(scene.ADDRESS, key_picture(scene.head_slice(shared, 0)), "ahead", KEY_IMAGE_NAME, is_preview=True)
        here.send_manifest(scene.ADDRESS, announced())
        asyncio.run(_index(here))
        return Images(here.blobs, Readers(ImagingConfig()))

    return work


def announced() -> StudyManifest:
    objects = tuple(
        StudyObject(f"{STUDY}.9.{n}", "", f"{STUDY}.1", "", f"{n:064x}", 1, modality="CT") for n in range(FILES)
    )
    return StudyManifest(
        "ahead", STUDY, 1, person_id="own", study_date="20261127", description="头部 CT 平扫", objects=objects
    )


async def _index(here: ImagingHub) -> None:
    await here.indexer.read_all()
    await here.readers.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[RealHub]:
    folder = tmp_path_factory.mktemp("hub")
    with hub(folder, fill(folder, shared_data), second_factor=False) as found:
        yield found


@pytest.fixture
def page(served: RealHub, browser: Browser) -> Iterator[Page]:
    found = enter(browser, served.address, "physician")
    yield found
    found.context.close()


def test_a_study_on_its_way_is_listed_with_its_picture_which_opens_large(served: RealHub, page: Page) -> None:
    page.goto(f"{served.address}#/patient/{world.SITE}%3AB01")
    entry = page.get_by_test_id("study-entry").filter(has_text="头部 CT 平扫")
    expect(entry).to_contain_text(f"{FILES}")
    assert entry.get_by_test_id("thumb").evaluate(WIDTH_PX) == LONGEST_SIDE_PX
    entry.click()
    figure = page.get_by_test_id("key-image")
    expect(figure).to_be_visible()
    assert figure.locator("img").evaluate(WIDTH_PX) == LONGEST_SIDE_PX
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_test_id("study-arrival")).to_have_attribute("data-state", "preview")


def test_on_a_phone_in_both_languages_it_fits_without_a_serious_barrier(served: RealHub, page: Page) -> None:
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    (row,) = page.request.get(f"{served.address}api/v1/studies?study={STUDY}").json()["studies"]
    page.goto(f"{served.address}#/study/{row['study_key']}")
    figure = page.get_by_test_id("key-image")
    for word in ("有损压缩", "compressed with losses"):
        expect(figure).to_contain_text(word)
        box = figure.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")
        assert [one["id"] for one in found["violations"] if one["impact"] in SERIOUS] == []
        page.get_by_test_id("language-switch").click()

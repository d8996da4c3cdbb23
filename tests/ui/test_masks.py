"""Segmentations over the images they are of, at a real hub: those of a node's own writer, and of others."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom import AlgorithmIdentificationSequence, color, seg
from highdicom.sr.coding import CodedConcept
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect
from pydicom import Dataset
from pydicom.uid import RLELossless, generate_uid

from cloud_hub.config import ImagingConfig
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.readers import Readers
from cloud_hub.store.engine import Database
from tests.fakes import ai_reports, swi_dicom
from tests.fakes.imaging_hub import ImagingHub
from tests.ui import imaging_scene as scene
from tests.ui.real_hub import RealHub, hub
from tests.ui.stillness import settled
from tests.ui.test_findings import PICTURE_MM, finding, index, opened, take_back, turned
from tests.ui.test_screens import DESK, PHONE
from tests.ui.test_second_factor import pytestmark
from tests.ui.test_studies import AXE, SERIOUS

__all__ = ["pytestmark"]
SIDE = PICTURE_MM
"""Pixels of the made-up head each way."""
SHOWN = 13
"""The slice of the first finding."""
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
HAND, MACHINE = "Hand-drawn", "Machine-drawn"
AREA = """number => {
  const path = document.querySelectorAll("[data-testid=mask-drawn] path:not(.under)")[number];
  const {left, top} = document.querySelector(".viewer-canvas").getBoundingClientRect();
  const toScreen = path.getScreenCTM();
  const at = (x, y) => {
    const point = new DOMPoint(x, y).matrixTransform(toScreen);
    return [point.x - left, point.y - top];
  };
  const inside = [];
  for (let row = 0; row < 48; row += 1) {
    for (let column = 0; column < 48; column += 1) {
      if (path.isPointInFill(new DOMPoint(column + 0.5, row + 0.5))) inside.push([row, column]);
    }
  }
  const rings = [...document.querySelectorAll("[data-testid=finding-drawn] circle.under")];
  const centre = ring => ["cx", "cy"].map(name => Number(ring.getAttribute(name)));
  return {
    inside,
    rings: rings.map(centre),
    centres: inside.map(([row, column]) => at(column + 0.5, row + 0.5)),
    ends: [at(0, 0), at(48, 48)],
  };
}"""
HEAT = """() => {
  const canvas = document.querySelector("[data-testid=heat-drawn]");
  const {left, top, width} = canvas.getBoundingClientRect();
  const picture = document.querySelector(".viewer-canvas").getBoundingClientRect();
  const pixels = canvas.getContext("2d").getImageData(0, 0, 48, 48).data;
  const side = Math.min(picture.width, picture.height);
  const middle = [(picture.width - side) / 2, (picture.height - side) / 2, side];
  return {pixels: [...pixels], at: [left - picture.left, top - picture.top, width], middle};
}"""
"""All at one moment: the picture may still become smaller for what is written below it."""


def described(number: int, label: str, kind: str) -> seg.SegmentDescription:
    """Return a segment that nobody's report speaks of."""
    by = None
    if kind != "MANUAL":
        family = CodedConcept("123109", "DCM", "Artificial Intelligence")
        by = AlgorithmIdentificationSequence(name="other", version="1", family=family)
    structure = CodedConcept("12738006", "SCT", "Brain")
    category = CodedConcept("123037004", "SCT", "Anatomical Structure")
    return seg.SegmentDescription(
        number, label, category, structure, kind, by,
        display_color=color.CIELabColor.from_rgb(86, 180, 233),
    )  # fmt: skip


def segmentation(
    images: Sequence[Dataset], pixels: NDArray[Any], names: list[tuple[str, str]], name: str, **more: Any
) -> Dataset:
    """Return a segmentation of somebody else."""
    return seg.Segmentation(
        source_images=images,
        pixel_array=pixels,
        segment_descriptions=[described(at, *each) for at, each in enumerate(names, 1)],
        series_instance_uid=generate_uid(entropy_srcs=[name]),
        sop_instance_uid=generate_uid(entropy_srcs=[name, "1"]),
        instance_number=1,
        manufacturer="Other",
        manufacturer_model_name="Other",
        software_versions="1",
        device_serial_number="1",
        series_description=name,
        **({"segmentation_type": "BINARY"} | more),
    )


def drawn_by_hand() -> NDArray[np.uint8]:
    """Return two areas on the slice that is shown: one with a hole, and one of two pixels that touch at a corner."""
    found = np.zeros((1, SIDE, SIDE), np.uint8)
    found[0, 10:20, 5:12] = 1
    found[0, 13:16, 7:9] = 0
    found[0, 30, 30] = found[0, 31, 31] = 2
    return found


def heat() -> NDArray[np.float64]:
    """Return a probability that grows from left to right, on the slice that is shown."""
    found = np.zeros((1, SIDE, SIDE))
    found[0, 20:30, 10:20] = np.linspace(0.1, 1, 10)
    return found


def of_others(images: Sequence[Dataset]) -> list[Dataset]:
    """Return segmentations of others: a mask, a heat map, one that lies askew, one that is damaged."""
    shown = images[SHOWN : SHOWN + 1]
    mask = segmentation(shown, drawn_by_hand(), [(HAND, "MANUAL"), (MACHINE, "AUTOMATIC")], "others", series_number=801)
    warm = segmentation(
        shown, heat(), [("Warm", "AUTOMATIC")], "heat", series_number=802,
        segmentation_type="FRACTIONAL", fractional_type="PROBABILITY", transfer_syntax_uid=RLELossless,
    )  # fmt: skip
    askew = segmentation(shown, drawn_by_hand() % 2, [("Askew", "MANUAL")], "askew", series_number=803)
    measures = askew.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [0.5, 0.5]
    odd = segmentation(shown, drawn_by_hand() % 2, [("Odd", "MANUAL")], "endless", series_number=804)
    odd.NumberOfFrames = "2000000000"
    return [mask, warm, askew, odd]


def fill(folder: Path) -> Callable[[Database], Images]:
    """Return what puts a study that a model read, and others segmented, into a hub."""

    def work(care: Database) -> Images:
        made = ImagingHub.over(care, folder / "blobs")
        results = ai_reports.objects(folder / "mr", 2)
        paths = [*(folder / "mr").glob("*.dcm")]
        series = own(results).ReferencedSeriesSequence[0].SeriesInstanceUID
        images = [one for one in map(pydicom.dcmread, paths) if one.SeriesInstanceUID == series]
        images.sort(key=lambda one: int(one.InstanceNumber))
        files = [*results, *(ai_reports.as_file(one) for one in (*images, *of_others(images)))]
        for content in files:
            made.arrive(scene.ADDRESS, content, "swi")
        made.send_manifest(scene.ADDRESS, scene.manifest("swi", swi_dicom.STUDY, [*map(scene.hash_of, files)]))
        asyncio.run(index(made))
        return Images(made.blobs, Readers(ImagingConfig()))

    return work


def own(results: list[bytes]) -> Dataset:
    """Return the segmentation among what a node writes."""
    (found,) = [one for one in map(pydicom.dcmread, map(io.BytesIO, results)) if one.SOPClassUID == SEGMENTATION]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[RealHub]:
    with hub(folder, fill(folder), second_factor=False) as found:
        yield found


@pytest.fixture(scope="module")
def page(served: RealHub, chromium: Browser) -> Iterator[Page]:
    with opened(chromium, served) as found:
        yield found


@pytest.fixture(autouse=True)
def at_the_first_finding(page: Page) -> Iterator[None]:
    """Begin each test alike: nothing judged, the first finding shown, masks off."""
    take_back(page)
    finding(page, 0).get_by_test_id("finding-show").click()
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", str(SHOWN), timeout=30_000)
    yield
    if page.get_by_test_id("masks").get_attribute("aria-pressed") == "true":
        page.keyboard.press("o")
    page.keyboard.press("r")


def expected(folder: Path, number: int) -> set[tuple[int, int]]:
    """Return row and column of each pixel that the node's own file gives a finding on the slice that is shown."""
    results = ai_reports.objects(folder / "again", 2)
    found = seg.Segmentation.from_dataset(own(results))
    images = sorted(map(pydicom.dcmread, (folder / "again").glob("*.dcm")), key=lambda one: int(one.InstanceNumber))
    name = found.ReferencedSeriesSequence[0].SeriesInstanceUID
    shown = [one.SOPInstanceUID for one in images if one.SeriesInstanceUID == name][SHOWN]
    plane = found.get_pixels_by_source_instance([shown], segment_numbers=[number + 1], ignore_spatial_locations=True)
    return {(int(row), int(column)) for row, column in np.argwhere(plane[0, :, :, 0])}


def test_the_area_of_a_finding_is_the_pixels_that_the_model_gave_it_and_lies_where_its_ring_does(
    page: Page, folder: Path
) -> None:
    drawn = page.get_by_test_id("mask-drawn")
    expect(page.get_by_test_id("finding-drawn")).to_have_count(2)
    expect(drawn).to_have_count(0)
    page.keyboard.press("o")
    expect(page.get_by_test_id("masks")).to_have_attribute("aria-pressed", "true")
    expect(drawn).to_have_count(2)
    for zoom in ("1.00", "1.25"):
        if zoom != "1.00":
            page.keyboard.press("+")
        expect(page.get_by_text(f"放大 {zoom} ×")).to_be_visible()
        for number in (0, 1):
            area = page.evaluate(AREA, number)
            assert {tuple(one) for one in area["inside"]} == expected(folder, number) != set()
            (left, top), (right, _) = area["ends"]
            pixel_px = (right - left) / SIDE
            at = area["rings"][number]
            # The finding's centre lies 0.04 pixels beside that of its pixels.
            assert np.mean(area["centres"], axis=0) == pytest.approx(at, abs=0.1 * pixel_px)
            assert left < at[0] < right
            assert top < at[1]


def wide(area: dict[str, Any]) -> float:
    """Return from where to where the picture's columns go on the page, negative where it is mirrored."""
    return float(area["ends"][1][0] - area["ends"][0][0])


def test_it_follows_a_mirror_and_what_is_said_of_the_finding(page: Page) -> None:
    page.keyboard.press("o")
    drawn = page.get_by_test_id("mask-drawn")
    expect(drawn).to_have_count(2)
    expect(drawn.nth(0)).to_have_attribute("data-judged", "false")
    assert drawn.nth(0).locator("path").nth(1).evaluate("one => getComputedStyle(one).strokeDasharray") != "none"
    # The row of the masks takes room from the picture.
    before = settled(page, lambda seen: seen.evaluate(AREA, 0), lambda area: area["ends"])
    page.keyboard.press("m")
    expect(page.get_by_test_id("edge-left")).to_have_text("L")
    after = page.evaluate(AREA, 0)
    assert after["inside"] == before["inside"]
    assert wide(before) == pytest.approx(-wide(after), rel=0.05), "the other way round"
    for area in (before, after):
        # Against the ring of the same moment: the page may have moved in between.
        assert np.mean(area["centres"], axis=0) == pytest.approx(area["rings"][0], abs=0.1 * abs(wide(area)) / SIDE)
    page.keyboard.press("m")
    page.keyboard.press("y")
    expect(drawn.nth(0)).to_have_attribute("data-judged", "true")
    assert drawn.nth(0).locator("path").nth(1).evaluate("one => getComputedStyle(one).strokeDasharray") == "none"
    page.keyboard.press("x")
    page.get_by_test_id("reason-vessel").click()
    expect(drawn).to_have_count(1)
    expect(drawn).to_have_attribute("data-judged", "false")


def test_it_is_hidden_with_the_rings_and_seen_again_when_asked_for(page: Page) -> None:
    page.keyboard.press("o")
    drawn = page.get_by_test_id("mask-drawn")
    expect(drawn).to_have_count(2)
    page.keyboard.press("h")
    expect(drawn).to_have_count(0)
    expect(page.get_by_test_id("finding-drawn")).to_have_count(0)
    # Of a button that has the focus the key is its own.
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    expect(drawn).to_have_count(2)
    page.keyboard.press("h")
    page.keyboard.press("o")
    page.keyboard.press("o")
    expect(page.get_by_test_id("hide-ai")).to_have_attribute("aria-pressed", "false")
    expect(drawn).to_have_count(2)
    turned(page, "sagittal")
    expect(drawn).to_have_count(0)
    expect(page.get_by_test_id("mask-words")).to_contain_text("轮廓只画在原始层上")
    page.get_by_test_id("plane-slices").click()
    expect(drawn).to_have_count(2)


def test_segments_of_others_are_named_and_seen_one_by_one(page: Page) -> None:
    page.keyboard.press("o")
    buttons = page.get_by_test_id("segment")
    expect(buttons).to_have_text(
        [f"{HAND} 人工 · 层 14", f"{MACHINE} 机器 · 未核实 · 层 14", "Warm 机器 · 未核实 · 层 14"]
    )
    drawn = page.get_by_test_id("mask-drawn")
    expect(drawn).to_have_count(2)
    buttons.nth(0).click()
    buttons.nth(1).click()
    expect(drawn).to_have_count(4)
    found = {}
    for number in range(4):
        found[drawn.nth(number).get_attribute("data-segment")] = page.evaluate(AREA, number)["inside"]
    for number, name in enumerate((HAND, MACHINE), 1):
        assert found[name] == np.argwhere(drawn_by_hand()[0] == number).tolist()
    expect(page.locator(f"[data-segment='{HAND}']")).to_have_attribute("data-judged", "true")
    expect(page.locator(f"[data-segment='{MACHINE}']")).to_have_attribute("data-judged", "false")
    colour = page.locator(f"[data-segment='{HAND}']").evaluate("one => getComputedStyle(one).color")
    told = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    assert told == pytest.approx([86, 180, 233], abs=2)
    buttons.nth(0).click()
    expect(drawn).to_have_count(3)
    buttons.nth(1).click()


def test_a_heat_map_is_the_lighter_the_more_it_says_and_has_its_scale_beside_it(page: Page) -> None:
    page.keyboard.press("o")
    expect(page.get_by_test_id("heat-legend")).to_have_count(0)
    warm = page.get_by_test_id("segment").filter(has_text="Warm")
    warm.click()
    expect(page.get_by_test_id("heat-legend")).to_have_text("概率 0 1")
    expect(page.get_by_test_id("heat-drawn")).to_have_count(1)
    drawn = page.evaluate(HEAT)
    pixels = np.array(drawn["pixels"]).reshape(SIDE, SIDE, 4)
    assert np.array_equal(pixels[..., 3] > 0, heat()[0] > 0)
    light = pixels[25, 10:20, :3] @ [0.21, 0.72, 0.07]
    assert (np.diff(light) > 0).all()
    assert drawn["at"] == pytest.approx(drawn["middle"], abs=1)
    warm.click()
    expect(page.get_by_test_id("heat-drawn")).to_have_count(0)


def test_what_cannot_be_laid_over_the_images_is_told_and_not_drawn(page: Page) -> None:
    page.keyboard.press("o")
    untold = page.get_by_test_id("segments-untold")
    expect(untold).to_have_text(["endless: 分割对象过大，不画", "askew: 1 帧的尺寸、间距或位置与图像不符，不画"])
    expect(page.get_by_test_id("segment").filter(has_text="Warm")).to_have_count(1)
    expect(page.get_by_test_id("segment").filter(has_text="Askew")).to_have_count(0)


def test_a_segmentation_is_no_picture_of_its_own(page: Page) -> None:
    for name in ("others", "heat"):
        page.get_by_test_id("series").filter(has_text=name).click()
        expect(page.get_by_text("分割本身没有图像")).to_be_visible()
        expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "")
        # Keys for a picture do nothing where there is none.
        for key in ("r", "i", "m", "+"):
            page.keyboard.press(key)
    page.get_by_test_id("series").first.click()


def test_on_a_phone_that_lies_the_words_on_masks_take_nothing_of_the_picture(served: RealHub, browser: Browser) -> None:
    height, width = PHONE
    with opened(browser, served, (width, height), has_touch=True) as lying:
        lying.get_by_test_id("masks").click(timeout=30_000)
        expect(lying.get_by_test_id("segments-untold")).to_have_count(2)
        picture, tools = (lying.locator(f".viewer-{part}").bounding_box() for part in ("picture", "tools"))
        assert picture is not None
        assert tools is not None
        assert picture["height"] + tools["height"] <= height
        assert lying.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_masks_have_no_serious_barrier_and_are_not_wider_than_the_page(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.keyboard.press("o")
    page.get_by_test_id("segment").filter(has_text="Warm").click()
    for words in ("轮廓", "Masks"):
        expect(page.get_by_test_id("masks")).to_contain_text(words)
        page.wait_for_timeout(400)  # buttons change their colour gradually
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")
        grave = [one["id"] for one in found["violations"] if one["impact"] in SERIOUS]
        assert not grave, json.dumps([one for one in found["violations"] if one["id"] in grave])[:2000]
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        page.keyboard.press("Alt+l")
    page.get_by_test_id("segment").filter(has_text="Warm").click()

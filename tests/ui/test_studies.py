"""Studies on the person's page and the viewer, at a real hub with real images: what is drawn is what was sent."""

import base64
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from cloud_hub.store import studies
from tests.cloud_hub import role_world as world
from tests.ui import imaging_scene as scene
from tests.ui.real_hub import RealHub, hub
from tests.ui.server import UI
from tests.ui.stillness import settled
from tests.ui.test_people import enter
from tests.ui.test_screens import DESK, PHONE
from tests.ui.test_second_factor import pytestmark

__all__ = ["pytestmark"]
AXE = UI.parent / "node_modules" / "axe-core" / "axe.min.js"
SIDE = 32
"""Pixels of the small pictures that are compared."""
SPACING_MM = 0.661468
"""Pixel spacing of the CT image."""
MEASURED = """([expected, within]) =>
  Math.abs(parseFloat(document.querySelector("[data-testid=viewer] svg text").textContent) - expected) < within"""
SERIOUS = {"serious", "critical"}
GREY = """([left, top, side, small]) => {
  const whole = document.querySelector("[data-testid=viewer] canvas");
  const scale = whole.width / whole.clientWidth;
  const part = document.createElement("canvas");
  part.width = part.height = small;
  const pen = part.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(whole, left * scale, top * scale, side * scale, side * scale, 0, 0, small, small);
  return part.toDataURL("image/png").split(",")[1];
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[RealHub]:
    folder = tmp_path_factory.mktemp("hub")
    with hub(folder, scene.fill(folder, shared_data), second_factor=False) as found:
        yield found


@contextmanager
def opened(
    browser: Browser,
    served: RealHub,
    study: str,
    size: tuple[int, int] = DESK,
    username: str = "physician",
    *,
    has_touch: bool = False,
) -> Iterator[Page]:
    """Open a study with its first slice drawn; an error of a script or of the content security policy fails it."""
    page = enter(browser, served.address, username, has_touch=has_touch)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(f"{served.address}#/study/{key_of(page, study)}")
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "0", timeout=30_000)
    try:
        yield page
        assert faults == []
    finally:
        page.context.close()


def key_of(page: Page, study: str, person: str = "own") -> str:
    """Return by which key a study of somebody stands in the lists."""
    rows = page.request.get(f"{at_root(page)}/api/v1/studies?study={study}&person={person}").json()["studies"]
    (key,) = [str(row["study_key"]) for row in rows]
    return key


def go_to(page: Page, slice_number: int) -> None:
    """Have a slice drawn, counted from 1."""
    page.get_by_test_id("slice-slider").fill(str(slice_number))
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", str(slice_number - 1))


def drawn(page: Page) -> NDArray[np.float64]:
    """Return the square in the middle of the canvas, which a square image fills, small and in grey."""
    box = page.locator("[data-testid=viewer] canvas").bounding_box()
    assert box is not None
    side = min(box["width"], box["height"])
    where = [(box["width"] - side) / 2, (box["height"] - side) / 2, side, 8 * SIDE]
    return small(base64.b64decode(page.evaluate(GREY, where)))


def small(picture: bytes) -> NDArray[np.float64]:
    grey = Image.open(io.BytesIO(picture)).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)


def rendered(page: Page, slice_number: int, window: str) -> NDArray[np.float64]:
    """Return the same as the hub's own reader draws it, which shares no code with the page."""
    at = f"/dicom-web/studies/{scene.HEAD}/series/{scene.HEAD}.1/instances/{scene.HEAD}.1.{slice_number}/rendered"
    return picture(page, f"{at}?window={window}")


def rendered_twin(page: Page, key: str, frame: int) -> NDArray[np.float64]:
    """Return a frame of one of the two patients of TWIN, as the hub's own reader draws it."""
    at = f"/dicom-web/studies/{scene.TWIN}/series/{scene.TWIN}.1/instances/{scene.TWIN}.1.1/frames/{frame}/rendered"
    return picture(page, f"{at}?window=40,400&filed={key}")


def picture(page: Page, path: str) -> NDArray[np.float64]:
    answer = page.request.get(f"{at_root(page)}{path}", headers={"Accept": "image/png"})
    assert answer.ok, answer.text()
    return small(answer.body())


def at_root(page: Page) -> str:
    return page.url.partition("#")[0].rstrip("/")


def difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.abs(one - other).mean())


def test_a_persons_page_lists_their_studies_and_how_much_has_come(served: RealHub, browser: Browser) -> None:
    page = enter(browser, served.address, "physician")
    page.goto(f"{served.address}#/patient/{world.SITE}%3AB01")
    entries = page.get_by_test_id("study-entry")
    expect(entries).to_have_count(3)
    expect(entries.nth(0)).to_contain_text("CT 头部 CT 平扫")
    expect(entries.nth(0)).to_contain_text("2026-11-26 15:48 · 12 幅 · 已到齐")
    expect(entries.nth(1)).to_contain_text("已到 5 / 7")
    entries.nth(0).click()
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "0", timeout=30_000)
    expect(page.get_by_test_id("not-primary")).to_contain_text("不作为首要诊断依据")
    page.keyboard.press("Escape")
    expect(entries).to_have_count(3)


def test_what_is_drawn_is_the_slice_that_was_sent_in_the_window_that_was_asked_for(
    served: RealHub, browser: Browser
) -> None:
    with opened(browser, served, scene.HEAD) as page:
        for slice_number, key, window in ((1, "6", "40,400"), (4, "6", "40,400"), (4, "5", "-600,1500")):
            go_to(page, slice_number)
            page.keyboard.press(key)
            values = page.get_by_test_id("window-values")
            expect(values).to_contain_text("窗位 {} 窗宽 {}".format(*window.split(",")))
            page.wait_for_timeout(300)
            assert difference(drawn(page), rendered(page, slice_number, window)) < 2
        # The comparison tells slices and windows apart.
        assert difference(drawn(page), rendered(page, 1, "-600,1500")) > 12
        assert difference(drawn(page), rendered(page, 4, "40,400")) > 12


def test_of_two_patients_with_one_study_uid_each_page_draws_its_own(
    served: RealHub, browser: Browser, shared_data: Path
) -> None:
    page = enter(browser, served.address, "clinic")
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    for person, number in (("own", 0), ("other", 6)):
        scene.store(page, scene.twin(shared_data, number), person=person)
    keys = {person: key_of(page, scene.TWIN, person) for person in ("own", "other")}
    for person, nobody in (("own", "other"), ("other", "own"), ("own", "other")):
        page.goto(f"{served.address}#/images")
        page.get_by_test_id("list-all").click()
        page.get_by_test_id("list-row").filter(has_text=f"谷{person}").filter(has_text="Twin").get_by_role(
            "link"
        ).click()
        expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "0", timeout=30_000)
        expect(page.get_by_role("heading", level=1)).to_have_text(f"谷{person}")
        page.keyboard.press("6")
        for frame in (1, 2):
            go_to(page, frame)
            page.wait_for_timeout(300)
            assert difference(drawn(page), rendered_twin(page, keys[person], frame)) < 2
            assert difference(drawn(page), rendered_twin(page, keys[nobody], frame)) > 12


def test_a_slice_whose_file_is_damaged_is_covered_by_words_and_never_by_its_neighbour(
    served: RealHub, browser: Browser
) -> None:
    with opened(browser, served, scene.HEAD) as page:
        page.get_by_test_id("slice-slider").fill(str(scene.BROKEN + 1))
        fault = page.get_by_test_id("image-fault")
        expect(fault).to_have_attribute("data-fault", "broken")
        expect(fault).to_contain_text("文件有缺损")
        cover, canvas = fault.bounding_box(), page.locator("[data-testid=viewer] canvas").bounding_box()
        assert cover is not None
        assert canvas is not None
        assert cover["width"] >= canvas["width"]
        assert cover["height"] >= canvas["height"]
        page.keyboard.press("ArrowDown")
        expect(fault).to_have_count(0)
        expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", str(scene.BROKEN + 1))


def test_wheel_and_keys_go_through_the_slices_and_stop_at_the_ends(served: RealHub, browser: Browser) -> None:
    with opened(browser, served, scene.HEAD) as page:
        viewer = page.get_by_test_id("viewer")
        viewer.hover()
        page.mouse.wheel(0, 120)
        expect(viewer).to_have_attribute("data-shown", "1")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        expect(viewer).to_have_attribute("data-shown", "0")
        page.keyboard.press("End")
        expect(viewer).to_have_attribute("data-shown", str(scene.SLICES - 1))
        page.keyboard.press("ArrowDown")
        expect(page.get_by_test_id("slice-number")).to_have_text(f"层 {scene.SLICES} / {scene.SLICES}")
        expect(viewer).to_have_attribute("data-loaded", str(scene.SLICES - 1), timeout=20_000)


def test_mirroring_and_inverting_change_the_picture_and_the_letters_follow(served: RealHub, browser: Browser) -> None:
    with opened(browser, served, scene.HEAD) as page:
        page.keyboard.press("6")
        page.wait_for_timeout(300)
        before = drawn(page)
        expect(page.get_by_test_id("edge-left")).to_have_text("R")
        page.keyboard.press("m")
        expect(page.get_by_test_id("edge-left")).to_have_text("L")
        page.wait_for_timeout(300)
        assert difference(drawn(page), before[:, ::-1]) < 2
        page.keyboard.press("i")
        page.wait_for_timeout(300)
        assert difference(drawn(page), 255 - before[:, ::-1]) < 2
        page.keyboard.press("r")
        expect(page.get_by_test_id("edge-left")).to_have_text("R")


def test_a_length_is_measured_in_millimetres(served: RealHub, browser: Browser) -> None:
    with opened(browser, served, scene.HEAD) as page:
        page.keyboard.press("l")
        expect(page.get_by_test_id("tool-length")).to_have_attribute("aria-pressed", "true")
        box = page.locator("[data-testid=viewer] canvas").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x - 100, y)
        page.mouse.down()
        page.mouse.move(x, y, steps=4)
        page.mouse.move(x + 100, y, steps=4)
        page.mouse.up()
        words = page.locator("[data-testid=viewer] svg text")
        expect(words.first).to_contain_text("mm")
        # 512 pixels of the file's own spacing fill the shorter side.
        expected_mm = 200 * 512 * SPACING_MM / min(box["width"], box["height"])
        page.wait_for_function(MEASURED, arg=[expected_mm, 0.03 * expected_mm], timeout=5_000)
        page.keyboard.press("3")
        expect(page.get_by_test_id("window-3")).to_have_attribute("aria-pressed", "true")
        page.get_by_test_id("tool-clear").click()
        expect(words).to_have_count(0)


def drag(page: Page, *points: tuple[float, float]) -> None:
    """Draw with the mouse from the first point to the second, counted from the canvas, and press on the others."""
    box = page.locator("[data-testid=viewer] canvas").bounding_box()
    assert box is not None
    (x, y), *others = [(box["x"] + right, box["y"] + down) for right, down in points]
    page.mouse.move(x, y)
    page.mouse.down()
    for to_x, to_y in others[:1]:
        page.mouse.move((x + to_x) / 2, (y + to_y) / 2, steps=3)
        page.mouse.move(to_x, to_y, steps=3)
    page.mouse.up()
    for to_x, to_y in others[1:]:
        page.wait_for_timeout(300)  # else the page takes what follows for the end of the drag
        page.mouse.move(to_x, to_y, steps=4)
        page.mouse.click(to_x, to_y)


def square(page: Page, pixels: int) -> tuple[float, float, float]:
    """Return left and top edge of a square image on the canvas, and how large each of its pixels is there."""
    box = page.locator("[data-testid=viewer] canvas").bounding_box()
    assert box is not None
    side = min(box["width"], box["height"])
    return (box["width"] - side) / 2, (box["height"] - side) / 2, side / pixels


def test_an_ellipse_tells_what_the_file_has_inside_of_it_in_hounsfield_units(
    served: RealHub, browser: Browser, shared_data: Path
) -> None:
    with opened(browser, served, scene.HEAD) as page:
        page.keyboard.press("c")
        expect(page.get_by_test_id("tool-ellipse")).to_have_attribute("aria-pressed", "true")
        left, top, px = square(page, 512)
        # From its middle to a corner of what it fills; air, bone and brain lie in it.
        drag(page, (left + 250 * px, top + 200 * px), (left + 350 * px, top + 320 * px))
        lines = page.locator("[data-testid=viewer] svg text tspan")
        expect(lines).to_have_count(4)
        page.wait_for_timeout(400)  # it is counted ten times a second at most
        drawn_at = page.locator("[data-testid=viewer] svg ellipse").first
        x, y, width, height = (float(drawn_at.get_attribute(name) or "nan") for name in ("cx", "cy", "rx", "ry"))
        rows, columns = np.mgrid[:512, :512]
        away = ((left + (columns + 0.5) * px - x) / width) ** 2 + ((top + (rows + 0.5) * px - y) / height) ** 2
        file = pydicom.dcmread(io.BytesIO(scene.head_slice(shared_data, 0)))
        inside = (file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept))[away <= 1]
        said = [float(one) for line in lines.all_text_contents() for one in re.findall(r"-?\d+(?:\.\d+)?", line)]
        area = np.pi * width * height * (SPACING_MM / px) ** 2
        expected = [area, inside.mean(), inside.std(), inside.min(), inside.max()]
        assert np.ptp(inside) > 500
        assert said == pytest.approx(expected, rel=0.01, abs=1)
        assert [line.split()[0] for line in lines.all_text_contents()] == ["面积", "均值", "标准差", "最小"]
        assert [line.split()[-1] for line in lines.all_text_contents()] == ["mm²", "HU", "HU", "HU"]
        page.keyboard.press("Alt+l")
        expect(lines.nth(1)).to_contain_text("Mean")
        page.keyboard.press("Alt+l")


def test_a_box_on_a_picture_that_says_no_spacing_and_no_units_tells_pixels_and_stored_values(
    served: RealHub, browser: Browser
) -> None:
    page = enter(browser, served.address, "clinic")
    scene.store(page, scene.plain("1.2.826.0.1.8"))
    page.goto(f"{served.address}#/study/{key_of(page, '1.2.826.0.1.8')}")
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "0", timeout=30_000)
    page.keyboard.press("b")
    left, top, px = square(page, 4)
    # Around the centres of the four in the middle, whose values are 5, 6, 9 and 10.
    drag(page, (left + 0.75 * px, top + 0.75 * px), (left + 3.25 * px, top + 3.25 * px))
    lines = page.locator("[data-testid=viewer] svg text tspan")
    expect(lines).to_have_text(
        [
            re.compile(r"面积 6\.\d+ px²"),
            "均值 7.5 （存储值）",
            "标准差 2.062 （存储值）",
            "最小 5 · 最大 10 （存储值）",
        ]
    )
    assert float((lines.first.text_content() or "").split()[1]) == pytest.approx(6.25, abs=0.1)
    page.get_by_test_id("tool-clear").click()
    expect(lines).to_have_count(0)
    page.context.close()


def test_an_angle_is_measured_in_degrees(served: RealHub, browser: Browser) -> None:
    with opened(browser, served, scene.HEAD) as page:
        page.keyboard.press("a")
        expect(page.get_by_test_id("tool-angle")).to_have_attribute("aria-pressed", "true")
        left, top, px = square(page, 512)
        drag(page, *((left + at * px, top + down * px) for at, down in ((150, 150), (150, 300), (250, 200))))
        words = page.locator("[data-testid=viewer] svg text")
        expect(words).to_have_text(re.compile(r"[\d.]+ °"))
        assert float((words.text_content() or "").split()[0]) == pytest.approx(45, abs=1)


def growing(served: RealHub, browser: Browser, shared: Path) -> tuple[Page, Page]:
    """Store three slices of GROWING; return the pages of who stores and of a physician, who has opened nothing yet."""
    doctor = enter(browser, served.address, "clinic")
    for number in (2, 3, 4):
        scene.store(doctor, scene.growing(shared, number))
    return doctor, enter(browser, served.address, "physician")


@pytest.mark.parametrize("shown", ["", "0"], ids=["first", "next"])
def test_a_window_that_is_chosen_while_a_slice_is_on_its_way_is_kept(
    served: RealHub, browser: Browser, shared_data: Path, shown: str
) -> None:
    _, page = growing(served, browser, shared_data)
    asked: list[Route] = []

    def hold(route: Route) -> None:
        asked.append(route)
        if shown and len(asked) == 1:
            route.continue_()

    page.route("**/frames/**", hold)
    page.goto(f"{served.address}#/study/{key_of(page, scene.GROWING)}")
    viewer, chosen = page.get_by_test_id("viewer"), page.get_by_test_id("window-3")
    expect(chosen).to_be_visible(timeout=30_000)
    expect(viewer).to_have_attribute("data-shown", shown, timeout=30_000)
    if shown:
        page.keyboard.press("ArrowDown")
    page.keyboard.press("3")
    if shown:
        expect(chosen).to_have_attribute("aria-pressed", "true")
    expect(viewer).to_have_attribute("data-shown", shown)
    # What was held goes on by itself.
    page.unroute("**/frames/**")
    expect(viewer).to_have_attribute("data-shown", "1" if shown else "0")
    expect(chosen).to_have_attribute("aria-pressed", "true")


def test_a_series_that_grows_leaves_the_slice_and_the_window_that_one_looks_at(
    served: RealHub, browser: Browser, shared_data: Path
) -> None:
    doctor, page = growing(served, browser, shared_data)
    page.goto(f"{served.address}#/study/{key_of(page, scene.GROWING)}")
    viewer = page.get_by_test_id("viewer")
    expect(viewer).to_have_attribute("data-shown", "0", timeout=30_000)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("3")
    page.keyboard.press("m")
    expect(viewer).to_have_attribute("data-shown", "1")
    page.wait_for_timeout(300)
    before = drawn(page)
    scene.store(doctor, scene.growing(shared_data, 1))
    # The slice that came is counted before the one that is looked at.
    expect(page.get_by_test_id("slice-number")).to_have_text("层 3 / 4", timeout=45_000)
    expect(page.get_by_test_id("window-3")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_test_id("edge-left")).to_have_text("L")
    page.wait_for_timeout(300)
    assert difference(drawn(page), before) < 2


def test_of_more_frames_than_can_be_gone_through_the_first_are_offered_and_the_rest_named(
    served: RealHub, browser: Browser
) -> None:
    page = enter(browser, served.address, "clinic")
    scene.store(page, scene.plain("1.2.826.0.1.6", NumberOfFrames="2000000000"))
    page.goto(f"{served.address}#/study/{key_of(page, '1.2.826.0.1.6')}")
    expect(page.get_by_test_id("frames-cut")).to_have_text(
        "只能浏览 10000 层，文件称共有 2000000000 层", timeout=30_000
    )
    expect(page.get_by_test_id("slice-slider")).to_have_attribute("max", "10000")
    page.keyboard.press("Alt+l")
    expect(page.get_by_test_id("frames-cut")).to_have_text(
        "Only 10000 slices can be shown of the 2000000000 that the files name"
    )
    page.context.close()


@pytest.mark.parametrize("number", range(len(scene.KINDS)), ids=scene.KINDS)
def test_images_of_every_compression_are_unpacked_in_the_page(number: int, served: RealHub, browser: Browser) -> None:
    with opened(browser, served, scene.OTHERS) as page:
        page.get_by_test_id("series").filter(has_text=scene.KINDS[number]).click()
        expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "0", timeout=20_000)
        expect(page.get_by_test_id("image-fault")).to_have_count(0)
        page.wait_for_timeout(300)
        assert np.ptp(drawn(page)) > 30


def test_a_swipe_goes_through_the_slices_on_a_phone_and_nothing_is_wider_than_it(
    served: RealHub, browser: Browser
) -> None:
    with opened(browser, served, scene.HEAD, PHONE) as page:
        page.keyboard.press("s")
        box = page.locator("[data-testid=viewer] canvas").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x, y + 45, steps=5)
        page.mouse.up()
        expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "3")
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0


def test_on_a_phone_that_lies_the_picture_has_the_screen(served: RealHub, browser: Browser) -> None:
    height, width = PHONE
    with opened(browser, served, scene.HEAD, (width, height), has_touch=True) as page:
        picture, tools = (page.locator(f".viewer-{part}").bounding_box() for part in ("picture", "tools"))
        assert picture is not None
        assert tools is not None
        assert picture["width"] == width
        assert picture["y"] < height / 3
        assert 0.95 * height < picture["height"] + tools["height"] <= height


@pytest.mark.parametrize("presses", [0, 2], ids=["whole", "zoomed"])
def test_a_picture_is_as_large_beside_the_whole_one_when_a_phone_is_turned(
    served: RealHub, browser: Browser, presses: int
) -> None:
    width, height = PHONE
    with opened(browser, served, scene.HEAD, (height, width)) as page:
        for _ in range(presses):
            page.keyboard.press("+")
        lying = settled(page, drawn, np.ndarray.tobytes)
        page.set_viewport_size({"width": width, "height": height})
        assert np.abs(settled(page, drawn, np.ndarray.tobytes) - lying).mean() < 4
        page.set_viewport_size({"width": height, "height": width})
        assert np.abs(settled(page, drawn, np.ndarray.tobytes) - lying).mean() < 4


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_viewer_has_no_serious_barrier_in_either_language(
    served: RealHub, browser: Browser, size: tuple[int, int]
) -> None:
    with opened(browser, served, scene.HEAD, size) as page:
        for _ in ("zh", "en"):
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate("axe.run()")
            grave = [one["id"] for one in found["violations"] if one["impact"] in SERIOUS]
            assert not grave, json.dumps([one for one in found["violations"] if one["id"] in grave])[:2000]
            page.keyboard.press("Alt+l")
        expect(page.get_by_test_id("language-switch")).to_have_text("EN")


def test_a_study_that_is_not_open_to_somebody_is_not_there(served: RealHub, browser: Browser) -> None:
    page = enter(browser, served.address, "clinic")
    elsewhere = studies.key_of(world.REGION, world.FAR_SITE, "g-elsewhere", world.STUDIES["elsewhere"])
    page.goto(f"{served.address}#/study/{elsewhere}")
    expect(page.get_by_text("没有这项检查，或不在您的权限之内。")).to_be_visible()


def test_what_draws_images_is_fetched_with_the_first_study_and_not_before(served: RealHub, browser: Browser) -> None:
    page = enter(browser, served.address, "physician")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    expect(page.get_by_test_id("patient-card").first).to_be_visible()
    assert not any("Viewer-" in url for url in asked)
    page.goto(f"{served.address}#/study/{key_of(page, scene.HEAD)}")
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "0", timeout=30_000)
    assert any("Viewer-" in url for url in asked)
    assert not any(not url.startswith(served.address) for url in asked if not url.startswith(("blob:", "data:")))

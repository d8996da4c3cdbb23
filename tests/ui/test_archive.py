"""The hospital's archive on a person's page, with a real hub and a real Orthanc: asked, fetched, opened."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import Response
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import func, select

from cloud_hub.config import ArchiveConfig
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import audit
from tests.cloud_hub import role_world as world
from tests.cloud_hub.imaging import archive_world
from tests.cloud_hub.imaging.archive_world import STUDY, of_archive
from tests.cloud_hub.imaging.test_archive_distrusted import DICOM, Liar, file, image, parts, study
from tests.fakes import orthanc
from tests.fakes.orthanc import Orthanc
from tests.fakes.ports import free_port
from tests.ui import imaging_scene as scene
from tests.ui.real_hub import RealHub, hub
from tests.ui.test_people import enter
from tests.ui.test_screens import DESK, PHONE
from tests.ui.test_second_factor import pytestmark as needs
from tests.ui.test_studies import AXE, SERIOUS

pytestmark = [*needs, orthanc.needed]
LATER = "1.2.826.0.2.9"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Orthanc]:
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as found:
        found.store(*of_archive(shared_data, PatientBirthDate="19500102", PatientSex="F"))
        found.store(*of_archive(shared_data, "1.2.826.0.2.2", "P-2"))
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shared_data: Path, archive: Orthanc) -> Iterator[RealHub]:
    folder = tmp_path_factory.mktemp("hub")
    with hub(folder, scene.fill(folder, shared_data), second_factor=False, archive=archive.config()) as found:
        care = found.app.state.parts.stores
        archive_world.give_number(care, "own", "P-1", "1950-01-02", "male")
        archive_world.give_number(care, "other", "")
        yield found


def page_of(browser: Browser, served: RealHub, bed: str = "B01", username: str = "physician") -> Page:
    page = enter(browser, served.address, username)
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    page.goto(f"{served.address}#/patient/{world.SITE}%3A{bed}")
    expect(page.get_by_test_id("studies")).to_be_visible()
    return page


def looks(served: RealHub) -> int:
    """How often the trail says that the archive was asked."""
    care: Database = served.app.state.parts.stores.care
    query = select(func.count()).where(audit.c.action == "archive-search")
    return int(care.read_blocking(lambda c: c.execute(query).scalar_one()))


def test_what_the_archive_has_is_asked_fetched_and_opened_by_presses(
    served: RealHub, browser: Browser, archive: Orthanc, shared_data: Path
) -> None:
    page = page_of(browser, served)
    entries = page.get_by_test_id("study-entry")
    expect(entries).to_have_count(3)
    assert looks(served) == 0
    page.get_by_test_id("archive-look").press("Enter")
    entry = page.get_by_test_id("archived")
    expect(entry).to_have_count(1)
    expect(entry).to_contain_text("CT MR NM US 头部 MR")
    expect(entry).to_contain_text("2025-11-20")
    expect(entry).to_contain_text("4 幅")
    expect(entry).to_contain_text("谷 雨 · 1950-01-02 · 女")
    expect(entry.get_by_test_id("archive-differs")).to_have_text("性别与病历不符：请先核对是否同一人")
    entry.get_by_test_id("archive-fetch").press("Enter")
    expect(entry).to_have_attribute("data-state", "done", timeout=20_000)
    expect(entry).to_contain_text("本系统已全部具有")
    expect(entry.get_by_test_id("archive-fetch")).to_have_count(0)
    # It stands among the others, and opens as they do.
    expect(entries).to_have_count(4)
    entry.get_by_role("link").click()
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-shown", "0", timeout=30_000)
    # Nobody waits for its reading; whoever presses says that they read it.
    state = page.get_by_test_id("read-state")
    expect(state).to_contain_text("调自医院影像归档")
    expect(state).to_have_attribute("data-unread", "false")
    page.get_by_test_id("mark-read").click()
    expect(state).to_contain_text("已阅")
    expect(page.get_by_test_id("mark-read")).to_have_text("改为未阅")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("archived")).to_contain_text("本系统已全部具有")
    assert looks(served) == 1
    archive.store(*list(of_archive(shared_data, LATER))[:1])
    page.get_by_test_id("archive-look").click()
    expect(page.get_by_test_id("archived")).to_have_count(2)
    page.context.close()


def test_how_far_a_fetch_is_is_shown_and_so_is_why_it_ended(
    browser: Browser, tmp_path: Path, shared_data: Path
) -> None:
    liar, goes_on = Liar(free_port()), threading.Event()
    liar.studies = [study(), study(uid=LATER)]
    liar.images = [image(sop=f"{STUDY}.1.{number}") for number in (1, 2, 3)]

    def given(sop: str) -> Response:
        """The second image waits, and is then another patient's."""
        is_second = sop.endswith(".2")
        assert not is_second or goes_on.wait(30)
        return Response(parts(file("P-2" if is_second else "P-1", sop)), media_type=DICOM)

    liar.file = given
    config = ArchiveConfig(url=f"http://127.0.0.1:{liar.port}/dicom-web", identifier_system=orthanc.SYSTEM)
    scenery = scene.fill(tmp_path, shared_data)
    with served_by(liar), hub(tmp_path, scenery, second_factor=False, archive=config) as found:
        archive_world.give_number(found.app.state.parts.stores, "own", "P-1")
        page = page_of(browser, found)
        page.get_by_test_id("archive-look").click()
        first, second = page.get_by_test_id("archived").nth(0), page.get_by_test_id("archived").nth(1)
        first.get_by_test_id("archive-fetch").click()
        expect(first.get_by_test_id("archive-told")).to_contain_text("正在调取 1 / 3", timeout=15_000)
        second.get_by_test_id("archive-fetch").click()
        expect(second.get_by_test_id("archive-told")).to_have_text("等待调取")
        goes_on.set()
        expect(first.get_by_test_id("archive-told")).to_contain_text("另一位患者的影像，未保存", timeout=15_000)
        expect(first.get_by_test_id("archive-fetch")).to_have_text("补齐")
        page.context.close()


@contextmanager
def served_by(liar: Liar) -> Iterator[None]:
    """Serve an archive that says what the test wants, in a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(liar.app(), port=liar.port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)


def test_whoever_has_no_number_there_is_told_so_and_a_nurse_does_not_fetch(served: RealHub, browser: Browser) -> None:
    page = page_of(browser, served, "B02")
    page.get_by_test_id("archive-look").click()
    expect(page.get_by_test_id("archive")).to_contain_text("病历中没有此人在该医院的编号")
    page.context.close()
    page = page_of(browser, served, username="nurse")
    page.get_by_test_id("archive-look").click()
    expect(page.get_by_test_id("archived").first).to_be_visible()
    expect(page.get_by_test_id("archive-fetch")).to_have_count(0)
    page.context.close()


def test_an_archive_that_does_not_answer_is_told_and_the_page_goes_on(
    served: RealHub, browser: Browser, tmp_path: Path, shared_data: Path, archive: Orthanc
) -> None:
    away = archive.config(url="http://127.0.0.1:9/dicom-web")
    with hub(tmp_path, scene.fill(tmp_path, shared_data), second_factor=False, archive=away) as found:
        archive_world.give_number(found.app.state.parts.stores, "own", "P-1")
        page = page_of(browser, found)
        page.get_by_test_id("archive-look").click()
        expect(page.get_by_test_id("archive")).to_contain_text("医院影像归档暂时没有回应")
        page.get_by_test_id("language-switch").click()
        expect(page.get_by_test_id("archive")).to_contain_text("The hospital's archive does not answer just now")
        expect(page.get_by_test_id("study-entry")).to_have_count(3)
        page.context.close()


def test_where_there_is_no_archive_the_page_says_nothing_of_it(
    browser: Browser, tmp_path: Path, shared_data: Path
) -> None:
    with hub(tmp_path, scene.fill(tmp_path, shared_data), second_factor=False) as found:
        page = page_of(browser, found)
        expect(page.get_by_test_id("study-entry")).to_have_count(3)
        expect(page.get_by_test_id("archive")).to_have_count(0)
        page.context.close()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_archive_has_no_serious_barrier_and_is_no_wider_than_a_phone(
    served: RealHub, browser: Browser, size: tuple[int, int]
) -> None:
    page = page_of(browser, served)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.get_by_test_id("archive-look").click()
    expect(page.get_by_test_id("archived").first).to_be_visible()
    for _ in ("zh", "en"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run('[data-testid=archive]')")
        grave = [one["id"] for one in found["violations"] if one["impact"] in SERIOUS]
        assert not grave, json.dumps([one for one in found["violations"] if one["id"] in grave])[:2000]
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0
        page.keyboard.press("Alt+l")
    page.context.close()

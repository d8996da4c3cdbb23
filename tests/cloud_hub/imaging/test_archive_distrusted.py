"""What an archive must not be believed: answers of a real server that says whatever a test wants."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import ValidationError

from cloud_hub import server
from cloud_hub.config import ArchiveConfig, WebConfig, load
from cloud_hub.errors import ConfigRefused
from cloud_hub.imaging.archive import Archive
from cloud_hub.imaging.fetching import State
from cloud_hub.web.live import Stores
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.imaging import archive_world as world
from tests.cloud_hub.imaging.archive_world import STUDY, Hub
from tests.cloud_hub.role_world import stores
from tests.fakes import dicom_files
from tests.fakes.orthanc import SYSTEM
from tests.fakes.ports import free_port

__all__ = ["hashed", "stores"]
pytestmark = pytest.mark.anyio
SERIES, IMAGE = f"{STUDY}.1", f"{STUDY}.1.1"
LARGEST_FILE_BYTES = 64 * 1024
LIST, DICOM = "application/dicom+json", 'multipart/related; type="application/dicom"; boundary=b'
JSON = dict[str, Any]


def study(patient_id: Any = "P-1", uid: str = STUDY, more: JSON | None = None) -> JSON:
    told = {"0020000D": [uid], "00100020": patient_id if isinstance(patient_id, list) else [patient_id]} | (more or {})
    return {tag: {"vr": "LO", "Value": value} for tag, value in told.items()}


def image(series: str = SERIES, sop: str = IMAGE, uid: str = STUDY) -> JSON:
    told = {"0020000D": [uid], "0020000E": [series], "00080018": [sop]}
    return {tag: {"vr": "UI", "Value": value} for tag, value in told.items()}


def file(patient_id: str | None = "P-1", sop: str = IMAGE, **more: Any) -> bytes:
    return dicom_files.image(STUDY, SERIES, sop, PatientID=patient_id, **more)


def parts(*files: bytes) -> bytes:
    return b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in files) + b"--b--\r\n"


class Liar:
    """An archive; it begins as an honest one that has one image of P-1."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.studies: Any = [study()]
        self.images: Any = [image()]
        self.file: Response | Callable[[str], Response] = Response(parts(file()), media_type=DICOM)
        self.elsewhere = 0

    def app(self) -> FastAPI:
        app = FastAPI()
        app.get("/dicom-web/studies")(lambda: self._answer(self.studies))
        app.get("/dicom-web/studies/{uid}/instances")(self._images)
        app.get("/dicom-web/studies/{uid}/series/{series}/instances/{sop}")(self._file)
        app.get("/elsewhere")(self._count)
        return app

    def _images(self, request: Request) -> Response:
        if callable(self.images):
            return self._answer(self.images(int(request.query_params["offset"])))
        return self._answer(self.images)

    def _file(self, sop: str) -> Response:
        return self.file if isinstance(self.file, Response) else self.file(sop)

    def _count(self) -> Response:
        self.elsewhere += 1
        return self._answer([study()])

    def _answer(self, told: Any) -> Response:
        return told if isinstance(told, Response) else Response(json.dumps(told), media_type=LIST)


@contextlib.asynccontextmanager
async def serving(liar: Liar) -> AsyncIterator[None]:
    found, listener = server.make(liar.app()), server.listen(WebConfig(port=liar.port))
    task = asyncio.create_task(found.serve(sockets=[listener]))
    try:
        yield
    finally:
        found.stop()
        await task
        listener.close()


@pytest.fixture
async def liar() -> AsyncIterator[Liar]:
    found = Liar(free_port())
    async with serving(found):
        yield found


@pytest.fixture
def timeout_s() -> float:
    """Longest wait for the archive: only who waits for its end needs a short one, and a busy machine a long one."""
    return 30


@pytest.fixture
async def hub(liar: Liar, stores: Stores, tmp_path: Path, timeout_s: float) -> AsyncIterator[Hub]:
    config = ArchiveConfig(
        url=f"http://127.0.0.1:{liar.port}/dicom-web/", identifier_system=SYSTEM, timeout_s=timeout_s, images_most=600
    )
    async with world.hub(stores, tmp_path, config, largest_file_bytes=LARGEST_FILE_BYTES) as found:
        yield found


def blobs(folder: Path) -> list[Path]:
    """Every file of the hub's folder, those that are not whole too."""
    return [path for path in (folder / "blobs").rglob("*") if path.is_file()]


async def test_the_server_of_these_tests_is_believed_where_it_is_honest(hub: Hub) -> None:
    assert [one["study_uid"] for one in (await hub.look()).json()["studies"]] == [STUDY]
    assert (await hub.fetched())["images"] == 1


@pytest.mark.parametrize(
    "told",
    [
        study("P-2"),
        study("p-1"),
        study("P-11"),
        study(["P-1", "P-2"]),
        study([]),
        study([{"Alphabetic": "P-1"}]),
        study("P-1\u3000"),
        study(uid="../../instances"),
        study(uid=".."),
    ],
    ids=json.dumps,
)
async def test_what_is_not_of_exactly_this_patient_is_thrown_away(hub: Hub, liar: Liar, told: JSON) -> None:
    liar.studies = [told, study(uid="1.2.9")]
    assert [one["study_uid"] for one in (await hub.look()).json()["studies"]] == ["1.2.9"]
    liar.studies = [told]
    assert (await hub.fetched())["reason"] == "not-found"


async def test_texts_of_an_archive_are_cut_and_have_no_signs_that_cannot_be_seen(hub: Hub, liar: Liar) -> None:
    odd = {"00081030": ["a\u202eb\x00" * 400], "00080020": ["yesterday"], "00080061": ["<b>", "CT"], "00201208": ["-3"]}
    liar.studies = [study(more=odd)]
    (found,) = (await hub.look()).json()["studies"]
    assert set(found["description"]) == {"a", "b"}
    assert len(found["description"]) <= 200
    assert (found["study_date"], found["modalities"], found["images"]) == ("", ["CT"], None)


async def test_that_an_archive_may_have_more_than_it_was_asked_for_is_told(hub: Hub, liar: Liar) -> None:
    liar.studies = [study(uid=f"1.2.{number}") for number in range(199)]
    assert (await hub.look()).json()["is_more"] is False
    liar.studies.append(study("P-2"))
    found = (await hub.look()).json()
    assert (len(found["studies"]), found["is_more"]) == (199, True)


async def endless(text: bytes, pause_s: float = 0) -> AsyncIterator[bytes]:
    while True:
        yield text
        await asyncio.sleep(pause_s)


LISTS: dict[str, tuple[Any, str]] = {
    "endless": (lambda: StreamingResponse(endless(b"[" * 65536), media_type=LIST), "archive-unclear"),
    "no JSON": (lambda: Response("<html>"), "archive-unclear"),
    "deep": (lambda: Response("[" * 200_000), "archive-unclear"),
    "no list": (lambda: Response('{"0020000D": 1}'), "archive-unclear"),
    "of texts": (lambda: Response('["a"]'), "archive-unclear"),
    "huge number": (lambda: Response("[" + "9" * 5000 + "]"), "archive-unclear"),
    "packed": (lambda: Response(gzip.compress(b"[]"), headers={"Content-Encoding": "gzip"}), "archive-unclear"),
    "refused": (lambda: Response("no", 403), "archive-shut"),
    "at work": (lambda: Response("later", 503), "archive-away"),
    "not there": (lambda: Response("no", 404), "archive-unclear"),
}


@pytest.mark.parametrize("case", LISTS)
async def test_a_list_that_cannot_be_used_is_told_in_words_and_ends(hub: Hub, liar: Liar, case: str) -> None:
    make, code = LISTS[case]
    liar.studies = make()
    answer = await hub.look()
    assert answer.json()["code"] == code
    assert answer.json()["text"]["zh"].startswith("医院影像归档")


@pytest.mark.parametrize("timeout_s", [1])
async def test_a_list_that_comes_drop_by_drop_is_not_waited_for(hub: Hub, liar: Liar) -> None:
    liar.studies = StreamingResponse(endless(b" ", 0.1), media_type=LIST)
    assert (await hub.look()).json()["code"] == "archive-away"


async def test_no_redirect_is_followed_here_or_elsewhere(hub: Hub, liar: Liar) -> None:
    other = Liar(free_port())
    async with serving(other):
        for port in (liar.port, other.port):
            liar.studies = RedirectResponse(f"http://127.0.0.1:{port}/elsewhere")
            assert (await hub.look()).json()["code"] == "archive-unclear"
        liar.studies = [study()]
        liar.file = RedirectResponse(f"http://127.0.0.1:{other.port}/elsewhere")
        assert (await hub.fetched())["left_out"] == 1
    assert (liar.elsewhere, other.elsewhere) == (0, 0)


@pytest.mark.parametrize(
    "told",
    [[image(series="..")], [image(sop="../x")], [image(sop="1." * 40)], [image(uid="1.2.9")], [{}]],
    ids=["series", "instance", "long", "other study", "nothing"],
)
async def test_a_list_of_images_that_names_other_things_is_refused(hub: Hub, liar: Liar, told: Any) -> None:
    liar.images = told
    assert (await hub.fetched())["reason"] == "archive-unclear"


async def test_a_study_without_end_is_not_fetched(hub: Hub, liar: Liar) -> None:
    liar.images = lambda offset: [image(sop=f"{SERIES}.{offset + number}") for number in range(100)]
    told = await hub.fetched()
    assert (told["state"], told["reason"]) == ("failed", "archive-unclear")


ANOTHERS = {
    "another": file("P-2"),
    "in case": file("p-1"),
    "nobody": file(None),
    "two": file("P-1\\P-2"),
    "in another study": dicom_files.image("1.2.9", SERIES, IMAGE, PatientID="P-2"),
    "behind one of theirs": file(sop=f"{SERIES}.9") + b"\r\n--b\r\n\r\n" + file("P-2"),
}


@pytest.mark.parametrize("case", ANOTHERS)
async def test_a_file_of_another_patient_ends_the_fetch_and_is_not_kept(
    hub: Hub, liar: Liar, tmp_path: Path, case: str
) -> None:
    liar.images = [image(), image(sop=f"{SERIES}.2")]
    liar.file = Response(parts(ANOTHERS[case]), media_type=DICOM)
    told = await hub.fetched()
    assert (told["state"], told["images"], told["reason"]) == ("failed", 0, "archive-of-another")
    assert await hub.listed("own") == []
    assert blobs(tmp_path) == []
    assert "images-store" not in [entry[1] for entry in hub.trail()]


def file_answers() -> dict[str, Response]:
    cut = parts(file())[:-12]
    return {
        "not what was asked for": Response(parts(file(sop=f"{SERIES}.9")), media_type=DICOM),
        "no DICOM": Response(parts(b"no DICOM"), media_type=DICOM),
        "no part": Response(parts(), media_type=DICOM),
        "cut short": Response(cut, media_type=DICOM),
        "not multipart": Response(file(), media_type="application/dicom"),
        "no boundary": Response(parts(file()), media_type='multipart/related; type="application/dicom"'),
        "metadata": Response(parts(file()).replace(b"application/dicom", b"application/json"), media_type=DICOM),
        "too large": Response(parts(file() + bytes(LARGEST_FILE_BYTES)), media_type=DICOM),
        "endless": StreamingResponse(endless(b"--b\r\n\r\n" + bytes(65536)), media_type=DICOM),
        "gone": Response("gone", 410),
    }


@pytest.mark.parametrize("case", file_answers())
async def test_a_file_that_cannot_be_used_is_left_out_and_nothing_of_it_stays(
    hub: Hub, liar: Liar, tmp_path: Path, case: str
) -> None:
    liar.file = file_answers()[case]
    told = await hub.fetched()
    assert told == {"state": "done", "images": 0, "of": 1, "left_out": 1, "reason": ""}
    assert await hub.listed("own") == []
    assert blobs(tmp_path) == []


async def test_where_image_after_image_cannot_be_used_the_fetch_ends(hub: Hub, liar: Liar) -> None:
    liar.images = [image(sop=f"{SERIES}.{number}") for number in range(100)]
    liar.file = Response("no", 500)
    told = await hub.fetched()
    assert (told["state"], told["left_out"], told["reason"]) == ("failed", 19, "archive-unclear")


async def test_a_person_who_says_no_while_a_study_is_fetched_gets_no_more_of_it(hub: Hub, liar: Liar) -> None:
    liar.images = [image(), image(sop=f"{SERIES}.2")]
    waits = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield parts(file())[:50]
        await waits.wait()
        yield parts(file())[50:]

    liar.file = StreamingResponse(slow(), media_type=DICOM)
    await hub.begin()
    await hub.told("fetching")
    world.refuse_sharing(hub.stores, "own")
    waits.set()
    # Who asked may be told that nobody of that name is there, once the hub has heard of the refusal.
    over = await hub.over()
    assert (over.state, over.reason, over.images) == (State.FAILED, "not-found", 1)


GOOD = {"url": "https://pacs.example/dicom-web", "identifier_system": "s"}
REFUSED: dict[str, dict[str, str]] = {
    "http off this machine": {"url": "http://192.168.1.9:8042/dicom-web"},
    "password in the address": {"url": "https://me:secret@pacs.example/dicom-web"},
    "query": {"url": "https://pacs.example/dicom-web?x=1"},
    "no host": {"url": "https:///dicom-web"},
    "another scheme": {"url": "file:///etc/passwd"},
    "user alone": {"user": "me"},
    "password alone": {"password_file": "p"},
    "nobody's system": {"identifier_system": ""},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_configuration_that_is_not_safe_is_refused(case: str) -> None:
    ArchiveConfig.model_validate(GOOD)
    with pytest.raises(ValidationError):
        ArchiveConfig.model_validate(GOOD | REFUSED[case])


def test_files_are_beside_the_configuration_and_the_password_must_be_there(tmp_path: Path) -> None:
    text = """region = "r"
name_zh = "a"
name_en = "a"
store = { samples_url = "sqlite:///s.db", care_url = "sqlite:///c.db" }
broker = {}
[imaging.archive]
url = "http://127.0.0.1:8042/dicom-web"
identifier_system = "s"
user = "me"
password_file = "word"
"""
    (tmp_path / "hub.toml").write_text(text)
    found = load(tmp_path / "hub.toml").imaging.archive
    assert found is not None
    assert found.password_file == tmp_path / "word"
    with pytest.raises(ConfigRefused, match=r"imaging\.archive\.password_file"):
        Archive(found, 1)
    (tmp_path / "hub.toml").write_text(text + "[rpc]\nenabled = false\n")
    with pytest.raises(ConfigRefused, match=r"needs rpc\.enabled"):
        load(tmp_path / "hub.toml")

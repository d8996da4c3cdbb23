"""DICOMweb over real files: search, files as they are stored, metadata, frames and pictures, each within rights."""

import email
import hashlib
import io
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array  # type: ignore[attr-defined]
from sqlalchemy import select

from cloud_hub.access.oauth import OAuth
from cloud_hub.imaging import looking
from cloud_hub.store.schema import audit
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.role_world import stores
from tests.cloud_hub.test_views_audited import SHOWS_IMAGES
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import ImagingHub

__all__ = ["hashed", "stores"]
pytestmark = pytest.mark.anyio
CLINIC = world.address(world.SITE)
MULTIPART = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'
ONE = "/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5"


@dataclass
class Pacs:
    """A hub with images, and whoever is signed in."""

    hub: ImagingHub
    client: httpx.AsyncClient
    stores: Stores

    async def take(self, *contents: bytes, person: str = "own", group: str = "g1") -> None:
        """Have files arrive and be indexed."""
        for content in contents:
            self.hub.arrive(CLINIC, content, group)
        self.hub.tell(CLINIC, person, group)
        await self.hub.indexer.read_all()

    async def sign_in(self, who: str) -> None:
        answer = await self.client.post("/api/v1/session", json={"username": who, "password": world.PASSWORD})
        assert answer.status_code == 200, answer.text

    async def get(self, path: str, accept: str = "", **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path, headers=sent | ({"Accept": accept} if accept else {}))

    def trail(self) -> list[tuple[str, str, str]]:
        query = select(audit.c.action, audit.c.object, audit.c.result).where(audit.c.action.like("images-%"))
        return [tuple(row) for row in self.stores.care.read_blocking(lambda c: c.execute(query).all())]


@pytest.fixture
async def pacs(stores: Stores, tmp_path: Path) -> AsyncIterator[Pacs]:
    hub = ImagingHub.over(stores.care, tmp_path / "blobs")
    app = await world.build(stores, images=hub.images)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        found = Pacs(hub, client, stores)
        await found.sign_in("clinic")
        yield found
    await hub.readers.close()


def parts_of(answer: httpx.Response) -> list[Message]:
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    whole = email.message_from_bytes(head + answer.content)
    found = whole.get_payload()
    assert isinstance(found, list)
    return [part for part in found if isinstance(part, Message)]


def bodies(answer: httpx.Response) -> list[bytes]:
    """The parts, by their boundary and not by a reader of mail, which would mend line ends."""
    boundary = answer.headers["content-type"].rpartition("boundary=")[2].encode()
    pieces = answer.content.split(b"--" + boundary)
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    return [piece.partition(b"\r\n\r\n")[2][:-2] for piece in pieces[1:-1]]


async def test_a_study_comes_whole_with_the_bytes_that_are_stored(pacs: Pacs) -> None:
    files = [dicom_files.image(instance=f"1.2.3.4.{number}", InstanceNumber=str(number)) for number in (1, 2, 3)]
    await pacs.take(*files)
    for accept in ("", "*/*", MULTIPART, f"{MULTIPART}; transfer-syntax=*", "multipart/related"):
        answer = await pacs.get("/dicom-web/studies/1.2.3", accept)
        assert bodies(answer) == files, accept
        assert len(answer.content) == int(answer.headers["content-length"])
    types = {part["content-type"] for part in parts_of(answer)}
    assert types == {"application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
    assert bodies(await pacs.get("/dicom-web/studies/1.2.3/series/1.2.3.4")) == files
    assert bodies(await pacs.get("/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.2")) == [files[1]]
    assert (await pacs.get("/dicom-web/studies/1.2.3/series/1.2.3.9")).status_code == 404


async def test_a_file_is_named_by_its_uid_whatever_it_was_called_on_its_way(pacs: Pacs) -> None:
    pacs.hub.arrive(CLINIC, dicom_files.image(), name='谷雨 CT\r\nX: "../a.exe')
    await pacs.take()
    names = {
        path: (await pacs.get(ONE + path, accept)).headers["content-disposition"]
        for path, accept in (("", "application/dicom"), ("/rendered", "image/png"))
    }
    assert names == {
        "": 'attachment; filename="1.2.3.4.5.dcm"',
        "/rendered": 'inline; filename="1.2.3.4.5-1.png"',
    }


async def test_one_file_comes_by_itself_and_in_parts_and_is_known_by_its_hash(pacs: Pacs) -> None:
    content = dicom_files.image()
    await pacs.take(content)
    answer = await pacs.get(ONE, "application/dicom")
    assert (answer.content, answer.headers["cache-control"]) == (content, "no-store")
    tag = answer.headers["etag"]
    assert (await pacs.get(ONE, "application/dicom", If_None_Match=tag)).status_code == 304
    part = await pacs.get(ONE, "application/dicom", Range="bytes=128-131")
    assert (part.status_code, part.content) == (206, b"DICM")
    whole = await pacs.get("/dicom-web/studies/1.2.3")
    assert (await pacs.get("/dicom-web/studies/1.2.3", If_None_Match=whole.headers["etag"])).status_code == 304
    await pacs.take(dicom_files.image(instance="1.2.3.4.6"))
    assert (await pacs.get("/dicom-web/studies/1.2.3", If_None_Match=whole.headers["etag"])).status_code == 200


async def test_a_form_that_there_is_not_is_refused_in_words(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image())
    for path, accept in (
        ("", f"{MULTIPART}; transfer-syntax=1.2.840.10008.1.2.4.90"),
        ("", "image/jpeg"),
        ("", OCTETS),
        ("/metadata", "application/dicom+xml"),
        ("/frames/1", 'multipart/related; type="image/jp2"'),
        ("/rendered", "image/gif"),
    ):
        answer = await pacs.get(ONE + path, accept)
        assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable"), accept
        assert "given" in answer.json()["detail"]
    assert (await pacs.get("/dicom-web/studies/1.2.3", "application/dicom")).status_code == 200
    await pacs.take(dicom_files.image(instance="1.2.3.4.6"))
    assert (await pacs.get("/dicom-web/studies/1.2.3", "application/dicom")).status_code == 406


async def test_metadata_say_what_the_file_says_and_where_its_long_values_are(pacs: Pacs) -> None:
    private: dict[str, Any] = {"EncapsulatedDocument": bytes(range(256)) * 8, "ReferencedImageSequence": [_item()]}
    content = dicom_files.image(**private)
    await pacs.take(content)
    (told,) = (await pacs.get(ONE + "/metadata", "application/dicom+json")).json()
    assert told["00100010"]["Value"] == [{"Alphabetic": "Gu^Yu", "Ideographic": "谷^雨"}]
    assert told["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert "00020010" not in told
    for tag, expected in (("00420011", private["EncapsulatedDocument"]), ("7FE00010", pydicom_pixels(content))):
        answer = await pacs.get(told[tag]["BulkDataURI"].removeprefix("http://hub"))
        assert bodies(answer) == [expected], tag
    inner = told["00081140"]["Value"][0]["00420011"]["BulkDataURI"]
    assert bodies(await pacs.get(inner.removeprefix("http://hub"))) == [b"inner" * 400]
    for missing in ("00420012", "00081140/2/00420011", "00100010"):
        assert (await pacs.get(f"{ONE}/bulkdata/{missing}")).status_code == 409
    assert (await pacs.get("/dicom-web/studies/1.2.3/metadata")).json() == [told]


def _item() -> pydicom.Dataset:
    found = pydicom.Dataset()
    found.EncapsulatedDocument = b"inner" * 400
    return found


def pydicom_pixels(content: bytes) -> bytes:
    return bytes(pydicom.dcmread(io.BytesIO(content)).PixelData)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_file_of_the_shared_set_comes_back_and_tells_what_pydicom_tells(
    pacs: Pacs, shared_data: Path
) -> None:
    differing = list[tuple[str, str]]()
    for number, path in enumerate(sorted((shared_data / "dicom").rglob("*.dcm"))):
        pacs.hub.arrive(CLINIC, path.read_bytes(), f"g{number}")
    await pacs.hub.indexer.read_all()
    rows = (await pacs.get("/dicom-web/instances?limit=1000")).json()
    for row in rows:
        if row["0020000D"]["Value"][0] in world.STUDIES.values():
            continue
        where = row["00081190"]["Value"][0].removeprefix("http://hub")
        content = (await pacs.get(where, "application/dicom")).content
        expected = json_of(content)
        path, _, query = where.partition("?")
        (told,) = (await pacs.get(f"{path}/metadata?{query}")).json()
        short = {tag: one for tag, one in told.items() if "BulkDataURI" not in str(one) and tag != "00083002"}
        differing += [(where, tag) for tag, one in short.items() if _bare(one) != _bare(expected.get(tag))]
    assert not differing


def _bare(found: Any) -> Any:
    """Without the empty lists that pydicom writes where a sequence has no items; PS3.18 F.2.5 has none there."""
    if isinstance(found, dict):
        return {name: _bare(one) for name, one in found.items() if (name, one) != ("Value", [])}
    return [_bare(one) for one in found] if isinstance(found, list) else found


def json_of(content: bytes) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        return found.to_json_dict(bulk_data_threshold=1 << 40, suppress_invalid_tags=True)


WG04 = ("CT1_UNC", "CT1_J2KR", "CT1_JLSL", "MR1_RLE", "XA1_JPLL")


@pytest.mark.parametrize("name", WG04)
async def test_frames_are_as_stored_or_uncompressed(pacs: Pacs, shared_data: Path, name: str) -> None:
    content = (shared_data / "dicom" / "wg04" / f"{name}.dcm").read_bytes()
    await pacs.take(content)
    found = pydicom.dcmread(io.BytesIO(content))
    where, syntax = await where_of(pacs), found.file_meta.TransferSyntaxUID
    expected = np.ascontiguousarray(pixel_array(io.BytesIO(content), raw=True)).tobytes()
    (plain,) = bodies(await pacs.get(f"{where}/frames/1", OCTETS))
    assert plain == expected
    answer = await pacs.get(f"{where}/frames/1", f"{OCTETS}; transfer-syntax=*")
    (stored,) = bodies(answer)
    assert stored == (
        next(generate_frames(found.PixelData, number_of_frames=1)) if syntax.is_encapsulated else expected
    )
    assert f"transfer-syntax={syntax}" in str(parts_of(answer)[0]["content-type"])
    single = await pacs.get(f"{where}/frames/1", "application/octet-stream")
    assert single.content == expected


async def where_of(pacs: Pacs) -> str:
    found = (await pacs.get("/dicom-web/instances")).json()
    mine = [row for row in found if row["0020000D"]["Value"][0] not in world.STUDIES.values()]
    return str(mine[0]["00081190"]["Value"][0]).removeprefix("http://hub")


async def test_frames_of_many_come_in_the_order_that_was_asked_for(pacs: Pacs, shared_data: Path) -> None:
    for name in ("emri_small", "emri_small_RLE", "emri_small_big_endian"):
        content = (shared_data / "dicom" / "pydicom_data" / f"{name}.dcm").read_bytes()
        await pacs.take(content, group=name)
        where = await where_of(pacs)
        frames = pixel_array(io.BytesIO(content), raw=True)
        got = bodies(await pacs.get(f"{where}/frames/3,1,10", OCTETS))
        assert got == [np.ascontiguousarray(frames[at]).astype("<u2").tobytes() for at in (2, 0, 9)], name
        assert (await pacs.get(f"{where}/frames/11")).status_code == 404
        assert (await pacs.get(f"{where}/frames/0")).status_code == 400


async def test_frames_of_bits_that_share_bytes_come_each_by_itself(pacs: Pacs) -> None:
    frames = np.random.default_rng(7).integers(0, 2, (5, 3, 7), np.uint8)
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    bits: dict[str, Any] = {
        "Rows": 3,
        "Columns": 7,
        "NumberOfFrames": "5",
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
    }
    await pacs.take(dicom_files.image(PixelData=packed, **bits))
    for number, frame in enumerate(frames, 1):
        got = (await pacs.get(f"{ONE}/frames/{number}", "application/octet-stream")).content
        assert got == np.packbits(frame.ravel(), bitorder="little").tobytes()
    await pacs.take(dicom_files.image("1.2.9", "1.2.9.1", "1.2.9.1.1", PixelData=packed[:-2], **bits), group="g2")
    assert (await pacs.get("/dicom-web/studies/1.2.9/series/1.2.9.1/instances/1.2.9.1.1/frames/1")).status_code == 409


async def test_a_picture_shows_the_window_that_is_asked_for(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image())
    grey = await picture(pacs, "/rendered?window=8,16,linear-exact")
    assert [int(value) for value in grey.flatten()] == [round(value / 16 * 255) for value in range(16)]
    dark, bright = [await picture(pacs, f"/rendered?window={centre},2") for centre in (100, -100)]
    assert (dark.max(), bright.min()) == (0, 255)
    small = await picture(pacs, "/frames/1/rendered?viewport=2,2")
    assert small.shape == (2, 2)
    answer = await pacs.get(f"{ONE}/rendered")
    assert answer.headers["content-type"] == "image/jpeg"
    assert (await pacs.get(f"{ONE}/rendered", If_None_Match=answer.headers["etag"])).status_code == 304


async def picture(pacs: Pacs, path: str) -> Any:
    answer = await pacs.get(ONE + path, "image/png")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


async def test_a_window_that_is_none_is_refused(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image())
    for asked in ("window=1", "window=a,b", "window=1,0", "window=1,2,x", "viewport=0,1", "viewport=9"):
        answer = await pacs.get(f"{ONE}/rendered?{asked}")
        assert (answer.status_code, answer.json()["fields"]) == (400, [asked.partition("=")[0]]), asked


async def test_what_cannot_be_shown_is_refused_and_its_file_still_given(pacs: Pacs) -> None:
    broken, report = dicom_files.image()[:-2], dicom_files.image(instance="1.2.3.4.6", PixelData=None, Rows=None)
    await pacs.take(broken, report)
    for uid, path in (("5", "/rendered"), ("5", "/frames/1"), ("6", "/rendered"), ("6", "/bulkdata/7FE00010")):
        answer = await pacs.get(f"{ONE[:-1]}{uid}{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "image-unreadable"), path
    assert (await pacs.get(ONE, "application/dicom")).content == broken


async def test_a_file_that_is_gone_from_the_disk_is_no_empty_answer(pacs: Pacs) -> None:
    content = dicom_files.image()
    await pacs.take(content)
    for path in pacs.hub.blobs.folder.rglob("*"):
        if path.is_file():
            path.unlink()
    for asked in ("/dicom-web/studies/1.2.3", ONE, f"{ONE}/rendered", f"{ONE}/frames/1", f"{ONE}/bulkdata/00420011"):
        assert (await pacs.get(asked)).status_code == 503, asked
    assert (await pacs.get(ONE, "application/dicom")).status_code == 503


async def test_one_file_that_is_gone_keeps_nobody_from_the_others(pacs: Pacs) -> None:
    files = [dicom_files.image(instance=f"1.2.3.4.{number}", InstanceNumber=str(number)) for number in (1, 2)]
    await pacs.take(*files)
    pacs.hub.blobs.forget(hashlib.sha256(files[0]).hexdigest())
    told = (await pacs.get("/dicom-web/studies/1.2.3/metadata")).json()
    assert [one["00080018"]["Value"] for one in told] == [["1.2.3.4.1"], ["1.2.3.4.2"]]
    assert ["7FE00010" in one for one in told] == [False, True]
    for end, status in (("1", 503), ("2", 200)):
        for path in ("", "/rendered", "/frames/1"):
            assert (await pacs.get(f"{ONE[:-1]}{end}{path}")).status_code == status, (end, path)
    assert (await pacs.get("/dicom-web/studies/1.2.3")).status_code == 503


async def test_what_is_known_of_images_is_not_told_by_a_hub_without_files(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image())
    app = await world.build(pacs.stores)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        other = Pacs(pacs.hub, client, pacs.stores)
        await other.sign_in("clinic")
        for path in ("/dicom-web/studies/1.2.3/metadata", ONE, "/api/v1/studies/1.2.3/findings"):
            assert (await other.get(path)).status_code == 404, path


async def test_two_contents_of_one_uid_are_told_and_both_can_be_fetched(pacs: Pacs) -> None:
    first, second = dicom_files.image(), dicom_files.image(PatientID="P-9999")
    await pacs.take(first)
    assert "warning" not in (await pacs.get(ONE, "application/dicom")).headers
    await pacs.take(second)
    answer = await pacs.get(ONE, "application/dicom")
    assert answer.content == first
    assert "1 other contents" in answer.headers["warning"]
    assert (await pacs.get(f"{ONE}?version=2", "application/dicom")).content == second
    assert (await pacs.get(f"{ONE}?version=3", "application/dicom")).status_code == 404


async def test_a_preview_is_shown_until_the_whole_is_there(pacs: Pacs) -> None:
    preview, whole = dicom_files.image(Rows=2, Columns=2, PixelData=bytes(8)), dicom_files.image()
    pacs.hub.arrive(CLINIC, preview, is_preview=True)
    await pacs.take()
    assert (await pacs.get(ONE, "application/dicom")).content == preview
    await pacs.take(whole)
    assert (await pacs.get(ONE, "application/dicom")).content == whole


Search = Callable[[str], Any]


@pytest.fixture
async def search(pacs: Pacs) -> Search:
    """Search among three studies; returns their last digit, in order."""
    ct = {"StudyDate": "20261120", "PatientName": "Gu^Yu=谷^雨", "PatientID": "A*1", "AccessionNumber": "X1"}
    mr = {
        "StudyDate": "20261121",
        "PatientName": "Qiu^He=秋^禾",
        "PatientID": "A-2",
        "Modality": "MR",
        "StudyTime": "09",
    }
    us = {"StudyDate": "20250101", "PatientName": "", "PatientID": "b-3", "Modality": "US", "StudyDescription": "脑 US"}
    for number, values in enumerate((ct, mr, us), 11):
        uid = f"1.2.{number}"
        await pacs.take(dicom_files.image(uid, f"{uid}.1", f"{uid}.1.1", **values), group=uid, person="other")

    async def ask(query: str) -> Any:
        answer = await pacs.get(f"/dicom-web/{query}")
        assert answer.status_code in (200, 204), answer.text
        rows = answer.json() if answer.status_code == 200 else []
        uids = [row["0020000D"]["Value"][0] for row in rows]
        return [uid[-1] for uid in uids if uid not in world.STUDIES.values()]

    return ask


FINDS = (
    ("studies", "213"),
    ("studies?StudyDate=20261120", "1"),
    ("studies?StudyDate=20261120-", "21"),
    ("studies?StudyDate=-20261120", "13"),
    ("studies?00080020=20250101-20261120", "13"),
    ("studies?StudyTime=07", "13"),
    ("studies?StudyTime=08-10", "2"),
    ("studies?PatientName=gu*", "1"),
    ("studies?PatientName=秋*", "2"),
    ("studies?PatientName=*^?e", "2"),
    ("studies?PatientName=Gu", ""),
    ("studies?PatientName=", "213"),
    ("studies?PatientID=A-2", "2"),
    ("studies?PatientID=a-2", ""),
    ("studies?PatientID=A?1", "1"),
    ("studies?AccessionNumber=X1", "1"),
    ("studies?ModalitiesInStudy=MR", "2"),
    ("studies?ModalitiesInStudy=MR,US", "23"),
    ("studies?StudyInstanceUID=1.2.11,1.2.13", "13"),
    ("studies?StudyInstanceUID=1.2.11%5C1.2.12&PatientID=A-2", "2"),
    ("studies?NumberOfStudyRelatedInstances=1&StudyDate=20261121", "2"),
    ("studies?limit=1&offset=1&AccessionNumber=&StudyDate=20250101-", "1"),
    ("series?Modality=US", "3"),
    ("series?Modality=CT&PatientID=A*", "1"),
    ("instances?SOPInstanceUID=1.2.12.1.1", "2"),
    ("instances?Rows=4&SeriesInstanceUID=1.2.13.1", "3"),
    ("studies/1.2.12/series", "2"),
    ("studies/1.2.12/series?Modality=CT", ""),
    ("studies/1.2.12/instances", "2"),
    ("studies/1.2.12/series/1.2.12.1/instances?InstanceNumber=1", "2"),
    ("studies/1.2.12/series/1.2.11.1/instances", ""),
)


async def test_a_search_finds_what_matches_and_nothing_else(search: Search) -> None:
    found = {query: "".join(await search(query)) for query, _ in FINDS}
    assert found == dict(FINDS)


REFUSED = (
    ("studies?fuzzymatching=true&PatientName=x", "fuzzymatching", "not offered"),
    ("studies?PatientAge=1", "PatientAge", "cannot be searched"),
    ("studies?Modality=CT", "Modality", "ModalitiesInStudy"),
    ("studies?StudyDate=2026", "StudyDate", "YYYYMMDD"),
    ("studies?limit=0", "limit", "from 1"),
    ("studies?offset=999999", "offset", "narrow"),
    ("studies?includefield=../x", "includefield", "keyword"),
    ("studies?StudyDate=2025-20261121", "StudyDate", "range"),
)


async def test_a_search_that_cannot_be_understood_is_refused_in_words(pacs: Pacs) -> None:
    for query, field, words in REFUSED:
        answer = await pacs.get(f"/dicom-web/{query}")
        assert (answer.status_code, answer.json()["fields"]) == (400, [field]), query
        assert words in answer.json()["detail"]


async def test_a_search_tells_of_more_and_what_is_included(search: Search, pacs: Pacs) -> None:
    first = await pacs.get("/dicom-web/studies?limit=1&StudyInstanceUID=1.2.11,1.2.13")
    assert "additional results" in first.headers["warning"]
    assert "warning" not in (await pacs.get("/dicom-web/studies?StudyInstanceUID=1.2.11,1.2.13")).headers
    (plain,) = (await pacs.get("/dicom-web/studies?StudyInstanceUID=1.2.13")).json()
    assert "00081030" not in plain
    for asked in ("includefield=StudyDescription", "includefield=00081030,00100021", "includefield=all"):
        (told,) = (await pacs.get(f"/dicom-web/studies?StudyInstanceUID=1.2.13&{asked}")).json()
        assert told["00081030"]["Value"] == ["脑 US"]
    assert told["00080061"]["Value"] == ["US"]
    assert told["00081190"]["Value"] == ["http://hub/dicom-web/studies/1.2.13"]


TOO_BROAD = ("studies?PatientName=zz", "studies?limit=5", "series?SeriesNumber=99", "instances?Rows=1")
NARROW_ENOUGH = (
    ("studies?limit=1", "2"),
    ("studies?StudyDate=20261120-20261121", "21"),
    ("studies?StudyInstanceUID=1.2.11,1.2.12,1.2.13&PatientName=zz", ""),
    ("series?limit=1", "2"),
    ("instances?StudyDate=20261121&Rows=1", ""),
    ("studies/1.2.12/series", "2"),
    ("studies/1.2.14/instances", "4444"),
)


async def test_a_search_that_would_look_through_everything_is_refused_in_words(
    search: Search, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [dicom_files.image("1.2.14", "1.2.14.1", f"1.2.14.1.{number}", StudyDate="") for number in range(4)]
    await pacs.take(*many, group="1.2.14", person="other")
    monkeypatch.setattr(looking, "WALK_MOST", 2)
    for query in TOO_BROAD:
        answer = await pacs.get(f"/dicom-web/{query}")
        assert (answer.status_code, answer.json()["fields"]) == (400, ["StudyDate"]), query
        assert "narrow" in answer.json()["detail"]
    found = {query: "".join(await search(query)) for query, _ in NARROW_ENOUGH}
    assert found == dict(NARROW_ENOUGH)


async def test_a_search_looks_at_no_more_images_than_it_may(pacs: Pacs, monkeypatch: pytest.MonkeyPatch) -> None:
    for group in ("1", "2", "3"):
        uids = (f"1.2.{group}", f"1.2.{group}.1", f"1.2.{group}.1.1")
        await pacs.take(dicom_files.image(*uids, StudyDate="20261121"), group=group)
    day = "StudyDate=20261121"
    for most, statuses in ((3, [204, 400]), (6, [204, 204])):
        monkeypatch.setattr(looking, "WALK_MOST", most)
        asked = [await pacs.get(f"/dicom-web/{path}&{day}") for path in ("series?SeriesNumber=9", "instances?Rows=1")]
        assert [one.status_code for one in asked] == statuses, most


async def test_until_its_manifest_comes_a_study_is_seen_at_its_site_alone(pacs: Pacs) -> None:
    pacs.hub.arrive(CLINIC, dicom_files.image())
    await pacs.hub.indexer.read_all()
    seen = {}
    for who in ("clinic", "physician", "caregiver"):
        await pacs.sign_in(who)
        seen[who] = (await pacs.get("/dicom-web/studies/1.2.3")).status_code
    assert seen == {"clinic": 200, "physician": 404, "caregiver": 403}
    await pacs.take(person="")
    await pacs.sign_in("physician")
    assert (await pacs.get("/dicom-web/studies/1.2.3")).status_code == 200
    assert {one[1].partition("/")[0] for one in pacs.trail()} == {"ImagingStudy"}


async def test_a_study_that_is_given_to_somebody_else_is_theirs_from_then_on(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image(), person="own")
    await pacs.sign_in("physician")
    assert (await pacs.get("/dicom-web/studies/1.2.3")).status_code == 200
    await pacs.take(person="ended")
    assert (await pacs.get("/dicom-web/studies/1.2.3")).status_code == 404


async def test_a_program_needs_a_scope_for_images(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image())
    access = pacs.client._transport.app.state.access  # type: ignore[attr-defined]
    pacs.client.cookies.clear()
    for scope, status in (("system/Patient.rs", 403), ("system/ImagingStudy.s", 403), ("system/ImagingStudy.r", 200)):
        grant = await OAuth(access).for_program("program", world.PASSWORD, scope, "test")
        answer = await pacs.get("/dicom-web/studies/1.2.3", Authorization=f"Bearer {grant.access_token}")
        assert answer.status_code == status, scope


async def test_whoever_is_shown_an_image_is_written_down(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image())
    names = {"study": "1.2.3", "series": "1.2.3.4", "instance": "1.2.3.4.5", "numbers": "1", "tags": "7FE00010"}
    for path in sorted(SHOWS_IMAGES):
        # Another session: within one, a view is written down once a quarter of an hour.
        await pacs.sign_in("clinic")
        before = len(pacs.trail())
        answer = await pacs.get(path.replace(":path}", "}").format(**names))
        assert answer.status_code == 200, answer.text
        assert ("Patient/own", "ok") in [one[1:] for one in pacs.trail()[before:]], path

"""Complete files of studies become rows of the index: once, whole, and whatever is in them."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from telemed import study
from telemed.roles import Role
from telemed.study import StudyManifest
from telemed.transfer import FileKind

from cloud_hub.access.rights import Principal
from cloud_hub.config import ImagingConfig
from cloud_hub.errors import ReaderAway
from cloud_hub.imaging import entries, indexing, looking, matching
from cloud_hub.imaging.attributes import Level
from cloud_hub.imaging.entries import NoEntry
from cloud_hub.store import studies
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from cloud_hub.store.studies import Instance, Narrowing, Study
from cloud_hub.store.transfers import Transfer
from tests.cloud_hub.imaging.conftest import CLINIC, HOME
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import ImagingHub

pytestmark = pytest.mark.anyio
FATES = {
    "pydicom_data/HTJ2KLossless_08_RGB": "bad-uid",  # no Study Instance UID
    "pydicom_data/JLSL_16_15_1_1F": "bad-uid",
    "pydicom_data/bad_sequence": "bad-uid",  # hex digits for a UID
    "fo_dicom/GH220": "bad-uid",
    "fo_dicom/GH223": "bad-uid",
    "fo_dicom/chrSQEncoding": "bad-uid",
}
"""Files of the shared set that are kept and not indexed; all others are."""


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[ImagingHub]:
    """An index on SQLite whose readers have little memory."""
    care = Database(f"sqlite:///{tmp_path}/care.db", CARE, "care")
    care.migrate()
    found = ImagingHub.over(care, tmp_path / "blobs", ImagingConfig(reader_memory_mib=512, reader_limit_s=50))
    yield found
    await found.readers.close()
    care.close()


def found(hub: ImagingHub, **narrowing: object) -> list[Study]:
    asked = replace(Narrowing(), **narrowing)  # type: ignore[arg-type]
    return hub.care.read_blocking(lambda c: list(studies.studies(c, "baoshan", asked)))


def instances(hub: ImagingHub) -> list[Instance]:
    keys = [one.study_key for one in found(hub)]
    return hub.care.read_blocking(lambda c: studies.instances_of(c, keys))


async def test_a_file_that_arrived_is_found_with_what_it_says(hub: ImagingHub) -> None:
    row = hub.arrive(CLINIC, dicom_files.image())
    hub.tell(CLINIC, "p1")
    assert await hub.indexer.read_all() == 2
    (one,) = found(hub)
    assert (one.site, one.person_id, one.study_uid, one.study_date) == ("clinic", "p1", "1.2.3", "20261120")
    assert (one.modalities, one.series_count, one.instance_count) == (("CT",), 1, 1)
    assert one.attributes["00100010"]["Value"] == [{"Alphabetic": "Gu^Yu", "Ideographic": "谷^雨"}]
    (image,) = instances(hub)
    assert (image.sha256, image.frames, image.version, image.flaw) == (row.facts.sha256, 1, 1, "")
    assert image.transfer_syntax_uid == "1.2.840.10008.1.2.1"


async def test_a_file_is_read_once(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image())
    assert [await hub.indexer.read_all() for _ in range(2)] == [1, 0]


async def test_what_is_told_while_the_hub_runs_is_read_and_what_lay_there_before_too(hub: ImagingHub) -> None:
    early = hub.arrive(CLINIC, dicom_files.image())
    running = asyncio.create_task(hub.indexer.run())
    try:
        await _until(hub, early)
        late = hub.arrive(CLINIC, dicom_files.image(instance="1.2.3.4.6"))
        hub.indexer.took(late)
        await _until(hub, late)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert [one.sop_uid for one in instances(hub)] == ["1.2.3.4.5", "1.2.3.4.6"]


async def _until(hub: ImagingHub, row: Transfer) -> None:
    async with asyncio.timeout(30):
        while hub.outcome(row) is None:  # noqa: ASYNC110 - the product has no event for it
            await asyncio.sleep(0.01)


async def test_other_kinds_of_files_are_left_alone(hub: ImagingHub) -> None:
    row = hub.arrive(CLINIC, b"bundle")
    other = replace(row, facts=replace(row.facts, kind=FileKind.BUNDLE))
    hub.indexer.took(other)
    assert not hub.indexer._awake.is_set()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"no DICOM at all", "not-dicom"),
    "empty": (lambda: b"", "not-dicom"),
    "path for a UID": (lambda: dicom_files.image(instance="../../etc/x"), "bad-uid"),
    "long UID": (lambda: dicom_files.image(study="1." * 100), "bad-uid"),
    "cut short": (lambda: dicom_files.image()[:400], "bad-uid"),
    "endless": (dicom_files.endless_length, "bad-uid"),
    "nested": (lambda: dicom_files.nested(10_000), "unreadable"),
    "bomb": (lambda: dicom_files.deflate_bomb(600), "too-heavy"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] if one == "bomb" else []) for one in HOSTILE]
)
@pytest.mark.timeout(180)
async def test_a_hostile_file_is_flagged_and_the_next_one_is_read(small: ImagingHub, name: str) -> None:
    made, outcome = HOSTILE[name]
    content = made()
    bad = small.arrive(CLINIC, content)
    good = small.arrive(CLINIC, dicom_files.image())
    await small.indexer.read_all()
    assert (small.outcome(bad), small.outcome(good)) == (outcome, studies.INDEXED)
    assert small.blobs.path(bad.facts.sha256).read_bytes() == content


async def test_an_image_whose_pixels_were_cut_off_is_indexed_and_flagged(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image()[:-2])
    await hub.indexer.read_all()
    assert [(one.frames, one.flaw) for one in instances(hub)] == [(1, "pixels-short")]


async def test_a_file_that_takes_too_long_is_flagged(small: ImagingHub, tmp_path: Path) -> None:
    quick = ImagingHub.over(small.care, tmp_path / "blobs", ImagingConfig(reader_limit_s=0.1))
    row = quick.arrive(CLINIC, dicom_files.many_items(4))
    await quick.indexer.read_all()
    assert quick.outcome(row) == "too-slow"
    await quick.readers.close()


async def test_a_reader_that_does_not_start_blames_no_file(small: ImagingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    row = small.arrive(CLINIC, dicom_files.image())
    with pytest.raises(ReaderAway):
        await small.indexer.read_all()
    monkeypatch.undo()
    await small.indexer.read_all()
    assert small.outcome(row) == studies.INDEXED


HEADS = {
    "list": b"[]",
    "nothing": b"{}",
    "text for a length": b'{"bytes":"x","told":{},"code":""}',
    "below nothing": b'{"bytes":-1,"told":{},"code":""}',
    "true for a length": b'{"bytes":true,"told":{},"code":""}',
    "fraction": b'{"bytes":0.5,"told":{},"code":""}',
    "deep": b"[" * 100_000,
    "list told": b'{"bytes":0,"told":[],"code":""}',
    "no code": b'{"bytes":0,"told":{},"code":null}',
    "long code": b'{"bytes":0,"told":{},"code":"%s"}' % (b"a" * 21),
    "code of its own": b'{"bytes":0,"told":{},"code":"Gu Yu"}',
}
TAKEN_OVER = """#!{python}
import base64, sys
def say(head):
    sys.stdout.buffer.write(len(head).to_bytes(4, "big") + head)
    sys.stdout.buffer.flush()
say(b'{{"bytes":0,"told":{{}},"code":""}}')
for line in sys.stdin:
    say(base64.b64decode({head!r}))
"""
"""A reader that a file has taken over: it starts as it should, and then says what it likes."""


@pytest.mark.parametrize("head", [pytest.param(head, id=name) for name, head in HEADS.items()])
async def test_a_reader_that_was_taken_over_costs_its_file_alone(
    small: ImagingHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    program = tmp_path / "reader"
    program.write_text(TAKEN_OVER.format(python=sys.executable, head=base64.b64encode(head)))
    program.chmod(0o700)
    manifest, image = small.tell(CLINIC, "p1"), small.arrive(CLINIC, dicom_files.image())
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(program))
        await small.indexer.read_all()
    assert [small.outcome(row) for row in (manifest, image)] == ["too-heavy"] * 2
    good = small.arrive(CLINIC, dicom_files.image(instance="1.2.3.4.6"))
    await small.indexer.read_all()
    assert small.outcome(good) == studies.INDEXED


UIDS = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}


def told_of(**element: object) -> dict[str, object]:
    """What a reader tells of an image; an element of its own is put into its instance."""
    levels = {level: {tag: {"vr": "UI", "Value": ["1.2.3"]}} for level, tag in UIDS.items()}
    levels["instance"] |= element  # type: ignore[arg-type]
    return {"levels": levels, "transfer_syntax_uid": "1.2", "frames": 1, "flaw": ""}


def test_what_is_no_number_of_json_is_no_entry() -> None:
    assert entries.entry(told_of(x={"Value": [1]})).sop_uid == "1.2.3"
    with pytest.raises(NoEntry):
        entries.entry(told_of(x={"Value": [float("inf")]}))


@pytest.mark.parametrize("element", [{"Value": ["1.2.840"]}, {"Value": [{"x": 1}]}, {"Value": ["Gu Yu"]}, "x", {}])
def test_a_sop_class_is_an_identifier_or_none(element: object) -> None:
    told = told_of(**{"00080016": element})
    assert entries.sop_class(told) == ("1.2.840" if element == {"Value": ["1.2.840"]} else "")


async def test_two_contents_of_one_uid_are_both_kept_and_numbered(hub: ImagingHub) -> None:
    first = hub.arrive(CLINIC, dicom_files.image())
    second = hub.arrive(CLINIC, dicom_files.image(PatientID="P-9999"), group="g2")
    again = hub.arrive(CLINIC, dicom_files.image(PatientID="P-9999"), group="g3")
    await hub.indexer.read_all()
    versions = {(one.sha256, one.version) for one in instances(hub)}
    assert versions == {(first.facts.sha256, 1), (second.facts.sha256, 2)}
    assert again.facts.sha256 == second.facts.sha256
    assert len(found(hub)) == 3


async def test_the_same_uid_at_another_site_is_no_second_content(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image())
    hub.arrive(HOME, dicom_files.image(PatientID="P-9999"))
    await hub.indexer.read_all()
    assert [one.version for one in instances(hub)] == [1, 1]
    assert {one.site for one in found(hub)} == {"clinic", "home"}


async def test_a_preview_is_neither_counted_nor_a_second_content(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image(Rows=2, Columns=2, PixelData=bytes(8)), is_preview=True)
    await hub.indexer.read_all()
    assert [one.instance_count for one in found(hub)] == [0]
    hub.arrive(CLINIC, dicom_files.image())
    await hub.indexer.read_all()
    assert [one.instance_count for one in found(hub)] == [1]
    assert {(one.is_preview, one.version) for one in instances(hub)} == {(False, 1), (True, 1)}


async def test_the_newest_manifest_says_whose_study_it_is(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image())
    await hub.indexer.read_all()
    assert [one.person_id for one in found(hub)] == [None]
    for person_id in ("", "p1", "p2"):
        hub.tell(CLINIC, person_id)
        await hub.indexer.read_all()
        assert [one.person_id for one in found(hub)] == [person_id]


async def test_a_manifest_of_a_lower_generation_that_comes_later_changes_nothing(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image())
    for person_id, generation in (("p1", 3), ("p2", 2)):
        hub.register(CLINIC, person_id)
        hub.send_manifest(CLINIC, StudyManifest("g1", "1.2.3", generation, person_id))
        await hub.indexer.read_all()
    assert [one.person_id for one in found(hub)] == ["p1"]


async def test_a_manifest_names_persons_of_its_own_site_alone(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image())
    hub.register(HOME, "theirs")
    for number, person_id in enumerate(("theirs", "late"), 1):
        hub.send_manifest(CLINIC, StudyManifest("g1", "1.2.3", number, person_id))
        await hub.indexer.read_all()
        assert [one.person_id for one in found(hub)] == [None]
        assert found(hub, persons=frozenset({person_id})) == []
    # Who somebody is goes another way than their images, and may come later.
    hub.register(CLINIC, "late")
    assert [one.person_id for one in found(hub, persons=frozenset({"late"}))] == ["late"]


BAD_MANIFESTS = {
    "cut": b"{",
    "list": b"[]",
    "number": study.pack(StudyManifest("g1", "", 1)).replace(b'"person_id":""', b'"person_id":7'),
    "path": study.pack(StudyManifest("g1", "", 1, "../p")),
    "deep": b"[" * 50_000,
    "of another group": study.pack(StudyManifest("g2", "", 1, "p1")),
    "below nothing": study.pack(StudyManifest("g1", "", -1, "p1")),
    "beyond the column": study.pack(StudyManifest("g1", "", 2**70, "p1")),
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in BAD_MANIFESTS.items()])
async def test_a_manifest_that_says_nothing_names_nobody(hub: ImagingHub, content: bytes) -> None:
    row = hub.arrive(CLINIC, content, name=study.MANIFEST_NAME)
    hub.arrive(CLINIC, dicom_files.image())
    hub.register(CLINIC, "p1")
    await hub.indexer.read_all()
    assert hub.outcome(row) == indexing.BAD_MANIFEST
    assert [one.person_id for one in found(hub)] == [None]


@pytest.mark.parametrize("name", sorted(study.KEY_IMAGE_NAMES))
async def test_a_key_image_is_known_for_what_it_is_also_that_of_an_older_node(hub: ImagingHub, name: str) -> None:
    row = hub.arrive(CLINIC, b"\xff\xd8\xff", name=name, is_preview=True)
    await hub.indexer.read_all()
    assert (hub.outcome(row), found(hub)) == (studies.KEY_IMAGE, [])


async def test_a_file_that_was_away_is_read_after_the_next_start(hub: ImagingHub) -> None:
    row = hub.arrive(CLINIC, dicom_files.image())
    path = hub.blobs.path(row.facts.sha256)
    path.rename(path.with_suffix(".away"))
    await hub.indexer.read_all()
    assert hub.outcome(row) == studies.MISSING
    path.with_suffix(".away").rename(path)
    await hub.indexer._forget_missing()
    await hub.indexer.read_all()
    assert hub.outcome(row) == studies.INDEXED


async def test_a_study_is_found_by_what_it_holds_and_by_its_day(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image())
    hub.arrive(CLINIC, dicom_files.image("1.2.9", "1.2.9.1", "1.2.9.1.1", StudyDate="20261121"), group="g2")
    hub.arrive(CLINIC, dicom_files.image("1.2.8", "1.2.8.1", "1.2.8.1.1", StudyDate=None), group="g3")
    await hub.indexer.read_all()
    asked: dict[str, tuple[object, list[str]]] = {
        "sites": (frozenset({"home"}), []),
        "study_uids": (frozenset({"1.2.9"}), ["1.2.9"]),
        "series_uids": (frozenset({"1.2.3.4"}), ["1.2.3"]),
        "sop_uids": (frozenset({"1.2.9.1.1"}), ["1.2.9"]),
        "dates": (("20261121", ""), ["1.2.9"]),
    }
    for name, (value, expected) in asked.items():
        assert [one.study_uid for one in found(hub, **{name: value})] == expected, name
    assert [one.study_uid for one in found(hub, dates=("", "20261120"))] == ["1.2.3"]
    assert [one.study_uid for one in found(hub)] == ["1.2.9", "1.2.3", "1.2.8"]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_file_of_the_shared_set_has_its_fate(hub: ImagingHub, shared_data: Path) -> None:
    rows = {}
    for number, path in enumerate(sorted((shared_data / "dicom").rglob("*.dcm"))):
        name = f"{path.parent.name}/{path.stem}"
        rows[name] = hub.arrive(CLINIC, path.read_bytes(), group=f"g{number}")
    await hub.indexer.read_all()
    fates = {name: hub.outcome(row) for name, row in rows.items()}
    assert {name: fate for name, fate in fates.items() if fate != studies.INDEXED} == FATES


async def test_a_search_goes_through_all_levels_on_both_databases(hub: ImagingHub) -> None:
    for number in range(1, 4):
        uid = f"1.2.{number}"
        for instance in ("1", "2"):
            hub.arrive(CLINIC, dicom_files.image(uid, f"{uid}.1", f"{uid}.1.{instance}"), group=uid)
    await hub.indexer.read_all()
    clinic = Principal("clinic", Role.CLINIC, "", "", "baoshan", frozenset({"clinic"}))
    query = matching.read(Level.INSTANCE, [("limit", "4"), ("Modality", "CT")])
    page = hub.care.read_blocking(lambda c: looking.search(c, clinic, query, looking.Uids(), "http://hub"))
    assert (len(page.told), len(page.shown), page.has_more) == (4, 2, True)
    found = hub.care.read_blocking(lambda c: looking.find(c, clinic, looking.Uids("1.2.2")))
    assert [one.sop_uid for one in found.instances] == ["1.2.2.1.1", "1.2.2.1.2"]

"""Importing as a node does it: files in a folder, a converting process, and studies of a person in the catalogue."""

import asyncio
import dataclasses
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from edge_node.errors import CatalogueFailure
from edge_node.imaging import rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.content import Content
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored, pack
from edge_node.imaging.study import Study
from edge_node.importing import asking, converting, gathering, imports, names
from edge_node.importing.asking import Ask
from edge_node.importing.imports import BY, Imports, Means
from edge_node.importing.inbox import Inbox, Job
from edge_node.importing.names import STUDY
from edge_node.importing.order import Order
from edge_node.importing.reasons import WORDS, NotImported, Reason
from edge_node.inference import launch
from edge_node.inference.confinement import Unconfined
from edge_node.samples.roster import Roster
from tests.edge_node.importing.test_asking import PERSONS
from tests.edge_node.importing.volume_writing import Phantom, gipl, little, mhd, nifti, vti

pytest.importorskip("SimpleITK")
pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
PHANTOM = Phantom()


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 8), "red").save(file, "JPEG")
    return file.getvalue()


@dataclass(slots=True)
class Bench:
    """Imports around a real catalogue, and a folder of people."""

    imports: Imports
    catalog: Catalog
    objects: Objects
    folder: Path
    registry: CollectorRegistry
    noted: list[tuple[str, str, str]] = field(default_factory=list)
    now_ns: int = 1_800_000_000 * 10**9

    def job(self, name: str, content: bytes, said: str = "patient = 'P-1'\nmodality = 'MR'") -> Job:
        path = self.folder / name
        path.write_bytes(content)
        path.with_name(f"{name}.toml").write_text(said)
        return Job(path, path.with_name(f"{name}.toml"))

    def studies(self) -> list[Study]:
        return self.catalog.read_blocking(rows.studies)

    def count(self, result: str) -> float:
        return self.registry.get_sample_value("edge_imports_total", {"result": result}) or 0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    objects, catalog, registry = Objects(tmp_path / "images"), Catalog(tmp_path / "images"), CollectorRegistry()
    roster = Roster(persons={each.person_id: each for each in PERSONS})
    found: list[Bench] = []

    async def note(action: str, target: str, result: str) -> None:
        found[0].noted.append((action, target, result))

    (tmp_path / "in").mkdir()
    means = Means(2048, 50, 0.999, "edge-clinic", "0.1.0")
    made = Imports(catalog, objects, lambda: roster, means, note, imports.counter(registry), lambda: found[0].now_ns)
    found.append(Bench(made, catalog, objects, tmp_path / "in", registry))
    yield found[0]
    catalog.close()


async def test_a_volume_becomes_a_study_of_the_person_and_imported_again_it_is_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.job("v.nii", nifti(PHANTOM))
    outcome, files = await bench.imports.take(job)
    assert (outcome.images, files) == (3, ("v.nii",))
    (study,) = bench.studies()
    assert (study.study_uid, study.person_id, study.assigned_by) == (outcome.study_uid, "p-1", BY)
    assert (study.patient.patient_id, study.patient.issuer, study.patient.name) == ("P-1", "BAOSHAN", "谷^雨")
    instances = bench.catalog.read_blocking(lambda c: rows.instances(c, study.study_id))
    assert [(each.fault, each.rows, each.columns) for each in instances] == [("", 4, 5)] * 3
    assert bench.noted == [("study-import", f"Patient/p-1/study/{study.study_id}", "ok")]

    monkeypatch.setattr(converting, "PROGRAM", ("false",))
    bench.now_ns += 10**12
    again, _ = await bench.imports.take(bench.job("other-name.nii", nifti(PHANTOM)))
    assert (again.images, again.study_uid) == (0, outcome.study_uid)
    assert len(bench.studies()) == 1
    assert bench.catalog.read_blocking(rows.count_of)["conflicts"] == 0
    assert list((bench.objects.folder / imports.WORK).iterdir()) == []


async def test_a_file_that_is_imported_twice_at_once_is_there_once(bench: Bench) -> None:
    jobs = [bench.job(name, nifti(PHANTOM)) for name in ("one.nii", "two.nii")]
    found = await asyncio.gather(*(bench.imports.take(job) for job in jobs))
    assert sorted(outcome.images for outcome, _ in found) == [0, 3]
    counts = bench.catalog.read_blocking(rows.count_of)
    assert (counts["studies"], counts["objects"], counts["conflicts"]) == (1, 3, 0)


@pytest.mark.parametrize("change", [{"patient_id": "P-2"}, {"issuer": "X"}, {"study_uid": "1.2.3"}])
async def test_a_converter_that_makes_something_of_somebody_else_is_not_believed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, str]
) -> None:
    job = bench.job("p.jpg", photo(), "patient = 'P-1'")
    (tmp_path / "work").mkdir()
    sha256 = gathering.gather(job.path, tmp_path / "work").sha256
    subject = asking.person(Ask(patient="P-1"), PERSONS)[1]
    order = Order("", "", "JPEG", sha256, subject, "XC", "", "", "", "", "", 0)
    right = Content(sop_instance_uid="1.2", study_uid=names.uid(order, STUDY), patient_id="P-1", issuer="BAOSHAN")
    for content, is_believed in ((right, True), (dataclasses.replace(right, **change), False)):  # type: ignore[arg-type]
        line = pack(Stored(0, "a" * 64, 1, "1.2.840.10008.1.2", "IMPORT", content))
        (tmp_path / "said").write_bytes(line)
        monkeypatch.setattr(converting, "PROGRAM", ("sh", "-c", f"read line; cat {tmp_path / 'said'}"))
        if is_believed:
            assert await converting.converted(order, 20) == [
                Stored(0, "a" * 64, 1, "1.2.840.10008.1.2", "IMPORT", right)
            ]
            continue
        with pytest.raises(NotImported) as refusal:
            await bench.imports.take(job)
        assert refusal.value.reason is Reason.CONVERTER_FAILED
        assert bench.studies() == []


async def test_no_converter_starts_where_the_node_cannot_close_its_memory_to_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuses() -> NoReturn:
        raise Unconfined("the kernel refuses")

    monkeypatch.setattr(launch, "shield", refuses)
    monkeypatch.setattr(converting, "PROGRAM", ("/bin/touch", str(tmp_path / "started")))
    with pytest.raises(NotImported) as refusal:
        await bench.imports.take(bench.job("p.jpg", photo(), "patient = 'P-1'"))
    assert refusal.value.reason is Reason.CONVERTER_FAILED
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("v.vti", vti(PHANTOM), "patient = 'P-1'\nmodality = 'CT'\naxes = 'LPS'"),
        ("v.gipl", gipl(PHANTOM), "patient = 'P-1'\nmodality = 'CT'\naxes = 'RAS'"),
        ("v.mhd", mhd(PHANTOM, "v.raw"), "patient = 'P-1'\nmodality = 'CT'"),
        ("p.jpg", photo(), "patient = 'P-1'"),
    ],
)
async def test_every_reader_works_within_its_confinement(bench: Bench, name: str, content: bytes, said: str) -> None:
    (bench.folder / "v.raw").write_bytes(little(PHANTOM))
    outcome, _ = await bench.imports.take(bench.job(name, content, said))
    assert outcome.images in (1, 3)


async def test_a_pdf_is_read_within_its_confinement(bench: Bench, shared_data: Path) -> None:
    content = shared_data.joinpath("dicom", "HelloWorld.pdf").read_bytes()
    outcome, _ = await bench.imports.take(bench.job("p.pdf", content, "patient = 'P-1'"))
    assert outcome.images == 1


@pytest.mark.parametrize(
    ("name", "content", "said", "reason"),
    [
        ("v.nii", nifti(PHANTOM)[:-1], "patient = 'P-1'\nmodality = 'MR'", Reason.LENGTH_DIFFERS),
        ("v.nii", nifti(PHANTOM), "patient = 'P-1'", Reason.MODALITY_NEEDED),
        ("v.nii", nifti(PHANTOM), "patient = 'P-9'", Reason.PERSON_UNKNOWN),
        ("v.mhd", mhd(PHANTOM, "../v.raw"), "patient = 'P-1'", Reason.PATH_OUTSIDE),
        ("v.mhd", mhd(PHANTOM, "/etc/passwd"), "patient = 'P-1'", Reason.PATH_OUTSIDE),
        ("v.mhd", mhd(PHANTOM, "LIST"), "patient = 'P-1'", Reason.PATH_OUTSIDE),
        ("v.mhd", mhd(PHANTOM, "v%03d.raw"), "patient = 'P-1'", Reason.PATH_OUTSIDE),
        ("v.mhd", mhd(PHANTOM, "gone.raw"), "patient = 'P-1'", Reason.FILE_MISSING),
        ("v.mhd", mhd(PHANTOM, "link.raw"), "patient = 'P-1'", Reason.FILE_MISSING),
        ("v.mhd", mhd(PHANTOM, "v.mhd"), "patient = 'P-1'", Reason.PATH_OUTSIDE),
    ],
)
async def test_what_is_refused_leaves_nothing_in_the_catalogue(
    bench: Bench, name: str, content: bytes, said: str, reason: Reason
) -> None:
    (bench.folder / "link.raw").symlink_to("/etc/passwd")
    with pytest.raises(NotImported) as refusal:
        await bench.imports.take(bench.job(name, content, said))
    assert refusal.value.reason is reason
    assert bench.studies() == []
    assert bench.noted == []
    assert [path for path in bench.objects.folder.rglob("importing/*") if path.exists()] == []


async def looked(bench: Bench, until: Callable[[], bool]) -> None:
    """Run the stage on the folder until something holds."""
    running = asyncio.create_task(bench.imports.run(bench.folder))
    try:
        async with asyncio.timeout(30):
            while not until():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_folder_is_emptied_and_says_what_became_of_each(bench: Bench) -> None:
    bench.job("p.jpg", photo(), "patient = 'P-1'")
    bench.job("broken.jpg", photo()[:-300], "patient = 'P-1'")
    done, refused = bench.folder / "done" / "p.jpg.txt", bench.folder / "refused" / "broken.jpg.txt"
    await looked(bench, lambda: done.exists() and refused.exists())
    assert done.read_text().startswith("已导入 1 幅 / imported: 1 images, study 2.25.")
    zh, en = WORDS[Reason.PICTURE_BROKEN]
    assert refused.read_text() == f"{zh} / {en}  [picture-broken]\n"
    assert [path.name for path in bench.folder.iterdir() if path.is_file()] == []
    assert (bench.count("imported"), bench.count("picture-broken")) == (1, 1)
    assert ("study-import", "file", "picture-broken") in bench.noted


async def test_what_cannot_be_committed_now_stays_and_is_imported_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, failures = bench.job("p.jpg", photo(), "patient = 'P-1'"), [1]
    write = bench.catalog.write

    async def failing(work: object) -> object:
        if failures:
            failures.pop()
            raise CatalogueFailure("imaging.db: disk I/O error")
        return await write(work)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.catalog, "write", failing)
    monkeypatch.setattr("edge_node.importing.inbox.AGAIN_S", 0.0)
    await looked(bench, (bench.folder / "done" / "p.jpg.txt").exists)
    assert len(bench.studies()) == 1
    assert not job.path.exists()


async def test_a_converter_that_says_what_none_may_say_dies_or_is_late_is_not_believed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for said, reason in (
        ("echo rubbish", Reason.CONVERTER_FAILED),
        ("exit 9", Reason.CONVERTER_FAILED),
        ("true", Reason.CONVERTER_FAILED),
        ("""echo '{"type": "refused", "reason": "made-up", "detail": ""}'""", Reason.CONVERTER_FAILED),
        ("""echo '{"type": "ready"}'""", Reason.CONVERTER_FAILED),
        ("head -c 200000 /dev/zero", Reason.CONVERTER_FAILED),
        ("exec sleep 60", Reason.TOO_LATE),
    ):
        program = tmp_path / "converter"
        program.write_text(f"#!/bin/sh\nread line\n{said}\n")
        program.chmod(0o700)
        monkeypatch.setattr(converting, "PROGRAM", (str(program),))
        object.__setattr__(bench.imports._means, "limit_s", 1 if reason is Reason.TOO_LATE else 20)
        with pytest.raises(NotImported) as refusal:
            await bench.imports.take(bench.job("p.jpg", photo(), "patient = 'P-1'"))
        assert refusal.value.reason is reason, said
        assert bench.studies() == []


async def test_a_file_beyond_the_limit_is_not_copied(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "LARGEST_BYTES", 100)
    with pytest.raises(NotImported) as refusal:
        await bench.imports.take(bench.job("p.jpg", photo(), "patient = 'P-1'"))
    assert refusal.value.reason is Reason.FILE_TOO_LARGE


async def test_on_a_full_disk_nothing_is_imported_and_files_of_people_wait(bench: Bench) -> None:
    object.__setattr__(bench.imports._means, "disk_limit_share", 0.0001)
    job = bench.job("p.jpg", photo(), "patient = 'P-1'")
    with pytest.raises(NotImported) as refusal:
        await bench.imports.take(job)
    assert refusal.value.reason is Reason.DISK_FULL
    inbox = Inbox(bench.folder, settled_s=0)
    (due,) = inbox.due()
    await bench.imports._import(inbox, due)
    assert job.path.exists()
    assert inbox.due() == []


def test_every_reason_has_words_in_both_languages_and_fits_the_trail() -> None:
    assert set(WORDS) == set(Reason)
    assert all(len(reason) <= 20 for reason in Reason)
    assert all(not zh.isascii() and en for zh, en in WORDS.values())

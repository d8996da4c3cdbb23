"""Studies on a node read by the released model: real reader, real worker, real signatures."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from telemed import ai_report
from telemed.ai_result import AiResult
from telemed.study import OBJECT_NAME

from edge_node.findings.pipe import Ask, Fits
from edge_node.findings.reader import _started
from edge_node.findings.readings import PASSING, Readings
from edge_node.findings.rules import load
from edge_node.imaging import rows
from models.phantoms.swi_head import Mark, head
from tests.edge_node.findings.conftest import NS, Bench, Signed, models_of
from tests.fakes import swi_dicom

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(240)]


async def test_a_study_is_read_once_it_is_quiet_and_again_only_when_more_of_it_came(
    bench: Bench, signed: Signed, tmp_path: Path
) -> None:
    files = swi_dicom.written(tmp_path / "mr")
    late = files.pop(30)
    bench.arrive(files)
    async with models_of(tmp_path / "models", signed) as models:
        readings = bench.readings(models)
        bench.now_ns += 29 * NS
        await readings.look()
        assert bench.noted == []
        bench.now_ns += NS
        await readings.look()
        await readings.look()
        assert bench.results() == ["study-not-read phase-differs"]
        bench.arrive([late])
        await readings.look()
        assert len(bench.noted) == 1
        bench.now_ns += 30 * NS
        await readings.look()
        assert bench.results() == ["study-not-read phase-differs", "study-read 2"]
        _, target, result = bench.noted[-1]
        assert target.endswith(f"/bundle/{signed.bundle.bundle_id}")
        assert re.fullmatch(r"2 onnxruntime-cpu/fp32 \d+\.\ds", result)
        restarted = bench.readings(models)
        bench.now_ns += 30 * NS
        await restarted.look()
        assert len(bench.noted) == 2


async def test_what_was_found_lies_among_the_images_and_report_and_picture_go_ahead(
    bench: Bench, signed: Signed, tmp_path: Path
) -> None:
    made = head(swi_dicom.HEAD, "hard")
    bench.arrive(swi_dicom.written(tmp_path / "mr", made))
    bench.now_ns += 30 * NS
    async with models_of(tmp_path / "models", signed) as models:
        await bench.readings(models).look()
    objects = bench.made()
    assert set(objects) == {"SR", "OT", "KO", "SEG"}
    assert bench.filed_when_noted == [0], "noted before it is filed, or a crash in between would hide it from the trail"
    report = ai_report.read_back(objects["SR"])
    assert (report.outcome, report.bundle_id) == ("FOUND", signed.bundle.bundle_id)
    found = {bleed.centre_mm: [each for each in report.results if is_at(each, bleed)] for bleed in made.bleeds}
    assert [len(each) for each in found.values()] == [1, 1]
    assert [found[bleed.centre_mm][0].region for bleed in made.bleeds] == [
        bleed.region.name.lower() for bleed in made.bleeds
    ]
    sent = [dcmread(file.path).Modality for file in bench.offered if file.is_ahead and file.name == OBJECT_NAME]
    assert sent == ["SR", "OT"]
    (study,) = bench.catalog.read_blocking(rows.studies)
    assert {file.group for file in bench.offered} == {study.study_id}
    assert (study.is_mixed, study.conflicts) == (False, 0)


def is_at(result: AiResult, bleed: Mark) -> bool:
    """Whether a finding points into a bleed, or at most 2 mm beside it."""
    gap_mm = float(np.linalg.norm(np.subtract(result.place.centre_mm, bleed.centre_mm)))
    return gap_mm < bleed.diameter_mm / 2 + 2


async def test_a_model_of_phantoms_reads_no_patient_where_research_is_off(
    bench: Bench, signed: Signed, tmp_path: Path
) -> None:
    bench.arrive(swi_dicom.written(tmp_path / "mr"))
    bench.now_ns += 30 * NS
    async with models_of(tmp_path / "models", signed, is_research=False) as models:
        await bench.readings(models).look()
    assert bench.results() == ["study-not-read not-for-patients"]
    assert bench.made() == {}


async def test_what_ails_images_that_a_model_would_not_have_read_anyway_is_not_told(
    bench: Bench, signed: Signed, tmp_path: Path
) -> None:
    bench.arrive(swi_dicom.written(tmp_path / "mr")[:24])
    bench.now_ns += 30 * NS
    async with models_of(tmp_path / "models", signed, is_research=False) as models:
        await bench.readings(models).look()
    assert bench.results() == ["study-not-read not-for-patients"]
    assert bench.made() == {}


async def test_a_reader_is_confined_before_it_opens_an_image(bench: Bench, tmp_path: Path) -> None:
    files = swi_dicom.written(tmp_path / "mr")
    rules = load().of("cmb")
    assert rules is not None
    ask = Ask(rules.model_dump(mode="json"), [(str(path), path.stem) for path in files], 1024)
    async with _started() as reader:
        await reader.say(ask)
        assert isinstance(await reader.hear(), Fits)
        status = Path(f"/proc/{reader.process.pid}/status").read_text()  # noqa: ASYNC240
        limits = Path(f"/proc/{reader.process.pid}/limits").read_text()  # noqa: ASYNC240
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    assert re.search(rf"^Max data size\s+{1024 * 2**20} ", limits, re.MULTILINE)
    assert re.search(r"^Max file size\s+0 ", limits, re.MULTILINE)
    assert re.search(r"^Max cpu time\s+600 ", limits, re.MULTILINE)


async def given_up(bench: Bench, readings: Readings) -> None:
    """Look until a study is given up; nothing may be told of it before the last attempt."""
    for wait_s in readings.means.again_after_s:
        await readings.look()
        await readings.look()
        assert bench.noted == []
        bench.steady_s += wait_s
    await readings.look()


async def test_a_model_with_one_altered_weight_finds_nothing_and_it_is_said_why(
    bench: Bench, signed: Signed, tmp_path: Path
) -> None:
    bench.arrive(swi_dicom.written(tmp_path / "mr"))
    bench.now_ns += 30 * NS
    async with models_of(tmp_path / "models", signed) as models:
        for slot in models._slots.values():
            await slot.rest()
        graph = tmp_path / "models" / "bundles" / signed.bundle.bundle_id / "detector.onnx"
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 1
        graph.write_bytes(content)
        await given_up(bench, bench.readings(models))
    assert bench.results() == ["study-not-read engine-failed"]
    report = ai_report.read_back(bench.made()["SR"])
    assert (report.outcome, report.reason, report.results) == ("NOT-READ", "engine-failed", ())


async def test_a_model_whose_files_were_deleted_finds_nothing_and_it_is_said_why(
    bench: Bench, signed: Signed, tmp_path: Path
) -> None:
    bench.arrive(swi_dicom.written(tmp_path / "mr"))
    bench.now_ns += 30 * NS
    async with models_of(tmp_path / "models", signed):
        pass
    shutil.rmtree(tmp_path / "models" / "bundles" / signed.bundle.bundle_id)
    async with models_of(tmp_path / "models", signed, is_new=False) as models:
        await given_up(bench, bench.readings(models))
    assert bench.results() == ["study-not-read model-absent"]
    report = ai_report.read_back(bench.made()["SR"])
    assert (report.outcome, report.reason, report.results) == ("NOT-READ", "model-absent", ())


async def test_a_reader_that_dies_is_tried_again_and_then_told(
    bench: Bench, signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.arrive(swi_dicom.written(tmp_path / "mr"))
    bench.now_ns += 30 * NS
    monkeypatch.setattr("edge_node.findings.reader.PROGRAM", ("/bin/true",))
    async with models_of(tmp_path / "models", signed) as models:
        await given_up(bench, bench.readings(models))
    assert bench.results() == ["study-not-read reader-failed"]


async def test_a_study_of_another_kind_is_passed_over_in_silence(bench: Bench, signed: Signed, tmp_path: Path) -> None:
    def plain(image: Dataset) -> Dataset:
        image.ImageType, image.SeriesDescription = ["ORIGINAL", "PRIMARY", "M"], "t1_mprage"
        return image

    bench.arrive(swi_dicom.written(tmp_path / "mr", change=plain))
    bench.now_ns += 30 * NS
    async with models_of(tmp_path / "models", signed) as models:
        await bench.readings(models).look()
    assert bench.noted == []


async def test_only_what_may_pass_by_itself_is_tried_again() -> None:
    assert {str(each) for each in PASSING} == {
        "engine-failed", "reader-failed", "writer-failed", "model-absent",
    }  # fmt: skip

"""Rounds of readings while studies and models change: what a reader would say is scripted, the catalogue is real."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from pydicom import Dataset
from telemed.bundle import Bundle, Manifest

from edge_node.findings.documents import Write
from edge_node.findings.due import Waits
from edge_node.findings.pipe import Ask, Fits, Told
from edge_node.findings.reader import Reading
from edge_node.findings.readings import Readings
from edge_node.findings.reasons import NotRead, Reason
from edge_node.imaging import rows
from edge_node.imaging.pipe import Stored
from edge_node.inference.provenance import Provenance
from edge_node.inference.rollout import Row, Rows, Stage
from edge_node.inference.runtime import Inference
from models.phantoms.swi_head import Head, head
from tests.edge_node.findings.conftest import NS, TASK, Bench
from tests.fakes import swi_dicom

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class OnDuty:
    """The models of a node, one of which is on duty."""

    bundle: Bundle

    def rows(self) -> Rows:
        manifest = self.bundle.manifest
        return (Row(self.bundle.bundle_id, manifest.task, manifest.version, Stage.SERVING, 0),)

    def manifest(self, task: str) -> Manifest | None:
        return self.bundle.manifest if task == TASK else None


Reader = Callable[[Ask], Awaitable[Reading | None]]


@dataclass(frozen=True, slots=True)
class Round:
    """Readings by a scripted reader."""

    readings: Readings
    told: list[Write]
    """To the writer, which writes nothing."""


@pytest.fixture(scope="session")
def made_head() -> Head:
    return head(swi_dicom.HEAD, "hard")


def round_of(bench: Bench, models: OnDuty, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> Round:
    async def read(ask: Ask, models: Inference, task: str, limit_s: float) -> Reading | None:
        return await reader(ask)

    told: list[Write] = []

    async def written(write: Write, limit_s: float) -> list[Stored]:
        told.append(write)
        return []

    monkeypatch.setattr("edge_node.findings.readings.read", read)
    monkeypatch.setattr("edge_node.findings.filing.written", written)
    return Round(bench.readings(cast("Inference", models)), told)


def said_by(bundle: Bundle, files: Sequence[Path]) -> Reading:
    """Return that a bundle found nothing in a head."""
    manifest, half = bundle.manifest, len(files) // 2
    by = Provenance(TASK, manifest.version, bundle.bundle_id, "onnxruntime-cpu", "1", "cpu", "fp32", True, False)
    uids = [path.stem for path in files]
    return Reading(Fits(uids[:half], uids[half:]), Told([], 0, ("", "")), manifest, by)


def by_whom(told: Sequence[Write]) -> list[tuple[str, str, str]]:
    """Return version, bundle and refusal of what was to be written."""
    return [(each.model.version, each.model.bundle_id, each.reason) for each in told]


async def test_a_report_names_the_model_that_read_although_another_came_on_duty_meanwhile(
    bench: Bench, bundles: tuple[Bundle, Bundle], made_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundles
    files = swi_dicom.written(tmp_path / "mr", made_head)
    models = OnDuty(old)

    async def reader(ask: Ask) -> Reading:
        lent = models.bundle
        models.bundle = new
        return said_by(lent, files)

    bench.arrive(files)
    bench.now_ns += 30 * NS
    now = round_of(bench, models, reader, monkeypatch)
    await now.readings.look()
    await now.readings.look()
    versions = [(each.manifest.version, each.bundle_id, "") for each in bundles]
    assert by_whom(now.told) == versions


@pytest.mark.parametrize("is_refused", [False, True])
async def test_what_another_model_than_that_on_duty_said_is_not_told_and_the_study_is_read_anew(
    bench: Bench, bundles: tuple[Bundle, Bundle], made_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    *, is_refused: bool,
) -> None:  # fmt: skip
    old, new = bundles
    files = swi_dicom.written(tmp_path / "mr", made_head)
    models = OnDuty(old)

    async def reader(ask: Ask) -> Reading:
        is_first, models.bundle = models.bundle is old, new
        if is_first and is_refused:
            raise NotRead(Reason.NO_BRAIN)
        return said_by(new, files)

    bench.arrive(files)
    bench.now_ns += 30 * NS
    now = round_of(bench, models, reader, monkeypatch)
    await now.readings.look()
    assert (now.told, bench.noted) == ([], [])
    await now.readings.look()
    assert by_whom(now.told) == [("9.9.9", new.bundle_id, "")]


OTHER = "1.2.826.0.1.3680043.10.2"


async def test_a_study_of_which_images_come_while_another_is_read_waits_for_its_own_quiet(
    bench: Bench, bundles: tuple[Bundle, Bundle], made_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (
        swi_dicom.written(tmp_path / "a", made_head),
        swi_dicom.written(tmp_path / "b", made_head, study=OTHER),
    )
    asked = []

    async def reader(ask: Ask) -> Reading:
        asked.append(len(ask.files))
        if len(asked) == 1:
            bench.now_ns += 180 * NS
            bench.arrive(second[24:])
            return said_by(bundles[0], first)
        return said_by(bundles[0], second)

    bench.arrive(first)
    bench.now_ns += NS
    bench.arrive(second[:24])
    bench.now_ns += 30 * NS
    now = round_of(bench, OnDuty(bundles[0]), reader, monkeypatch)
    await now.readings.look()
    await now.readings.look()
    assert asked == [len(first)]
    bench.now_ns += 30 * NS
    await now.readings.look()
    assert asked == [len(first), len(second)]


async def test_what_was_read_before_more_of_the_study_came_is_not_told_and_is_read_anew_when_it_is_quiet(
    bench: Bench, bundles: tuple[Bundle, Bundle], made_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = swi_dicom.written(tmp_path / "mr", made_head)
    late = [files.pop()]

    async def reader(ask: Ask) -> Reading:
        while late:
            bench.arrive([late.pop()])
        return said_by(bundles[0], files)

    bench.arrive(files)
    bench.now_ns += 30 * NS
    now = round_of(bench, OnDuty(bundles[0]), reader, monkeypatch)
    await now.readings.look()
    await now.readings.look()
    assert (now.told, bench.noted) == ([], [])
    bench.now_ns += 30 * NS
    await now.readings.look()
    assert bench.results() == ["study-read 0"]


async def test_whose_a_study_is_may_be_decided_while_it_is_read(
    bench: Bench, bundles: tuple[Bundle, Bundle], made_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = swi_dicom.written(tmp_path / "mr", made_head)

    async def reader(ask: Ask) -> Reading:
        (study,) = bench.catalog.read_blocking(rows.studies)
        bench.catalog.write_blocking(lambda c: rows.assign(c, study.study_id, "person", "doctor"))
        return said_by(bundles[0], files)

    bench.arrive(files)
    bench.now_ns += 30 * NS
    await round_of(bench, OnDuty(bundles[0]), reader, monkeypatch).readings.look()
    assert bench.results() == ["study-read 0"]


async def test_no_reader_opens_a_study_of_two_patients_and_none_that_became_one_is_told_of(
    bench: Bench, bundles: tuple[Bundle, Bundle], made_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_somebody_else(image: Dataset) -> Dataset | None:
        image.PatientID, image.SOPInstanceUID = "SOMEBODY-ELSE", f"{image.SOPInstanceUID}.9"
        return image if image.InstanceNumber == 1 else None

    files = swi_dicom.written(tmp_path / "mr", made_head)
    strays = swi_dicom.written(tmp_path / "stray", made_head, of_somebody_else)
    opened = []

    async def reader(ask: Ask) -> Reading:
        opened.append(len(ask.files))
        bench.arrive(strays)
        return said_by(bundles[0], files)

    bench.arrive(files)
    bench.now_ns += 30 * NS
    now = round_of(bench, OnDuty(bundles[0]), reader, monkeypatch)
    await now.readings.look()
    assert (opened, now.told, bench.noted) == ([len(files)], [], [])
    bench.now_ns += 30 * NS
    await now.readings.look()
    await now.readings.look()
    assert opened == [len(files)]
    assert bench.results() == ["study-not-read patients-mixed"]


@pytest.mark.parametrize("reason", [Reason.MODEL_ABSENT, Reason.READER_FAILED])
async def test_what_may_pass_by_itself_is_tried_again_after_growing_waits_until_six_minutes_are_over(
    bench: Bench, bundles: tuple[Bundle, Bundle], made_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    reason: Reason,
) -> None:  # fmt: skip
    tried_s = []

    async def reader(ask: Ask) -> Reading:
        tried_s.append(bench.steady_s)
        raise NotRead(reason)

    bench.arrive(swi_dicom.written(tmp_path / "mr", made_head))
    bench.now_ns += 30 * NS
    now = round_of(bench, OnDuty(bundles[0]), reader, monkeypatch)
    while not bench.noted:
        await now.readings.look()
        bench.steady_s += 1
    assert tried_s == [0, 10, 70, 370]
    assert bench.results() == [f"study-not-read {reason}"]


async def test_results_bear_the_day_and_the_hour_of_the_site(
    bench: Bench, bundles: tuple[Bundle, Bundle], made_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = swi_dicom.written(tmp_path / "mr", made_head)

    async def reader(ask: Ask) -> Reading:
        return said_by(bundles[0], files)

    bench.arrive(files)
    bench.now_ns = round(datetime(2026, 11, 26, 23, 50, tzinfo=UTC).timestamp()) * NS
    now = round_of(bench, OnDuty(bundles[0]), reader, monkeypatch)
    now.readings.waits = Waits(0, bench.now_ns)
    await now.readings.look()
    assert [each.made_at for each in now.told] == ["2026-11-27T07:50:00+08:00"]

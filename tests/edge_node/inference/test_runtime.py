"""The models of a node from the arrival of a file to an answer, with real workers and real signatures."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from telemed.bundle import Bundle, Refusal
from telemed.bundle_archive import Archive
from telemed.bundle_golden import Array, Arrays

from deploy.bundles import packing
from edge_node.errors import BufferFull, EngineFailed, EngineLate, ModelAbsent, NotForPatients
from edge_node.inference.arena import Misfit
from edge_node.inference.engine import EVERYWHERE, Choice, Library, Offer
from edge_node.inference.installing import Installer, offers_here
from edge_node.inference.metrics import InferenceMetrics
from edge_node.inference.ports import Arrival, Outlets, Settings
from edge_node.inference.provenance import Subject
from edge_node.inference.rollout import Rows, Stage
from edge_node.inference.runtime import Inference
from edge_node.inference.shelf import Shelf
from edge_node.inference.slot import LOSSES_LIMIT, idle_ones_rest
from edge_node.inference.worker import Means, Worker
from tests.fakes import bundles
from tests.fakes.bundles import TASK, Maker, blurred, image

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(240)]
BLANK = np.zeros_like(image())
CPU, RTX = Offer(Library.ONNXRUNTIME_CPU, "1", "x86_64"), Offer(Library.TENSORRT_RTX, "1.7", "a card")
ON_THE_CARD = Choice(Library.TENSORRT_RTX, "fp32")


@dataclass(slots=True)
class Inbox:
    """Bundles as they come from the hub."""

    files: list[Arrival] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    """What the next looks fail of."""

    async def waiting(self) -> Sequence[Arrival]:
        if self.failures:
            raise self.failures.pop()
        return list(self.files)

    async def settled(self, arrival: Arrival) -> None:
        self.files.remove(arrival)


class Unlimited:
    """A budget that never makes anybody wait."""

    def wait_s(self, now_s: float, usual_s: float) -> float:
        return usual_s


class Spent:
    """A budget that is spent."""

    def wait_s(self, now_s: float, usual_s: float) -> float:
        return 60.0


@dataclass(slots=True)
class Node:
    """The models of one node under test."""

    models: Inference
    inbox: Inbox
    noted: list[tuple[str, str, str]]
    running: "asyncio.Task[None]"

    async def gets(self, path: Path) -> None:
        """Hand a bundle's file over and wait until it was judged."""
        self.inbox.files.append(Arrival(path.stem, path))
        self.models.arrived()
        await until(lambda: not self.inbox.files)

    async def answer(self, given: Array, subject: Subject = Subject.PHANTOM) -> tuple[Array, str]:
        """Return the answer to an image, and the version that gave it."""
        async with self.models.model(TASK, subject) as model:
            return (await model.run("net", {"image": given}))["out"], model.manifest.version

    @property
    def stages(self) -> dict[str, Stage]:
        return {row.version: row.stage for row in self.models.rows()}


async def until(condition: Callable[[], bool]) -> None:
    # What a worker does has no event here.
    async with asyncio.timeout(60):
        while True:
            if condition():
                break
            await asyncio.sleep(0.02)


@pytest.fixture
def settings(tmp_path: Path, maker: Maker, means: Means) -> Settings:
    return Settings(
        tmp_path / "models", maker.root, means, is_research=False, is_accelerated=False, idle_s=600, slow_factor=3,
        probation_runs=3,
    )  # fmt: skip


@asynccontextmanager
async def node(
    settings: Settings,
    budget: Callable[[], Unlimited | Spent] = Unlimited,
    is_clock_known: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Node]:
    noted: list[tuple[str, str, str]] = []
    inbox = Inbox()
    metrics = InferenceMetrics(CollectorRegistry())
    outlets = Outlets(metrics, lambda *words: noted.append(words), budget, is_clock_known=is_clock_known)
    models = await asyncio.to_thread(Inference, settings, inbox, outlets)
    running = asyncio.create_task(models.run())
    try:
        yield Node(models, inbox, noted, running)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_bundle_that_arrives_answers_and_says_where_the_answer_is_from(
    settings: Settings, maker: Maker
) -> None:
    async with node(settings) as one:
        with pytest.raises(ModelAbsent):
            await one.answer(image())
        await one.gets(maker.pack())
        answer, version = await one.answer(image(5))
        assert np.max(np.abs(answer - blurred(image(5)))) < 1e-6
        assert version == "1.0.0"
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            said = model.provenance
        assert (said.library, said.precision, said.is_slow_path) == ("onnxruntime-cpu", "fp32", False)
        assert "RESEARCH - PHANTOM-TRAINED, NOT FOR DIAGNOSIS" in {en for _, en in said.marks()}
        assert one.noted == [("bundle-installed", "bundle/blur/1.0.0", "ok")]


async def test_weights_of_phantoms_are_refused_on_patients_unless_the_node_is_for_research(
    settings: Settings, maker: Maker
) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
        with pytest.raises(NotForPatients):
            await one.answer(image(), Subject.PATIENT)
        await one.gets(maker.pack("1.1.0", trained_on="patients"))
        await one.answer(image(), Subject.PATIENT)
        async with one.models.model(TASK, Subject.PATIENT) as model:
            assert len(model.provenance.marks()) == 1
    async with node(replace(settings, folder=settings.folder / "2", is_research=True)) as one:
        await one.gets(maker.pack("1.2.0"))
        async with one.models.model(TASK, Subject.PATIENT) as model:
            assert ("研究用：仅以仿真数据训练，不得用于诊断" in {zh for zh, _ in model.provenance.marks()}) is True


@pytest.mark.parametrize("bad", ["golden", "nan", "slow"])
async def test_a_version_that_fails_its_self_test_never_comes_on_duty(
    settings: Settings, maker: Maker, bad: str
) -> None:
    graphs = {
        "golden": bundles.blur(bundles.kernel() * np.float32(1.01)),
        "nan": bundles.blur(bundles.kernel() * np.float32("nan")),
        "slow": bundles.slow_blur(1500),
    }
    reasons = {"golden": Refusal.GOLDEN_DIFFERS, "nan": Refusal.NOT_FINITE, "slow": Refusal.TOO_SLOW}
    async with node(settings) as one:
        await one.gets(maker.pack())
        await one.gets(maker.pack("1.1.0", graphs[bad]))
        assert one.stages == {"1.0.0": Stage.PROBATION, "1.1.0": Stage.REFUSED}
        assert one.models.refused() == [f"blur 1.1.0 {reasons[bad]}"]
        assert (await one.answer(image()))[1] == "1.0.0"
        await one.gets(maker.pack("1.2.0"))
        assert one.models.refused() == []


async def test_a_former_version_that_is_late_is_no_fault_of_the_new_one(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
        former, run = one.models.rows()[0].bundle_id, Worker.run

        async def late(worker: Worker, graph_name: str, inputs: Arrays) -> dict[str, Array]:
            if worker.bundle.bundle_id == former:
                raise EngineLate("no answer within its deadline")
            return await run(worker, graph_name, inputs)

        monkeypatch.setattr(Worker, "run", late)
        await one.gets(maker.pack("1.1.0"))
        assert one.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}


async def test_no_more_than_two_workers_live_during_a_trial(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Worker] = []
    alive: list[int] = []
    start = Worker.start

    async def started(*what: Any) -> Worker:
        worker = await start(*what)
        begun.append(worker)
        alive.append(sum(each.is_alive for each in begun))
        return worker

    monkeypatch.setattr(Worker, "start", started)
    async with node(settings) as one:
        await one.gets(maker.pack())
        await one.answer(image())
        await one.gets(maker.pack("1.1.0"))
        assert alive == [1, 1, 2]


async def test_one_to_go_back_to_is_kept_although_it_fails_a_trial_when_it_comes_again(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        first = maker.fill()
        packing.pack(bundles.draft(), first, maker.repository, first.with_suffix(".1"))
        await one.gets(first.with_suffix(".1"))
        await one.gets(maker.pack("1.1.0", bundles.divided()))
        packing.pack(bundles.draft(), first, maker.repository, first.with_suffix(".2"))
        with monkeypatch.context() as patch:

            async def busy(*_: object) -> float:
                raise EngineLate("no answer within its deadline")

            patch.setattr("edge_node.inference.trial.self_test", busy)
            await one.gets(first.with_suffix(".2"))
        assert one.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}
        assert one.noted[-1] == ("bundle-refused", "bundle/blur/1.0.0", "too-slow")
        with pytest.raises(EngineFailed):
            await one.answer(BLANK)
        assert (await one.answer(BLANK))[1] == "1.0.0"


async def test_a_version_that_misbehaves_on_probation_is_rolled_back_by_itself(
    settings: Settings, maker: Maker
) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
        for _ in range(3):
            await one.answer(image())
        assert one.stages == {"1.0.0": Stage.SERVING}
        await one.gets(maker.pack("1.1.0", bundles.divided()))
        assert (await one.answer(image()))[1] == "1.1.0"
        with pytest.raises(EngineFailed):
            await one.answer(BLANK)
        assert one.stages == {"1.0.0": Stage.SERVING, "1.1.0": Stage.ROLLED_BACK}
        answer, version = await one.answer(BLANK)
        assert version == "1.0.0"
        assert not answer.any()
        assert one.noted[-1] == ("bundle-rolled-back", "bundle/blur/1.1.0", "not-finite")
        assert one.models.refused() == ["blur 1.1.0 not-finite"]


async def on_probation(one: Node, maker: Maker, graph: ModelProto) -> None:
    """Have a version serve on probation that one fault would bring the former one back for."""
    await one.gets(maker.pack())
    for _ in range(3):
        await one.answer(image())
    await one.gets(maker.pack("1.1.0", graph))
    assert one.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}


async def test_a_study_that_is_cancelled_is_no_fault_of_the_model_that_others_run(
    settings: Settings, maker: Maker
) -> None:
    async with node(replace(settings, slow_factor=1000), Spent) as one:
        await on_probation(one, maker, bundles.slow_blur(1500))
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            studies = [asyncio.create_task(model.run("net", {"image": image()})) for _ in range(2)]
            # Both wait: one for its answer, one for its turn.
            await until(model._worker._turn.locked)
            studies[0].cancel()
            found = await asyncio.gather(*studies, return_exceptions=True)
        assert [type(each) for each in found] == [asyncio.CancelledError, EngineFailed]
        # What the node ended itself costs nothing of the budget of restarts either.
        assert (await one.answer(image()))[1] == "1.1.0"
        assert one.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}


async def test_a_study_never_gets_a_worker_that_is_being_ended_because_nobody_used_it(
    settings: Settings, maker: Maker
) -> None:
    async with node(settings) as one:
        await on_probation(one, maker, bundles.blur())
        resting = asyncio.create_task(idle_ones_rest(list(one.models._slots.values()), 0))
        study = asyncio.create_task(one.answer(image()))
        await resting
        assert (await study)[1] == "1.1.0"
        assert one.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}


async def test_faults_of_an_engine_that_was_given_up_are_not_laid_on_the_bundle(
    settings: Settings, maker: Maker
) -> None:
    async with node(settings) as one:
        await on_probation(one, maker, bundles.divided())
        # As if the card ran it: what the name says is all that counts here.
        slot = one.models._slots[TASK]
        assert slot.worker is not None
        slot.choice = slot.worker.choice = ON_THE_CARD
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            blanks = [model.run("net", {"image": BLANK}) for _ in range(2)]
            found = await asyncio.gather(*blanks, return_exceptions=True)
            assert [type(each) for each in found] == [EngineFailed, EngineFailed]
            assert one.stages["1.1.0"] is Stage.PROBATION
            assert (await one.answer(image()))[1] == "1.1.0"
            with pytest.raises(EngineFailed):
                await model.run("net", {"image": image()})
        assert one.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}


async def test_the_first_of_all_versions_has_nothing_to_give_way_to(settings: Settings, maker: Maker) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack("1.0.0", bundles.divided()))
        with pytest.raises(EngineFailed):
            await one.answer(BLANK)
        assert (await one.answer(image()))[1] == "1.0.0"


async def test_one_that_was_steady_is_not_given_up_for_one_fault(settings: Settings, maker: Maker) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack("1.0.0", bundles.divided()))
        for _ in range(3):
            await one.answer(image())
        with pytest.raises(EngineFailed):
            await one.answer(BLANK)
        assert (await one.answer(image()))[1] == "1.0.0"


async def test_inputs_that_do_not_fit_are_no_fault_of_the_model(settings: Settings, maker: Maker) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
        with pytest.raises(Misfit):
            await one.answer(image()[0])
        assert one.stages == {"1.0.0": Stage.PROBATION}


async def test_a_study_ends_with_the_version_that_it_began_with(settings: Settings, maker: Maker) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            await one.gets(maker.pack("1.1.0"))
            assert (await one.answer(image()))[1] == "1.1.0"
            await model.run("net", {"image": image()})
            assert model.manifest.version == "1.0.0"
            assert model.provenance.version == "1.0.0"


async def test_a_worker_that_dies_is_started_again_for_the_next_study(settings: Settings, maker: Maker) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
        for _ in range(3):
            await one.answer(image())
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            os.kill(model._worker.pid, signal.SIGKILL)
            with pytest.raises(EngineFailed):
                await model.run("net", {"image": image()})
        assert (await one.answer(image()))[1] == "1.0.0"


async def test_a_worker_that_dies_too_often_is_left_alone(settings: Settings, maker: Maker) -> None:
    async with node(settings, Spent) as one:
        await one.gets(maker.pack())
        for _ in range(3):
            await one.answer(image())
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            os.kill(model._worker.pid, signal.SIGKILL)
            with pytest.raises(EngineFailed):
                await model.run("net", {"image": image()})
        with pytest.raises(EngineFailed, match="rests"):
            await one.answer(image())


async def test_what_was_on_duty_is_on_duty_after_a_restart_and_damage_on_the_disk_is_found(
    settings: Settings, maker: Maker
) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
        for _ in range(3):
            await one.answer(image())
    async with node(settings) as one:
        assert (await one.answer(image()))[1] == "1.0.0"
        bundle_id = one.models.rows()[0].bundle_id
    weights = settings.folder / "bundles" / bundle_id / "net.onnx"
    content = bytearray(weights.read_bytes())
    content[-40] ^= 1
    weights.write_bytes(content)
    async with node(settings) as one:
        with pytest.raises(EngineFailed) as failed:
            await one.answer(image())
        assert failed.value.reason is Refusal.HASH_WRONG
    (settings.folder / "bundles" / bundle_id / "manifest.json").unlink()
    async with node(settings) as one:
        with pytest.raises(ModelAbsent):
            await one.answer(image())


async def test_an_older_bundle_is_refused_also_after_a_restart(settings: Settings, maker: Maker) -> None:
    older, newer = maker.pack("1.0.0"), maker.pack("1.1.0")
    async with node(settings) as one:
        await one.gets(newer)
    async with node(settings) as one:
        await one.gets(older)
        assert [row.reason for row in one.models.rows()] == ["", "not-current"]
        assert one.models.refused() == ["not-current"]


async def test_a_full_disk_keeps_the_file_for_later(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        with monkeypatch.context() as patch:

            def full(*_: object) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr("telemed.bundle_archive.Archive.unpack", full)
            one.inbox.files.append(Arrival("a", maker.pack()))
            one.models.arrived()
            await until(lambda: bool(one.models.refused()))
            assert one.models.refused() == ["blur 1.0.0 no-room"]
            assert one.inbox.files
        one.models.arrived()
        await until(lambda: not one.inbox.files)
        assert one.stages == {"1.0.0": Stage.PROBATION}


@dataclass(slots=True)
class FullDisk:
    """Takes nothing, and counts what it was asked."""

    asked: int = 0

    def __call__(self, *_: object) -> None:
        self.asked += 1
        raise OSError(28, "No space left on device")

    def was_asked(self, times: int) -> Callable[[], bool]:
        return lambda: self.asked >= times


async def test_a_disk_that_takes_nothing_ends_neither_the_models_nor_a_study(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        await on_probation(one, maker, bundles.blur())
        with monkeypatch.context() as patch, capture_logs() as logs:
            disk = FullDisk()
            patch.setattr("edge_node.inference.shelf.write_whole", disk)
            async with one.models.model(TASK, Subject.PHANTOM) as model:
                for looks in (1, 2):
                    one.models.arrived()
                    await until(disk.was_asked(looks))
                one.inbox.failures.append(BufferFull())
                assert (await model.run("net", {"image": image()}))["out"].any()
        assert not one.running.done()
        assert [each["event"] for each in logs] == ["bundles-wait"]
        one.models.arrived()
        await until(lambda: not one.inbox.failures)
        one.models.arrived()
        await one.gets(maker.pack("1.2.0"))
        assert one.stages["1.2.0"] is Stage.PROBATION
        assert not one.running.done()


async def test_a_version_that_misbehaves_gives_way_also_while_the_disk_takes_nothing(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        await on_probation(one, maker, bundles.divided())
        with monkeypatch.context() as patch:
            patch.setattr("edge_node.inference.shelf.write_whole", FullDisk())
            with pytest.raises(EngineFailed):
                await one.answer(BLANK)
            assert (await one.answer(BLANK))[1] == "1.0.0"
        one.models.arrived()
        await until(lambda: "rolled-back" in (settings.folder / "state.json").read_text())


async def test_that_there_is_no_room_is_told_once_however_often_it_is_looked(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        disk = FullDisk()
        monkeypatch.setattr("telemed.bundle_archive.Archive.unpack", disk)
        one.inbox.files.append(Arrival("a", maker.pack()))
        for looks in (1, 2, 3):
            one.models.arrived()
            await until(disk.was_asked(looks))
        assert one.noted == [("bundle-refused", "bundle/blur/1.0.0", "no-room")]
        assert one.inbox.files


async def test_a_file_that_cannot_be_opened_for_the_moment_is_kept(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        tried: list[int] = []

        def too_many(*_: object) -> None:
            tried.append(1)
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr("telemed.bundle_archive.opened", too_many)
            one.inbox.files.append(Arrival("a", maker.pack()))
            one.models.arrived()
            await until(lambda: bool(tried))
        one.models.arrived()
        await until(lambda: not one.inbox.files)
        assert one.stages == {"1.0.0": Stage.PROBATION}
        assert one.noted == [("bundle-installed", "bundle/blur/1.0.0", "ok")]


async def test_signatures_do_not_run_out_by_a_clock_that_is_not_known(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("deploy.bundles.repository.FRESH_FOR", timedelta(seconds=-1))
        path = maker.pack()
    asked: list[int] = []

    def is_known() -> bool:
        asked.append(1)
        return len(asked) > 1

    async with node(settings, is_clock_known=is_known) as one:
        one.inbox.files.append(Arrival("a", path))
        one.models.arrived()
        await until(lambda: bool(asked))
        assert one.inbox.files
        one.models.arrived()
        await until(lambda: not one.inbox.files)
        assert one.models.refused() == ["metadata-expired"]


async def test_files_are_not_deleted_by_a_save_that_began_before_their_bundle_came(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, put, believed = Shelf.save, Shelf.put, Installer.believed
    is_put, is_believed = threading.Event(), threading.Event()
    saves: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    def save(shelf: Shelf, rows: Rows) -> None:
        if is_believed.is_set():
            # It must not be put meanwhile: there is nothing else to wait for.
            is_put.wait(0.5)
        saved(shelf, rows)

    def put_and_tell(shelf: Shelf, archive: Archive, bundle: Bundle) -> None:
        put(shelf, archive, bundle)
        is_put.set()

    async with node(settings) as one:

        def believe(installer: Installer, path: Path) -> Bundle:
            found = believed(installer, path)
            is_believed.set()
            loop.call_soon_threadsafe(lambda: saves.append(asyncio.create_task(one.models._save())))
            return found

        monkeypatch.setattr(Shelf, "save", save)
        monkeypatch.setattr(Shelf, "put", put_and_tell)
        monkeypatch.setattr(Installer, "believed", believe)
        await one.gets(maker.pack())
        await asyncio.wait(saves)
        assert one.stages == {"1.0.0": Stage.PROBATION}
        assert (await one.answer(image()))[1] == "1.0.0"


async def test_a_save_that_nobody_waits_for_any_more_still_keeps_others_waiting(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
        begun, may_end, saved = threading.Event(), threading.Event(), Shelf.save

        def slow(shelf: Shelf, rows: Rows) -> None:
            begun.set()
            may_end.wait(10)
            saved(shelf, rows)

        monkeypatch.setattr(Shelf, "save", slow)
        saving = asyncio.create_task(one.models._save())
        await until(begun.is_set)
        saving.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert one.models._saving.locked()
        may_end.set()
        await asyncio.wait([saving])
        assert saving.cancelled()
        assert not one.models._saving.locked()


async def served_after_damage(
    settings: Settings, maker: Maker, damage: Callable[[Path], None], count: int
) -> list[Path]:
    """Have so many versions serve one after the other, then damage the last; return their files."""
    paths = []
    async with node(settings) as one:
        for minor in range(count):
            paths.append(maker.pack(f"1.{minor}.0"))
            await one.gets(paths[-1])
            for _ in range(3):
                await one.answer(image())
        bundle_id = one.models.rows()[-1].bundle_id
    damage(settings.folder / "bundles" / bundle_id)
    return paths


def without_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def with_other_weights(folder: Path) -> None:
    content = bytearray((folder / "net.onnx").read_bytes())
    content[-40] ^= 1
    (folder / "net.onnx").write_bytes(content)


async def test_where_the_disk_damaged_what_is_on_duty_the_one_before_it_serves(
    settings: Settings, maker: Maker
) -> None:
    paths = await served_after_damage(settings, maker, without_manifest, 2)
    async with node(settings) as one:
        await until(lambda: one.stages["1.1.0"] is Stage.ROLLED_BACK)
        assert (await one.answer(image()))[1] == "1.0.0"
        assert one.models.refused() == ["blur 1.1.0 hash-wrong"]
        assert one.noted == [("bundle-rolled-back", "bundle/blur/1.1.0", "hash-wrong")]
        await one.gets(paths[1])
        assert (await one.answer(image()))[1] == "1.1.0"


async def test_damage_that_a_study_meets_brings_the_one_before_it_back(settings: Settings, maker: Maker) -> None:
    await served_after_damage(settings, maker, with_other_weights, 2)
    async with node(settings) as one:
        with pytest.raises(EngineFailed):
            await one.answer(image())
        assert (await one.answer(image()))[1] == "1.0.0"
        assert one.stages == {"1.0.0": Stage.SERVING, "1.1.0": Stage.ROLLED_BACK}


@pytest.mark.parametrize("damage", [without_manifest, with_other_weights])
async def test_a_damaged_bundle_is_whole_again_once_the_same_one_comes(
    settings: Settings, maker: Maker, damage: Callable[[Path], None]
) -> None:
    (path,) = await served_after_damage(settings, maker, damage, 1)
    async with node(settings) as one:
        with pytest.raises((ModelAbsent, EngineFailed)):
            await one.answer(image())
        assert one.models.refused() == (["blur 1.0.0 hash-wrong"] if damage is without_manifest else [])
        await one.gets(path)
        assert (await one.answer(image()))[1] == "1.0.0"
        assert one.models.refused() == []
        assert one.stages == {"1.0.0": Stage.SERVING}


async def test_a_model_that_nobody_uses_gives_its_memory_back(settings: Settings, maker: Maker) -> None:
    async with node(replace(settings, idle_s=1)) as one:
        await one.gets(maker.pack())
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            worker = model._worker
        await until(lambda: not worker.is_alive)
        assert (await one.answer(image()))[1] == "1.0.0"


async def test_one_imaging_model_at_a_time_holds_memory(settings: Settings, maker: Maker) -> None:
    maker.repository.add_task("edges")
    async with node(settings) as one:
        await one.gets(maker.pack())
        await one.gets(maker.pack("1.0.0", task="edges"))
        for task in ("edges", TASK, "edges"):
            async with one.models.model(task, Subject.PHANTOM) as model:
                await model.run("net", {"image": image()})
            assert [name for name, slot in one.models._slots.items() if slot.is_awake] == [task]


@dataclass(slots=True)
class Machine:
    """What libraries a machine seems to have, and what is found to be fastest on it."""

    offers: list[Offer] = field(default_factory=lambda: [CPU, RTX])
    measured: int = 0

    async def offered(self) -> list[Offer]:
        return self.offers

    def has_measured(self, times: int) -> Callable[[], bool]:
        return lambda: self.measured == times

    async def best(self, _installer: Installer, _bundle: Bundle, offers: Sequence[Offer]) -> Choice:
        self.measured += 1
        return ON_THE_CARD if RTX.library in {each.library for each in offers} else EVERYWHERE


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()

    async def best(installer: Installer, bundle: Bundle, offers: Sequence[Offer]) -> Choice:
        return await found.best(installer, bundle, offers)

    monkeypatch.setattr("edge_node.inference.runtime.offers_here", found.offered)
    monkeypatch.setattr(Installer, "best", best)
    return found


async def test_the_processor_serves_where_the_card_fails_and_results_say_so(
    settings: Settings, maker: Maker, machine: Machine
) -> None:
    async with node(replace(settings, is_accelerated=True)) as one:
        await one.gets(maker.pack())
        await until(lambda: one.models.rows()[0].choice == ON_THE_CARD)
        # There is no such library on this machine: the worker for it does not start.
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            assert (await model.run("net", {"image": image()}))["out"].any()
            assert model.provenance.is_slow_path
            assert model.provenance.library == "onnxruntime-cpu"
        assert one.stages == {"1.0.0": Stage.PROBATION}


async def test_a_fault_under_another_engine_is_first_laid_on_the_engine(settings: Settings, maker: Maker) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack("1.0.0"))
        for _ in range(3):
            await one.answer(image())
        await one.gets(maker.pack("1.1.0", bundles.divided()))
        # As if the card ran it: what the name says is all that counts here.
        slot = one.models._slots[TASK]
        assert slot.worker is not None
        slot.choice = slot.worker.choice = ON_THE_CARD
        with pytest.raises(EngineFailed):
            await one.answer(BLANK)
        assert one.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}
        with pytest.raises(EngineFailed):
            await one.answer(BLANK)
        assert one.stages == {"1.0.0": Stage.SERVING, "1.1.0": Stage.ROLLED_BACK}


async def test_what_could_not_be_believed_is_told_until_something_is_taken(
    settings: Settings, maker: Maker, tmp_path: Path
) -> None:
    async with node(settings) as one:
        await one.gets(Maker(tmp_path / "stranger").pack())
        assert one.models.refused() == ["signature-wrong"]
        await one.gets(maker.pack())
        assert one.models.refused() == []


async def test_a_disk_that_keeps_no_signatures_keeps_the_file_for_later(
    settings: Settings, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(settings) as one:
        tried: list[int] = []

        def full(*_: object) -> None:
            tried.append(1)
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("edge_node.inference.trust.Trust.check", full)
            one.inbox.files.append(Arrival("a", maker.pack()))
            one.models.arrived()
            await until(lambda: bool(tried))
            await asyncio.sleep(0)
        assert one.inbox.files
        one.models.arrived()
        await until(lambda: not one.inbox.files)


async def test_engines_are_measured_again_only_where_a_library_or_the_card_changed(
    settings: Settings, maker: Maker, machine: Machine
) -> None:
    accelerated = replace(settings, is_accelerated=True)
    async with node(accelerated) as one:
        await one.gets(maker.pack())
        await until(lambda: "a card" in (settings.folder / "state.json").read_text())
    async with node(accelerated) as one:
        await one.gets(maker.pack("1.0.0"))
        assert machine.measured == 1
    machine.offers = [CPU, Offer(RTX.library, RTX.version, "another card")]
    async with node(accelerated) as one:
        await until(lambda: machine.measured == 2)
        await until(lambda: one.models.rows()[0].offer.endswith("another card"))
    machine.offers = [CPU]
    async with node(accelerated) as one:
        await until(lambda: one.models.rows()[0].choice == EVERYWHERE)
        assert machine.measured == 3


async def test_a_card_that_was_not_there_at_first_is_measured_when_it_is(
    settings: Settings, maker: Maker, machine: Machine
) -> None:
    accelerated = replace(settings, is_accelerated=True)
    machine.offers = [CPU]
    async with node(accelerated) as one:
        await one.gets(maker.pack())
        await until(lambda: bool(machine.measured and one.models.rows()[0].offer))
    machine.offers = [CPU, RTX]
    async with node(accelerated) as one:
        await until(lambda: one.models.rows()[0].choice == ON_THE_CARD)


async def test_an_engine_that_was_lost_is_made_anew_without_anybody_asking_but_not_for_ever(
    settings: Settings, maker: Maker, machine: Machine
) -> None:
    async with node(replace(settings, is_accelerated=True)) as one:
        await one.gets(maker.pack())
        await until(lambda: one.models.rows()[0].choice == ON_THE_CARD)
        for losses in range(1, LOSSES_LIMIT + 1):
            # There is no such library on this machine: the worker for it does not start.
            await one.answer(image())
            await until(machine.has_measured(1 + losses))
            await until(lambda: not one.models._slots[TASK]._is_choice_lost)
        await one.answer(image())
        await one.answer(image())
        assert machine.measured == 1 + LOSSES_LIMIT
        assert one.models._slots[TASK]._is_choice_lost


async def test_an_engine_that_fails_a_run_is_made_anew(settings: Settings, maker: Maker, machine: Machine) -> None:
    async with node(replace(settings, is_accelerated=True)) as one:
        machine.offers = [CPU]
        await one.gets(maker.pack("1.0.0", bundles.divided()))
        await until(lambda: bool(one.models.rows()[0].offer))
        slot = one.models._slots[TASK]
        assert slot.worker is not None
        slot.choice = slot.worker.choice = ON_THE_CARD
        with pytest.raises(EngineFailed):
            await one.answer(BLANK)
        await until(lambda: machine.measured == 2)


async def test_another_engine_runs_the_next_study_after_it_was_chosen(settings: Settings, maker: Maker) -> None:
    folder, graphs = maker.fill(), bundles.draft()["graphs"]
    graphs["net"]["files"]["int8"] = "int8.onnx"
    (folder / "int8.onnx").write_bytes(bundles.quantised().SerializeToString())
    path = folder.with_suffix(".bundle")
    draft = bundles.draft(graphs=graphs, tolerance={"fp32": 1e-4, "int8": 0.01})
    packing.pack(draft, folder, maker.repository, path)
    async with node(settings, Spent) as one:
        await one.gets(path)
        async with one.models.model(TASK, Subject.PHANTOM) as model:
            await one.models._slots[TASK].choose(Choice(Library.ONNXRUNTIME_CPU, "int8"))
            await one.answer(image())
            await model.run("net", {"image": image()})
            assert model.provenance.precision == "fp32"
        for _ in range(2):
            async with one.models.model(TASK, Subject.PHANTOM) as model:
                assert model.provenance.precision == "int8"


async def test_a_real_machine_offers_what_is_everywhere_first(settings: Settings) -> None:
    offers = await offers_here()
    assert offers[0].library is EVERYWHERE.library
    assert offers[0].version


async def test_the_state_on_disk_names_no_one_and_is_small(settings: Settings, maker: Maker) -> None:
    async with node(settings) as one:
        await one.gets(maker.pack())
    state = json.loads((settings.folder / "state.json").read_text())
    assert set(state[0]) == {
        "bundle_id", "task", "version", "stage", "changed_ns", "reason", "detail", "choice", "offer"
    }  # fmt: skip

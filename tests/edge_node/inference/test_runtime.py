"""The models of a node from the arrival of a file to an answer, with real workers and real signatures."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from telemed.bundle import Bundle, Refusal
from telemed.bundle_golden import Array

from edge_node.errors import EngineFailed, ModelAbsent, NotForPatients
from edge_node.inference.arena import Misfit
from edge_node.inference.engine import EVERYWHERE, Choice, Library, Offer
from edge_node.inference.installing import Installer, offers_here
from edge_node.inference.metrics import InferenceMetrics
from edge_node.inference.ports import Arrival, Outlets, Settings
from edge_node.inference.provenance import Subject
from edge_node.inference.rollout import Stage
from edge_node.inference.runtime import Inference
from edge_node.inference.worker import Means
from tests.fakes import bundles
from tests.fakes.bundles import TASK, Maker, blurred, image

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]
BLANK = np.zeros_like(image())
CPU, RTX = Offer(Library.ONNXRUNTIME_CPU, "1", "x86_64"), Offer(Library.TENSORRT_RTX, "1.7", "a card")
ON_THE_CARD = Choice(Library.TENSORRT_RTX, "fp32")


@dataclass(slots=True)
class Inbox:
    """Bundles as they come from the hub."""

    files: list[Arrival] = field(default_factory=list)

    async def waiting(self) -> Sequence[Arrival]:
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
async def node(settings: Settings, budget: Callable[[], Unlimited | Spent] = Unlimited) -> AsyncIterator[Node]:
    noted: list[tuple[str, str, str]] = []
    inbox = Inbox()
    outlets = Outlets(InferenceMetrics(CollectorRegistry()), lambda *words: noted.append(words), budget)
    models = await asyncio.to_thread(Inference, settings, inbox, outlets)
    running = asyncio.create_task(models.run())
    try:
        yield Node(models, inbox, noted)
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
        worker = one.models._slots[TASK].worker
        assert worker is not None
        worker.choice = ON_THE_CARD
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

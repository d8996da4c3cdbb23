"""The worker process as the node sees it: real children, real ONNX Runtime."""

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper
from telemed.bundle import Refusal
from telemed.bundle_golden import Case

from deploy.bundles import packing
from edge_node.errors import EngineFailed, EngineLate
from edge_node.inference.arena import Misfit
from edge_node.inference.engine import EVERYWHERE, Choice, Library
from edge_node.inference.trial import Subject, self_test
from edge_node.inference.worker import Means, Worker
from tests.edge_node.inference.conftest import Laid, lay
from tests.fakes import bundles
from tests.fakes.bundles import Maker, blurred, image

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(60)]


def told_by_kernel(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


async def start(laid: Laid, means: Means, choice: Choice = EVERYWHERE) -> Worker:
    return await Worker.start(laid.bundle, laid.folder, choice, means)


async def refusal(laid: Laid, means: Means, choice: Choice = EVERYWHERE) -> Refusal:
    with pytest.raises(EngineFailed) as failed:
        await start(laid, means, choice)
    return failed.value.reason


async def test_runs_give_what_numpy_gives_one_after_the_other_and_all_at_once(maker: Maker, means: Means) -> None:
    worker = await start(lay(maker), means)
    try:
        images = [image(seed) for seed in range(20)]
        found = await asyncio.gather(*(worker.run("net", {"image": each}) for each in images))
        for given, answer in zip(images, found, strict=True):
            assert np.max(np.abs(answer["out"] - blurred(given))) < 1e-6
        assert worker.loaded.version
    finally:
        await worker.close()
    assert not psutil.pid_exists(worker.pid)


async def test_a_weight_that_was_altered_on_the_disk_is_not_loaded(maker: Maker, means: Means) -> None:
    laid = lay(maker)
    content = bytearray((laid.folder / "net.onnx").read_bytes())
    content[-40] ^= 1
    (laid.folder / "net.onnx").write_bytes(content)
    assert await refusal(laid, means) is Refusal.HASH_WRONG


async def test_an_altered_manifest_and_a_missing_graph_are_not_loaded(maker: Maker, means: Means) -> None:
    laid = lay(maker)
    (laid.folder / "manifest.json").write_bytes(laid.bundle.raw + b" ")
    assert await refusal(laid, means) is Refusal.HASH_WRONG
    laid = lay(maker)
    (laid.folder / "net.onnx").unlink()
    assert await refusal(laid, means) is Refusal.ENGINE_FAILED


async def test_what_no_bundle_may_contain_is_refused_before_the_engine_sees_it(maker: Maker, means: Means) -> None:
    custom = bundles.model([helper.make_node("Run", ["image"], ["out"], domain="evil.example")], {})
    assert await refusal(lay(maker, custom), means) is Refusal.GRAPH_REFUSED


async def test_a_graph_that_the_engine_does_not_take_is_a_failure_with_its_words(maker: Maker, means: Means) -> None:
    unknown = bundles.model([helper.make_node("Conv", ["image", "nowhere"], ["out"])], {})
    assert await refusal(lay(maker, unknown), means) is Refusal.ENGINE_FAILED


async def test_an_engine_that_is_not_on_this_machine_is_a_failure(maker: Maker, means: Means) -> None:
    assert await refusal(lay(maker), means, Choice(Library.ONNXRUNTIME_CUDA, "fp32")) is Refusal.ENGINE_FAILED
    assert await refusal(lay(maker), means, Choice(Library.TENSORRT, "fp32")) is Refusal.ENGINE_FAILED


@pytest.mark.parametrize(("allowed", "is_used"), [(0.01, True), (1e-4, False)])
async def test_eight_bits_are_used_only_where_the_golden_cases_keep_their_tolerance(
    maker: Maker, means: Means, allowed: float, is_used: bool
) -> None:
    folder, graphs = maker.fill(), bundles.draft()["graphs"]
    graphs["net"]["files"]["int8"] = "int8.onnx"
    (folder / "int8.onnx").write_bytes(bundles.quantised().SerializeToString())
    tolerance = {"fp32": 1e-4, "int8": allowed}
    bundle = packing.complete(bundles.draft(graphs=graphs, tolerance=tolerance), folder)
    (folder / "manifest.json").write_bytes(bundle.raw)
    given = image()
    subject = Subject(bundle, [("net", Case({"image": given}, {"out": blurred(given)}))])
    worker = await start(Laid(bundle, folder), means, Choice(Library.ONNXRUNTIME_CPU, "int8"))
    try:
        if is_used:
            assert 1e-4 < await self_test(worker, subject, "int8") < allowed
        else:
            with pytest.raises(EngineFailed) as failed:
                await self_test(worker, subject, "int8")
            assert failed.value.reason is Refusal.GOLDEN_DIFFERS
    finally:
        await worker.close()


async def test_a_precision_that_the_manifest_gives_no_tolerance_is_not_even_loaded(maker: Maker, means: Means) -> None:
    with pytest.raises(EngineFailed, match="no precision in which"):
        await start(lay(maker), means, Choice(Library.ONNXRUNTIME_CPU, "int8"))


async def test_an_output_that_is_no_number_is_a_failure_and_the_worker_goes_on(maker: Maker, means: Means) -> None:
    worker = await start(lay(maker, bundles.divided()), means)
    try:
        with pytest.raises(EngineFailed) as failed:
            await worker.run("net", {"image": np.zeros_like(image())})
        assert failed.value.reason is Refusal.NOT_FINITE
        assert np.isfinite((await worker.run("net", {"image": image()}))["out"]).all()
    finally:
        await worker.close()


async def test_inputs_that_do_not_fit_are_the_callers_fault_and_the_worker_goes_on(maker: Maker, means: Means) -> None:
    worker = await start(lay(maker), means)
    try:
        with pytest.raises(Misfit):
            await worker.run("net", {"image": image().astype(np.float64)})
        await worker.run("net", {"image": image()})
    finally:
        await worker.close()


async def test_a_run_over_its_deadline_ends_the_worker(maker: Maker, means: Means) -> None:
    graphs = bundles.draft()["graphs"]
    graphs["net"]["deadline_s"] = 0.05
    worker = await start(lay(maker, bundles.slow_blur(3000), graphs=graphs), means)
    with pytest.raises(EngineLate):
        await worker.run("net", {"image": image()})
    assert not worker.is_alive
    assert not psutil.pid_exists(worker.pid)


async def test_whoever_is_cancelled_leaves_no_answer_behind_for_the_next(maker: Maker, means: Means) -> None:
    worker = await start(lay(maker, bundles.slow_blur(3000)), means)
    running = asyncio.create_task(worker.run("net", {"image": image()}))
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not worker.is_alive
    with pytest.raises(EngineFailed):
        await worker.run("net", {"image": image()})


async def test_a_worker_that_is_killed_is_a_failure_at_once(maker: Maker, means: Means) -> None:
    worker = await start(lay(maker), means)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed) as failed:
        await worker.run("net", {"image": image()})
    assert failed.value.reason is Refusal.ENGINE_FAILED
    await worker.close()
    await worker.close()


async def test_memory_over_the_limit_ends_the_run_and_not_the_node(maker: Maker, tmp_path: Path) -> None:
    # 16 x 16 becomes 16 x 16 x 2,000,000 numbers on the way: 2 GB.
    large = helper.make_tensor("shape", TensorProto.INT64, [4], [1, 2_000_000, 16, 16])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=large),
        helper.make_node("Expand", ["image", "shape"], ["wide"]),
        helper.make_node("Exp", ["wide"], ["wider"]),
        helper.make_node("Constant", [], ["axes"], value=helper.make_tensor("a", TensorProto.INT64, [1], [1])),
        helper.make_node("ReduceSum", ["wider", "axes"], ["out"]),
    ]
    worker = await start(lay(maker, bundles.model(nodes, {})), Means(1, 512, tmp_path))
    with pytest.raises(EngineFailed) as failed:
        await worker.run("net", {"image": image()})
    assert failed.value.reason is Refusal.ENGINE_FAILED
    assert "alloc" in failed.value.detail
    await worker.close()


async def test_a_worker_has_neither_secrets_nor_a_network(
    maker: Maker, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YUANZHEN_SECRET", "secret")
    worker = await start(lay(maker), means)
    try:
        status = told_by_kernel(worker.pid, "status")
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        assert "YUANZHEN_SECRET" not in told_by_kernel(worker.pid, "environ")
        assert told_by_kernel(worker.pid, "oom_score_adj").strip() == "1000"
    finally:
        await worker.close()

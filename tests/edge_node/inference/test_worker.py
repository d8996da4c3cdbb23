"""The worker process as the node sees it: real children, real ONNX Runtime."""

import asyncio
import ctypes
import os
import signal
import sys
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
from edge_node.inference.installing import offers_here
from edge_node.inference.trial import Subject, self_test
from edge_node.inference.worker import Means, Worker
from tests.edge_node.inference.conftest import Laid, lay
from tests.fakes import bundles
from tests.fakes.bundles import Maker, blurred, image

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


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
    subject = Subject(bundle, [("net", lambda: Case({"image": given}, {"out": blurred(given)}))])
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


async def test_a_worker_that_hangs_in_the_kernel_holds_nobody_up(
    maker: Maker, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await start(lay(maker), means)
    ended = worker._process.wait
    with monkeypatch.context() as patch:
        patch.setattr("edge_node.inference.worker.END_LIMIT_S", 0.05)
        patch.setattr(worker._process, "wait", asyncio.Event().wait)
        await worker.close()
    assert not worker.is_alive
    await ended()


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


@pytest.mark.parametrize(
    "said",
    [
        '{"type": "failed", "reason": "no reason of ours", "detail": ""}',
        '{"type": "failed", "reason": "no-room", "detail": 7}',
        '{"type": "loaded", "version": 1, "device": []}',
        '{"type": "loaded"}',
        "",
    ],
)
async def test_a_worker_that_says_what_no_worker_may_say_is_a_failure_of_that_worker_alone(
    maker: Maker, means: Means, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"import sys; sys.stdin.readline(); print({said!r}, flush=True); sys.stdin.read()")
    monkeypatch.setattr("edge_node.inference.worker.PROGRAM", (sys.executable, str(program)))
    assert await refusal(lay(maker), means) is Refusal.ENGINE_FAILED


@pytest.mark.parametrize(
    "said", ["{}", "[]", "x", '{"library": "unheard-of", "version": "1", "device": "x"}', "\\xff", None]
)
async def test_libraries_are_none_where_nobody_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"print({said!r})")
    asked = (sys.executable, str(program)) if said is not None else (str(tmp_path / "nothing"),)
    monkeypatch.setattr("edge_node.inference.installing.PROGRAM", asked)
    assert await offers_here() == []


async def test_a_worker_loads_no_library_but_the_one_that_it_was_asked_for(
    maker: Maker, means: Means, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, site = tmp_path / "seen", tmp_path / "site"
    site.mkdir()
    for name in ("tensorrt", "tensorrt_rtx"):
        (site / f"{name}.py").write_text(f"open({str(seen)!r}, 'w').close()")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
    worker = await start(lay(maker), means)
    await worker.close()
    assert not seen.exists()
    await refusal(lay(maker), means, Choice(Library.TENSORRT, "fp32"))
    assert seen.exists()


async def test_the_node_closes_itself_before_it_starts_a_worker(maker: Maker, means: Means) -> None:
    libc, set_dumpable, is_dumpable = ctypes.CDLL(None), 4, 3
    libc.prctl(set_dumpable, 1, 0, 0, 0)
    worker = await start(lay(maker), means)
    await worker.close()
    assert libc.prctl(is_dumpable, 0, 0, 0, 0) == 0


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

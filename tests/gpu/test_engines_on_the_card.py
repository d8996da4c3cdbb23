"""Every bundle by every library of this machine: built, right within its tolerance, and how fast (`make gpu`)."""

import json
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto
from telemed.bundle_golden import Case

from deploy.bundles import packing
from edge_node.errors import EngineFailed
from edge_node.inference import trial
from edge_node.inference.engine import EVERYWHERE, Choice, Library
from edge_node.inference.installing import offers_here
from edge_node.inference.trial import Subject
from edge_node.inference.worker import Means, Worker
from tests.edge_node.inference.conftest import Laid, lay, unpacked
from tests.edge_node.inference.test_tensorrt import three_dimensional
from tests.fakes.bundles import Maker, draft, image
from tests.gpu.conftest import BUNDLES

UNSUPPORTED = "does not fit this card"

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(3600)]


@pytest.fixture
def means(tmp_path: Path) -> Means:
    return Means(threads=4, memory_mib=16_384, cache=tmp_path / "engines", may_build=True)


async def measured(laid: Laid, choice: Choice, means: Means) -> tuple[float, float]:
    """Return the best time in seconds and the largest difference; raises what the product raises."""
    subject = Subject.of(laid.bundle, laid.folder)
    worker = await Worker.start(laid.bundle, laid.folder, choice, means)
    try:
        difference = await trial.self_test(worker, subject, choice.precision)
        (best_s,) = await trial.times_s([(worker, subject)])
    finally:
        await worker.close()
    return best_s, difference


async def compare(laid: Laid, means: Means) -> None:
    choices = [EVERYWHERE, *trial.choices(await offers_here(), laid.bundle.manifest.precisions())]
    assert len(choices) > 1, "nothing on this machine uses the card"
    told: dict[str, tuple[float, float] | str] = {}
    for choice in choices:
        try:
            told[str(choice)] = await measured(laid, choice, means)
        except EngineFailed as failed:
            # TensorRT-RTX offers itself on cards that it does not support, and says so when an engine is loaded.
            if choice.library is not Library.TENSORRT_RTX or UNSUPPORTED not in failed.detail:
                raise
            told[str(choice)] = failed.detail
    manifest = laid.bundle.manifest
    print(json.dumps({f"{manifest.task} {manifest.version}: [seconds, difference]": told}, indent=1))


async def test_a_two_dimensional_graph_is_right_on_every_engine(tmp_path: Path, means: Means) -> None:
    await compare(lay(Maker(tmp_path / "maker")), means)


async def test_a_three_dimensional_graph_is_right_on_every_engine_in_both_precisions(
    tmp_path: Path, means: Means
) -> None:
    await compare(await _three_dimensional(tmp_path, means), means)


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
async def test_a_bundle_that_was_named_is_right_on_every_engine(path: Path, tmp_path: Path, means: Means) -> None:
    await compare(unpacked(path, tmp_path / "bundle"), means)


async def _three_dimensional(tmp_path: Path, means: Means) -> Laid:
    """Return a bundle in two precisions whose right answers are ONNX Runtime's on the processor."""
    maker = Maker(tmp_path / "maker")
    full, half = three_dimensional(), three_dimensional(TensorProto.FLOAT16)
    first = _laid(maker, full, half, None)
    worker = await Worker.start(first.bundle, first.folder, EVERYWHERE, means)
    try:
        ((_, given),) = await Subject.of(first.bundle, first.folder).one_of_each()
        answer = await worker.run("net", given)
    finally:
        await worker.close()
    return _laid(maker, full, half, Case(given, answer))


def _laid(maker: Maker, full: ModelProto, half: ModelProto, case: Case | None) -> Laid:
    volume = image()[0, 0, :, :, None].repeat(16, 2)[None, None].repeat(2, 1)
    folder = maker.fill(full, case or Case({"image": volume}, {"out": volume[:, :1]}))
    (folder / "half.onnx").write_bytes(half.SerializeToString())
    tensor = {"dtype": "float32", "unit": "1"}
    graph = {
        "files": {"fp32": "net.onnx", "fp16": "half.onnx"},
        "inputs": [{"name": "image", "shape": [1, 2, 16, 16, 16], **tensor}],
        "outputs": [{"name": "out", "shape": [1, 1, 16, 16, 16], **tensor}],
        "deadline_s": 10.0,
    }
    bundle = packing.complete(draft(graphs={"net": graph}, tolerance={"fp32": 1e-3, "fp16": 2e-2}), folder)
    (folder / "manifest.json").write_bytes(bundle.raw)
    return Laid(bundle, folder)

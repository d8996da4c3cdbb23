"""The exported graph computes what the weights do, holds known operators alone, and tells nothing of the machine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is not tested here")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: export is not tested here")

from models.export import graph  # noqa: E402
from models.tasks.cmb import task  # noqa: E402
from models.tasks.cmb.exporting import parity  # noqa: E402
from models.tasks.cmb.graphs import onnx_graph  # noqa: E402
from models.tasks.cmb.network import Config, build  # noqa: E402
from models.tasks.cmb.released import Altered, opened  # noqa: E402
from models.tasks.cmb.weights import About, TorchGraph, load, save  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A detector with random weights, exported."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(4)
    detector = build(Config()).eval()
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    save(folder / task.WEIGHTS, detector, About(Config(), "hard", 4, 0.3, (1.0, 0.0)))
    side_car = task.export(folder / task.WEIGHTS, folder / task.ONNX)
    return folder / task.ONNX, side_car


def test_graph_and_weights_agree_on_any_window(exported: tuple[Path, dict[str, Any]]) -> None:
    path, _ = exported
    detector, _ = load(path.with_name(task.WEIGHTS))
    torch.manual_seed(9)
    worst = max(
        parity(TorchGraph(detector), onnx_graph(path), torch.rand(1, 2, 48, 48, 48).numpy() * 2 - 1) for _ in range(3)
    )
    assert worst < graph.PARITY


def test_every_shape_is_fixed_and_the_graph_is_one_small_file(exported: tuple[Path, dict[str, Any]]) -> None:
    path, side_car = exported
    assert side_car["graph"]["inputs"][0]["shape"] == [1, 2, 48, 48, 48]
    assert [each["shape"] for each in side_car["graph"]["outputs"]] == [[1, 1, 24, 24, 24], [1, 4, 24, 24, 24]]
    assert path.stat().st_size < 2_000_000
    assert {file.name for file in path.parent.iterdir()} == {task.WEIGHTS, task.ONNX, "detector.json"}


def test_normalisations_are_folded_and_every_operator_is_on_the_list(exported: tuple[Path, dict[str, Any]]) -> None:
    operators = exported[1]["graph"]["operators"]
    assert "BatchNormalization" not in operators
    assert set(operators) <= graph.ALLOWED


def test_the_graph_names_no_file_of_the_machine(exported: tuple[Path, dict[str, Any]]) -> None:
    bare = exported[0].read_bytes()
    assert b".py" not in bare
    assert b"/models/" not in bare
    assert b"stack_trace" not in bare


def test_a_graph_that_was_altered_is_refused(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path, side_car = exported
    model = onnx.load(str(path))
    weight = model.graph.initializer[0]
    numbers = onnx.numpy_helper.to_array(weight).copy()
    numbers.flat[0] += 1
    weight.CopyFrom(onnx.numpy_helper.from_array(numbers, weight.name))
    (tmp_path / "detector.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "detector.json").write_text(json.dumps(side_car))
    with pytest.raises(Altered):
        opened(tmp_path / "detector.onnx")


def write(path: Path, node: object, shape: list[int | str], opset: int = 18) -> Path:
    """Write a graph of one node."""
    value = onnx.helper.make_tensor_value_info("in", onnx.TensorProto.FLOAT, shape)
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, shape)
    made = onnx.helper.make_graph([node], "one", [value], [out])
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", opset)]), str(path))
    return path


def test_a_graph_says_why_it_may_not_be_released(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    relu = onnx.helper.make_node("Relu", ["in"], ["out"])
    assert graph.refusals(write(path, relu, [1, 4])) == []
    strange = onnx.helper.make_node("Relu", ["in"], ["out"], domain="torchvision")
    assert graph.refusals(write(path, strange, [1, 4])) == ["operator torchvision::Relu is not on the list"]
    unknown = onnx.helper.make_node("NonZero", ["in"], ["out"])
    assert graph.refusals(write(path, unknown, [1, 4])) == ["operator NonZero is not on the list"]
    assert graph.refusals(write(path, relu, [1, "n"])) == ["in has no fixed shape", "out has no fixed shape"]
    assert graph.refusals(write(path, relu, [1, 4], 17)) == ["opset 17 is not 18"]


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    model = onnx.load(str(write(path, onnx.helper.make_node("Add", ["in", "w"], ["out"]), [1, 4])))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 4), np.float32), "w"))
    onnx.save(model, str(path), save_as_external_data=True, location="elsewhere", size_threshold=0)
    assert graph.refusals(path) == ["weights of w lie in another file"]

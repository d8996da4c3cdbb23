"""TensorRT-RTX's real parser and builder, which need no card; running an engine is for tests/gpu."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from telemed import bundle_graph
from telemed.bundle import Precision

from edge_node.inference import tensorrt_engine
from edge_node.inference.cuda import Cuda
from edge_node.inference.engine import Blueprint, EngineBroke, Library
from tests.fakes import bundles
from tests.telemed.test_bundle_graph import GRAPH

RTX = tensorrt_engine.module_of(Library.TENSORRT_RTX)
needs_rtx = pytest.mark.skipif(RTX is None, reason="TensorRT-RTX is not installed (extra rtx)")


def has_card() -> bool:
    try:
        Cuda()
    except EngineBroke:
        return False
    return True


needs_no_card = pytest.mark.skipif(has_card(), reason="there is a card here")


def blueprint(model: ModelProto, cache: Path, precision: Precision = "fp32", *, may_build: bool = True) -> Blueprint:
    return Blueprint("b" * 64, "net", GRAPH, model.SerializeToString(), precision, 1, cache, may_build)


def three_dimensional(kind: int = TensorProto.FLOAT) -> ModelProto:
    """Return a small network of the kind that finds microbleeds: two levels, up and down again."""
    draw = np.random.default_rng(1)
    shapes = {"a": (4, 2, 3, 3, 3), "b": (8, 4, 3, 3, 3), "c": (8, 4, 2, 2, 2), "d": (1, 8, 1, 1, 1)}
    weights = {
        name: draw.normal(0, 0.2, shape).astype(helper.tensor_dtype_to_np_dtype(kind)) for name, shape in shapes.items()
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["in"], to=kind),
        helper.make_node("Conv", ["in", "a"], ["x1"], pads=[1] * 6),
        helper.make_node("Relu", ["x1"], ["x2"]),
        helper.make_node("MaxPool", ["x2"], ["x3"], kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
        helper.make_node("Conv", ["x3", "b"], ["x4"], pads=[1] * 6),
        helper.make_node("ConvTranspose", ["x4", "c"], ["x5"], strides=[2, 2, 2]),
        helper.make_node("Concat", ["x2", "x5"], ["x6"], axis=1),
        helper.make_node("Conv", ["x6", "d"], ["x7"]),
        helper.make_node("Sigmoid", ["x7"], ["x8"]),
        helper.make_node("Cast", ["x8"], ["out"], to=TensorProto.FLOAT),
    ]
    shape = [1, 2, 16, 16, 16]
    graph = helper.make_graph(
        nodes,
        "unet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1, 16, 16, 16])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@needs_rtx
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "model",
    [bundles.blur(), bundles.divided(), three_dimensional(), three_dimensional(TensorProto.FLOAT16)],
    ids=["blur", "divided", "three dimensions", "three dimensions in half precision"],
)
def test_the_real_builder_makes_an_engine_of_each_graph(model: ModelProto, tmp_path: Path) -> None:
    assert len(tensorrt_engine.build(RTX, blueprint(model, tmp_path), "")) > 1000


@needs_rtx
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_the_parser_does_not_take_is_said_in_its_words(tmp_path: Path) -> None:
    unknown = bundles.model([helper.make_node("Conv", ["image", "nowhere"], ["out"])], {})
    with pytest.raises(EngineBroke, match="net: "):
        tensorrt_engine.build(RTX, blueprint(unknown, tmp_path), "")


@needs_no_card
def test_without_a_card_nothing_is_offered_and_loading_is_a_failure(tmp_path: Path) -> None:
    assert tensorrt_engine.offers() == []
    with pytest.raises(EngineBroke):
        tensorrt_engine.load(blueprint(bundles.blur(), tmp_path), Library.TENSORRT_RTX)
    with pytest.raises(EngineBroke, match="not installed"):
        tensorrt_engine.load(blueprint(bundles.blur(), tmp_path), Library.TENSORRT)


def test_the_name_of_an_engine_depends_on_graph_library_card_and_precision(tmp_path: Path) -> None:
    def name(model: ModelProto, *where: Any) -> str:
        version, device, precision = where or ("10", "card", "fp32")
        made_from = blueprint(model, tmp_path, precision)
        return tensorrt_engine.key(made_from, Library.TENSORRT, version, device).file_name

    names = [
        name(bundles.blur()),
        name(bundles.divided()),
        name(bundles.blur(), "11", "card", "fp32"),
        name(bundles.blur(), "10", "other card", "fp32"),
        name(bundles.blur(), "10", "card", "fp16"),
    ]
    assert len(set(names)) == len(names)


class FakeTensorRt:
    """Counts what is built; its engines fit one driver alone."""

    __version__ = "10"

    def __init__(self) -> None:
        self.built, self.fits = 0, True


def test_an_engine_that_is_kept_is_not_built_again_and_none_is_built_while_somebody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeTensorRt()
    opened: list[bytes] = []

    def build(module: FakeTensorRt, *_: object) -> bytes:
        module.built += 1
        return b"plan %d" % module.built

    def opens(module: FakeTensorRt, plan: bytes, *_: object) -> str:
        if not module.fits:
            module.fits = True
            raise EngineBroke("does not fit")
        opened.append(plan)
        return "engine"

    class Card:
        def card(self) -> Any:
            return type("", (), {"__str__": lambda _: "card", "capability": "87"})()

    monkeypatch.setattr(tensorrt_engine, "module_of", lambda _: library)
    monkeypatch.setattr(tensorrt_engine, "Cuda", Card)
    monkeypatch.setattr(tensorrt_engine, "build", build)
    monkeypatch.setattr(tensorrt_engine, "_TensorRtEngine", opens)
    waiting = blueprint(bundles.blur(), tmp_path, may_build=False)
    with pytest.raises(EngineBroke, match="no engine of it is kept"):
        tensorrt_engine.load(waiting, Library.TENSORRT)
    tensorrt_engine.load(blueprint(bundles.blur(), tmp_path), Library.TENSORRT)
    tensorrt_engine.load(waiting, Library.TENSORRT)
    assert opened == [b"plan 1", b"plan 1"]
    # A driver that does not take what it took before: built anew where that is allowed.
    library.fits = False
    tensorrt_engine.load(blueprint(bundles.blur(), tmp_path), Library.TENSORRT)
    assert opened[-1] == b"plan 2"
    library.__class__.__version__ = "11"
    tensorrt_engine.load(blueprint(bundles.blur(), tmp_path), Library.TENSORRT)
    assert library.built == 3


def test_every_operator_that_the_test_graphs_use_is_on_the_list() -> None:
    assert bundle_graph.operators(three_dimensional().SerializeToString()) <= bundle_graph.OPERATORS

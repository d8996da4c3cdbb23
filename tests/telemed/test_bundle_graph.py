"""Which graphs are handed to an engine; each refusal is found in the bytes, before any engine has seen them."""

import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from telemed import bundle_graph
from telemed.bundle import BundleRefused, Graph, Refusal
from telemed.v1 import onnx_subset_pb2

from tests.fakes import bundles
from tests.fakes.bundles import draft

GRAPH = Graph.model_validate_json(json.dumps(draft()["graphs"]["net"]))


def refused(model: ModelProto | bytes) -> tuple[Refusal, str]:
    raw = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(BundleRefused) as found:
        bundle_graph.check("net.onnx", raw, GRAPH)
    return found.value.reason, found.value.detail


def one(operator: str, **attributes: Any) -> ModelProto:
    return bundles.model([helper.make_node(operator, ["image"], ["out"], **attributes)], {})


@pytest.mark.parametrize("model", [bundles.blur(), bundles.divided(), bundles.slow_blur(2)])
def test_a_plain_graph_is_taken(model: ModelProto) -> None:
    onnx.checker.check_model(model)
    bundle_graph.check("net.onnx", model.SerializeToString(), GRAPH)


def test_what_is_no_onnx_is_refused() -> None:
    assert refused(b"\x80\x04\x95cos\nsystem\n.")[0] is Refusal.GRAPH_REFUSED
    assert refused(b"")[0] is Refusal.GRAPH_REFUSED
    assert refused(bundles.blur().SerializeToString()[:-7])[0] is Refusal.GRAPH_REFUSED


def test_operators_that_are_not_on_the_list_are_refused() -> None:
    assert "operator :NonZero" in refused(one("NonZero"))[1]
    assert "operator evil.example:Run" in refused(one("Run", domain="evil.example"))[1]
    foreign = bundles.blur()
    foreign.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "com.microsoft" in refused(foreign)[1]


def test_another_opset_is_refused() -> None:
    old = bundles.blur()
    old.opset_import[0].version = 11
    assert "opset 11" in refused(old)[1]


def test_branches_functions_and_training_are_refused() -> None:
    hidden = one("Relu", body=bundles.blur().graph)
    assert "a graph or sparse weights inside of Relu" in refused(hidden)[1]
    made = bundles.blur()
    made.functions.add(name="f", domain="x")
    assert "functions" in refused(made)[1]
    trained = bundles.blur()
    trained.training_info.add()
    assert "training" in refused(trained)[1]


@pytest.mark.parametrize("place", ["../../../etc/passwd", "weights.bin"])
def test_weights_outside_of_the_file_are_refused(place: str) -> None:
    outside = bundles.blur()
    weights = outside.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=place)
    assert "lie in another file" in refused(outside)[1]


def test_weights_outside_that_hide_in_a_constant_are_refused() -> None:
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "c")
    tensor.external_data.add(key="location", value="/etc/shadow")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    hidden = bundles.model([constant, helper.make_node("Add", ["image", "c"], ["out"])], {})
    assert "lie in another file" in refused(hidden)[1]


def test_weights_that_claim_far_more_than_they_are_are_refused() -> None:
    claiming = bundles.blur()
    claiming.graph.initializer[0].dims[:] = [2**31, 2**31, 3, 3]
    assert "bytes" in refused(claiming)[1]
    wrapped = bundles.blur()
    wrapped.graph.initializer[0].dims[:] = [-1, 1, 3, 3]
    assert "bytes" in refused(wrapped)[1]
    short = bundles.blur()
    short.graph.initializer[0].raw_data = b"1234"
    assert "are 4 bytes and should be 36" in refused(short)[1]


def test_another_shape_type_or_name_than_the_manifest_says_is_refused() -> None:
    wide = bundles.model(bundles.blur().graph.node, {"kernel": bundles.kernel()}, (1, 1, 32, 32))
    assert refused(wide)[0] is Refusal.SHAPE_WRONG
    varying = bundles.blur()
    varying.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    assert "'batch'" in refused(varying)[1]
    more = bundles.blur()
    more.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    assert refused(more)[0] is Refusal.SHAPE_WRONG
    integer = bundles.blur()
    integer.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert "'int64'" in refused(integer)[1]


def test_the_numbers_of_the_fields_are_those_of_onnx() -> None:
    ours: dict[Any, Any] = {
        onnx_subset_pb2.OnnxModel: ModelProto,
        onnx_subset_pb2.OnnxOperatorSet: onnx.OperatorSetIdProto,
        onnx_subset_pb2.OnnxGraph: onnx.GraphProto,
        onnx_subset_pb2.OnnxNode: onnx.NodeProto,
        onnx_subset_pb2.OnnxAttribute: onnx.AttributeProto,
        onnx_subset_pb2.OnnxTensor: TensorProto,
        onnx_subset_pb2.OnnxValue: onnx.ValueInfoProto,
        onnx_subset_pb2.OnnxType: onnx.TypeProto,
        onnx_subset_pb2.OnnxTensorType: onnx.TypeProto.Tensor,
        onnx_subset_pb2.OnnxShape: onnx.TensorShapeProto,
        onnx_subset_pb2.OnnxDimension: onnx.TensorShapeProto.Dimension,
    }
    for mine, theirs in ours.items():
        numbers = {field.name: field.number for field in theirs.DESCRIPTOR.fields}
        assert [field.name for field in mine.DESCRIPTOR.fields if numbers.get(field.name) != field.number] == []


def test_every_operator_of_the_list_is_one_of_the_standard() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    assert known >= bundle_graph.OPERATORS
    assert not bundle_graph.OPERATORS & {"If", "Loop", "Scan", "NonZero", "StringNormalizer", "ImageDecoder"}
    assert bundle_graph.operators(bundles.divided().SerializeToString()) == {"Div", "Conv", "Mul"}

"""Whether a graph may be handed to an engine: judged from its bytes, before any engine has seen them.  Pure.

An engine's reader of ONNX is large and follows what a file asks for: other files, libraries of operators, memory.  So a
graph has to be plain: one graph without branches, operators of the standard on the list below, every shape a number,
every weight inside the file, inputs and outputs as the manifest says.
"""

from collections.abc import Iterable
from math import prod

from google.protobuf.message import DecodeError

from telemed.bundle import ITEM_BYTES, TENSOR_LIMIT_BYTES, BundleRefused, DType, Graph, Refusal, Tensor
from telemed.v1 import onnx_subset_pb2

OPSETS = range(18, 21)
NODES_LIMIT = 20_000
ELEMENT_TYPES: dict[int, DType] = {
    1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
}  # fmt: skip
"""Number of an element type in ONNX, and its name."""
_NAMES = (
    "Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv "
    "ConvTranspose DepthToSpace DequantizeLinear Div Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements "
    "GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization "
    "HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log "
    "LogSoftmax MatMul Max MaxPool Min Mul Neg Not Or PRelu Pad Pow QuantizeLinear ReduceMax ReduceMean ReduceMin "
    "ReduceProd ReduceSum Relu Reshape Resize Round Shape Sigmoid Slice Softmax Softplus SpaceToDepth Split Sqrt "
    "Squeeze Sub Tanh Tile TopK Transpose Unsqueeze Where"
)
OPERATORS = frozenset(_NAMES.split())
"""What both engines run; branches, loops, sequences, random numbers and image decoders are left out on purpose."""
_STANDARD = ("", "ai.onnx")


def check(name: str, raw: bytes, graph: Graph) -> None:
    """Look through a graph's file.

    Args:
        name: of the file, for the reason.
        raw: its bytes; the engine must be given these, not the file again.
        graph: what the manifest says of it.

    Raises:
        BundleRefused: it may not be loaded; nothing was.
    """
    try:
        model = onnx_subset_pb2.OnnxModel.FromString(raw)
    except DecodeError as error:
        raise BundleRefused(Refusal.GRAPH_REFUSED, f"{name}: is no ONNX") from error
    for fault in _faults(model):
        raise BundleRefused(Refusal.GRAPH_REFUSED, f"{name}: {fault}")
    weights = {each.name for each in model.graph.initializer}
    _compare(f"{name}: input", [each for each in model.graph.input if each.name not in weights], graph.inputs)
    _compare(f"{name}: output", model.graph.output, graph.outputs)


def operators(raw: bytes) -> set[str]:
    """Return the operators that a graph's file uses.

    Raises:
        DecodeError: it is no ONNX.
    """
    return {node.op_type for node in onnx_subset_pb2.OnnxModel.FromString(raw).graph.node}


def _faults(model: onnx_subset_pb2.OnnxModel) -> Iterable[str]:
    for each in model.opset_import:
        if each.domain not in _STANDARD:
            yield f"operators of {each.domain!r:.60}"
        elif each.version not in OPSETS:
            yield f"opset {each.version}, not {OPSETS.start} to {OPSETS.stop - 1}"
    if not model.opset_import or not model.graph.node:
        yield "nothing in it"
    if len(model.graph.node) > NODES_LIMIT:
        yield f"{len(model.graph.node)} nodes"
    if model.functions or model.training_info or model.graph.sparse_initializer:
        yield "functions, training information or sparse weights"
    for node in model.graph.node:
        if node.domain not in _STANDARD or node.op_type not in OPERATORS:
            yield f"operator {node.domain}:{node.op_type:.60}"
        yield from _attribute_faults(node)
    for tensor in model.graph.initializer:
        yield from _tensor_faults(tensor)


def _attribute_faults(node: onnx_subset_pb2.OnnxNode) -> Iterable[str]:
    for each in node.attribute:
        if each.HasField("g") or each.graphs or each.HasField("sparse_tensor") or each.sparse_tensors:
            yield f"a graph or sparse weights inside of {node.op_type}"
        for tensor in (*([each.t] if each.HasField("t") else []), *each.tensors):
            yield from _tensor_faults(tensor)


def _tensor_faults(tensor: onnx_subset_pb2.OnnxTensor) -> Iterable[str]:
    if tensor.external_data or tensor.data_location:
        yield f"weights {tensor.name!r:.60} lie in another file"
    if tensor.data_type not in ELEMENT_TYPES:
        yield f"weights {tensor.name!r:.60} of type {tensor.data_type}"
        return
    size_bytes = prod(tensor.dims) * ITEM_BYTES[ELEMENT_TYPES[tensor.data_type]]
    if any(extent < 0 for extent in tensor.dims) or size_bytes > TENSOR_LIMIT_BYTES:
        yield f"weights {tensor.name!r:.60} of {size_bytes} bytes"
    if tensor.raw_data and len(tensor.raw_data) != size_bytes:
        yield f"weights {tensor.name!r:.60} are {len(tensor.raw_data)} bytes and should be {size_bytes}"


def _compare(place: str, found: Iterable[onnx_subset_pb2.OnnxValue], said: Iterable[Tensor]) -> None:
    shapes = {each.name: (_element_type(each), _shape(each)) for each in found}
    expected = {each.name: (each.dtype, each.shape) for each in said}
    if shapes != expected:
        wrong = sorted(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name))
        detail = ", ".join(f"{name} is {shapes.get(name)}, the manifest says {expected.get(name)}" for name in wrong)
        raise BundleRefused(Refusal.SHAPE_WRONG, f"{place}: {detail:.300}")


def _element_type(value: onnx_subset_pb2.OnnxValue) -> DType | None:
    return ELEMENT_TYPES.get(value.type.tensor_type.elem_type)


def _shape(value: onnx_subset_pb2.OnnxValue) -> tuple[int | str, ...]:
    """Return the extents; the name, or "?", where one varies, which no manifest can say."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.dim_value > 0 and not dim.dim_param else dim.dim_param or "?" for dim in dims)

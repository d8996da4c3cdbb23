"""Writes ONNX graphs and says why one may not be released."""

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto
from torch import Tensor, nn

OPSET = 18
PARITY = 1e-4
"""Most that torch and ONNX Runtime may differ in one output, absolute."""
ALLOWED = frozenset(json.loads((Path(__file__).parent / "allowed_operators.json").read_text()))


def write(network: nn.Module, example: Tensor, names: tuple[Sequence[str], Sequence[str]], path: Path) -> None:
    """Write a network as a graph of one example's very shape.

    Args:
        network: in evaluation mode, so that normalisations are folded.
        example: the only input.
        names: of the inputs and of the outputs.
        path: of the file.
    """
    inputs, outputs = names
    with warnings.catch_warnings():
        # The exporter warns of what it calls itself.
        warnings.simplefilter("ignore", FutureWarning)
        exported = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            external_data=False,
            optimize=True,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    _forget_the_machine(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def refusals(path: Path) -> list[str]:
    """Return why a graph may not be released; empty where it may."""
    model = onnx.load(str(path), load_external_data=False)
    said = [f"operator {name} is not on the list" for name in sorted(operators(model) - ALLOWED)]
    said += [f"weights of {tensor.name} lie in another file" for tensor in _weights(model) if tensor.external_data]
    said += [
        f"{value.name} has no fixed shape"
        for value in [*model.graph.input, *model.graph.output]
        if not all(shape(value))
    ]
    said += [f"opset {entry.version} is not {OPSET}" for entry in model.opset_import if entry.version != OPSET]
    if not said:
        onnx.checker.check_model(model, full_check=True)
    return said


def operators(model: ModelProto) -> set[str]:
    """Return the operators of a graph and of its functions; one from elsewhere than ONNX itself bears its domain."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return {f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes}


def shape(value: ValueInfoProto) -> tuple[int, ...]:
    """Return the shape of an input or output, 0 for each size that is not fixed."""
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)


def _weights(model: ModelProto) -> list[TensorProto]:
    return list(model.graph.initializer)


def _forget_the_machine(model: ModelProto) -> None:
    """Remove what the exporter notes of source files: it names folders of the machine and changes with them."""
    model.doc_string = ""
    del model.metadata_props[:]
    model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    _bare(model.graph.node)
    _bare(model.graph.value_info)
    _bare(model.graph.input)
    _bare(model.graph.output)
    _bare(model.graph.initializer)


def _bare(parts: Iterable[NodeProto] | Iterable[ValueInfoProto] | Iterable[TensorProto]) -> None:
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]

"""The memory that node and worker share."""

import json

import numpy as np
import pytest
from telemed.bundle import Graph, parse
from telemed.bundle_golden import Arrays

from edge_node.inference import arena
from edge_node.inference.arena import Arena, Misfit
from tests.fakes.bundles import draft

FACT = {"sha256": "0" * 64, "size_bytes": 1}
GRAPH = Graph.model_validate_json(
    json.dumps(
        {
            "files": {"fp32": "net.onnx"},
            "inputs": [
                {"name": "a", "shape": [3], "dtype": "uint8", "unit": "1"},
                {"name": "b", "shape": [2, 2], "dtype": "float32", "unit": "1"},
            ],
            "outputs": [{"name": "c", "shape": [5], "dtype": "int64", "unit": "1"}],
            "deadline_s": 1,
        }
    )
)
A, B = np.array([1, 2, 3], np.uint8), np.array([[1, 2], [3, 4]], np.float32)


def manifest(**graphs: object) -> bytes:
    whole = draft() | {"graphs": graphs, "golden": [{"graph": name, "file": "golden/0.npz"} for name in graphs]}
    return json.dumps({"format": 1, **whole, "files": {"net.onnx": FACT, "golden/0.npz": FACT}}).encode()


def test_it_is_as_large_as_the_largest_graph_needs() -> None:
    small = json.loads(GRAPH.model_dump_json())
    large = small | {"inputs": [{"name": "a", "shape": [1000], "dtype": "uint8", "unit": "1"}]}
    assert arena.size_bytes(parse(manifest(one=small)).manifest) == 3 * 64
    assert arena.size_bytes(parse(manifest(one=small, two=large)).manifest) == 1024 + 64


def test_both_sides_see_the_same_arrays_at_places_of_their_own() -> None:
    node = Arena.of_size(3 * 64)
    worker = Arena(node.descriptor, 3 * 64)
    node.put(GRAPH, {"a": A, "b": B})
    seen = worker.inputs(GRAPH)
    assert np.array_equal(seen["a"], A)
    assert np.array_equal(seen["b"], B)
    arena.fill(worker.outputs(GRAPH), GRAPH.outputs, {"c": np.arange(5)})
    taken = node.take(GRAPH)["c"]
    worker.outputs(GRAPH)["c"][:] = 0
    assert taken.tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(worker.inputs(GRAPH)["b"], B)
    node.close()


@pytest.mark.parametrize(
    "inputs",
    [
        {"a": A},
        {"a": A, "b": B.T.copy().reshape(4)},
        {"a": A, "b": B.astype(np.float64)},
        {"a": A, "b": B * np.float32("inf")},
    ],
    ids=["missing", "another shape", "another type", "not finite"],
)
def test_inputs_that_the_graph_does_not_take_never_reach_the_worker(inputs: Arrays) -> None:
    node = Arena.of_size(3 * 64)
    with pytest.raises(Misfit):
        node.put(GRAPH, inputs)
    node.close()

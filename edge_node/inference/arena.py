"""Memory that node and worker share: the arrays of one run, at places that both work out from the manifest.

Nothing that the other side writes is interpreted: shapes and types are the manifest's, so the worst that a worker can
do here is to give wrong numbers.
"""

import mmap
import os
from collections.abc import Iterable, Mapping

import numpy as np
from telemed.bundle import Graph, Manifest, Tensor
from telemed.bundle_golden import Array, Arrays

ALIGNED_BYTES = 64


def size_bytes(manifest: Manifest) -> int:
    """Return how much the largest graph of a bundle needs."""
    return max(_placed((*graph.inputs, *graph.outputs))[1] for graph in manifest.graphs.values())


class Arena:
    """One such memory; `inputs` and `outputs` are views of it, not copies."""

    def __init__(self, descriptor: int, length_bytes: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, length_bytes)

    @classmethod
    def of_size(cls, length_bytes: int) -> "Arena":
        """Return a new one.

        Raises:
            OSError: there is no memory for it.
        """
        descriptor = os.memfd_create("inference", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, length_bytes)
        return cls(descriptor, length_bytes)

    def inputs(self, graph: Graph) -> dict[str, Array]:
        """Return the inputs of a graph, to be written or read in place."""
        places, _ = _placed((*graph.inputs, *graph.outputs))
        return {tensor.name: self._view(tensor, place) for tensor, place in zip(graph.inputs, places, strict=False)}

    def outputs(self, graph: Graph) -> dict[str, Array]:
        """Return the outputs of a graph, to be written or read in place."""
        places, _ = _placed((*graph.inputs, *graph.outputs))
        rest = places[len(graph.inputs) :]
        return {tensor.name: self._view(tensor, place) for tensor, place in zip(graph.outputs, rest, strict=True)}

    def put(self, graph: Graph, inputs: Arrays) -> None:
        """Copy the inputs of a run in.

        Raises:
            Misfit: they are not those that the graph takes, or not all of them are finite.
        """
        fill(self.inputs(graph), graph.inputs, inputs)
        for tensor in graph.inputs:
            if not np.isfinite(inputs[tensor.name]).all():
                raise Misfit(f"{tensor.name}: not all of it is finite")

    def take(self, graph: Graph) -> dict[str, Array]:
        """Return copies of the outputs of a run, which nobody else can change any more."""
        return {name: array.copy() for name, array in self.outputs(graph).items()}

    def close(self) -> None:
        """Let go of it; whoever still holds a view keeps the memory."""
        os.close(self.descriptor)

    def _view(self, tensor: Tensor, place: int) -> Array:
        count = tensor.size_bytes // np.dtype(tensor.dtype).itemsize
        return np.frombuffer(self._memory, tensor.dtype, count, place).reshape(tensor.shape)


class Misfit(ValueError):
    """An array is missing, of another shape or type than its tensor, or has what is no number."""


def fill(places: Mapping[str, Array], tensors: Iterable[Tensor], arrays: Arrays) -> None:
    """Copy arrays into their places.

    Raises:
        Misfit: one is missing, or is of another shape or type than its tensor.
    """
    for tensor in tensors:
        array = arrays.get(tensor.name)
        if array is None or array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
            found = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise Misfit(f"{tensor.name}: {found}, not {tensor.dtype}{list(tensor.shape)}")
        np.copyto(places[tensor.name], array)


def _placed(tensors: Iterable[Tensor]) -> tuple[list[int], int]:
    """Return where each tensor begins, and where all end."""
    places, end = list[int](), 0
    for tensor in tensors:
        places.append(end)
        end += -(-tensor.size_bytes // ALIGNED_BYTES) * ALIGNED_BYTES
    return places, end

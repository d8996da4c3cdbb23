"""Golden cases: inputs and right answers of a graph in an npz file, read without trust in what it says of itself."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telemed.bundle import BundleRefused, Graph, Refusal, Tensor

Array = NDArray[Any]
Arrays = Mapping[str, Array]
_BROKEN = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, SyntaxError, TypeError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)
"""What reading a damaged or hostile npz raises: it is a zip, of arrays whose heads are Python's own notation."""
CASE_LIMIT_BYTES = 1024**3
"""Of all arrays of one case, which are in memory together."""
HEAD_LIMIT_BYTES = 1024
"""Of an array in a file, before its numbers."""


@dataclass(frozen=True, slots=True)
class Case:
    """What goes in, and what must come out."""

    inputs: Arrays
    outputs: Arrays


def write(path: Path, case: Case) -> None:
    """Write a case, compressed.

    Raises:
        OSError: it cannot be written.
    """
    named = {f"in:{name}": array for name, array in case.inputs.items()}
    named |= {f"out:{name}": array for name, array in case.outputs.items()}
    np.savez_compressed(path, allow_pickle=False, **named)


def read(path: Path, graph: Graph) -> Case:
    """Return a case with the very arrays that the graph says it takes and gives.

    Raises:
        BundleRefused: arrays are missing, superfluous, of another shape, not finite, or no plain numbers.
    """
    tensors = {f"in:{each.name}": each for each in graph.inputs} | {f"out:{each.name}": each for each in graph.outputs}
    try:
        _check_sizes(path, tensors)
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in tensors}
        # NumPy gives out the bytes of a member that does not begin as an array does.
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise TypeError("a member is no array")
    except _BROKEN as error:
        raise BundleRefused(Refusal.MANIFEST_UNFIT, f"{path.name}: {type(error).__name__}") from error
    for name, tensor in tensors.items():
        check(f"{path.name}: {name}", tensor, arrays[name])
    return Case(
        {each.name: arrays[f"in:{each.name}"] for each in graph.inputs},
        {each.name: arrays[f"out:{each.name}"] for each in graph.outputs},
    )


def check(place: str, tensor: Tensor, array: Array) -> None:
    """Look whether an array is what a tensor says.

    Raises:
        BundleRefused: another shape, another type, or not all of it is finite.
    """
    if array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
        detail = f"{place}: {array.dtype}{list(array.shape)}, not {tensor.dtype}{list(tensor.shape)}"
        raise BundleRefused(Refusal.SHAPE_WRONG, detail)
    if not np.isfinite(array).all():
        raise BundleRefused(Refusal.NOT_FINITE, place)


def largest_difference(tensors: Iterable[Tensor], given: Arrays, right: Arrays) -> float:
    """Return how far the answers are from the right ones, the largest absolute difference of all numbers."""
    return max(
        float(np.max(np.abs(given[each.name].astype(np.float64) - right[each.name].astype(np.float64)), initial=0.0))
        for each in tensors
    )


def _check_sizes(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Look at the list before anything is unpacked: an archive of kilobytes may unpack to gigabytes.

    Raises:
        ValueError: other arrays than expected, or one that is larger than it can be.
    """
    with zipfile.ZipFile(path) as file:
        sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in file.infolist()}
    if sizes.keys() != tensors.keys():
        raise ValueError("other arrays than the graph has")
    if any(sizes[name] > tensor.size_bytes + HEAD_LIMIT_BYTES for name, tensor in tensors.items()):
        raise ValueError("an array is too large")
    if sum(sizes.values()) > CASE_LIMIT_BYTES:
        raise ValueError("the arrays are too large together")

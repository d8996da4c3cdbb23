"""Which libraries this machine has, and how a graph gets into one of them.  Imported by the worker process alone."""

from edge_node.inference import onnx_engine, tensorrt_engine
from edge_node.inference.engine import BUILT, Blueprint, Engine, EngineBroke, Library, Offer


def offers() -> list[Offer]:
    """Return everything that could run graphs here, the one that is everywhere first."""
    return [*onnx_engine.offers(), *tensorrt_engine.offers()]


def offer(library: Library) -> Offer:
    """Return what there is of one library; no other is loaded.

    Raises:
        EngineBroke: it is not here.
    """
    found = tensorrt_engine.offers([library]) if library in BUILT else onnx_engine.offers()
    for each in found:
        if each.library == library:
            return each
    raise EngineBroke(f"{library} is not on this machine")


def load(blueprint: Blueprint, library: Library) -> Engine:
    """Return a graph that is ready to run, built first where the library builds.

    Raises:
        EngineBroke: the library is not here, or does not take the graph.
    """
    if library in BUILT:
        return tensorrt_engine.load(blueprint, library)
    return onnx_engine.load(blueprint, library)

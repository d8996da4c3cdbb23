"""Classic TensorRT and TensorRT-RTX behind the engine port: one adapter, because both have the same builder and parser.

A precision is that of the graph's file (networks are strongly typed): nothing is made less precise behind the bundle's
back.  Engines are built once and kept (`engine_cache`), with the builder's timings.  For the worker process alone.
"""

import hashlib
import importlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from telemed.bundle_golden import Array, Arrays

from edge_node.inference import engine_cache
from edge_node.inference.cuda import Cuda
from edge_node.inference.engine import Blueprint, Engine, EngineBroke, Library, Offer
from edge_node.inference.engine_cache import EngineKey

MODULES = {Library.TENSORRT: ("tensorrt",), Library.TENSORRT_RTX: ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""Under which names its Python module may be installed."""
WORKSPACE_BYTES = 2 * 1024**3
Module = Any
"""TensorRT has no types; it ends here."""


def offers(libraries: Iterable[Library] = MODULES) -> list[Offer]:
    """Return which of these are here, with the card; none where there is no card to run them on."""
    modules = {library: module for library in libraries if (module := module_of(library)) is not None}
    if not modules:
        return []
    try:
        card = str(Cuda().card())
    except EngineBroke:
        return []
    return [Offer(library, str(module.__version__), card) for library, module in modules.items()]


def module_of(library: Library) -> Module | None:
    """Return the library's Python module; None where it is not installed, or its own libraries are not."""
    for name in MODULES[library]:
        with suppress(ImportError, OSError):
            return importlib.import_module(name)
    return None


def load(blueprint: Blueprint, library: Library) -> Engine:
    """Return a graph that is ready to run on the card, from the engine that was kept or from one built now.

    Raises:
        EngineBroke: it cannot or may not be built, or does not run here.
    """
    module = module_of(library)
    if module is None:
        raise EngineBroke(f"{library} is not installed")
    cuda = Cuda()
    name = key(blueprint, library, str(module.__version__), str(cuda.card())).file_name
    kept = engine_cache.read(blueprint.cache, name)
    if kept is not None:
        with suppress(EngineBroke):
            return _TensorRtEngine(module, kept, cuda, blueprint)
    if not blueprint.may_build:
        raise EngineBroke(f"{blueprint.name}: no engine of it is kept that fits this machine")
    # TensorRT-RTX measures on the card when it loads an engine, not when it builds one: it has no timings to keep.
    has_timings = library is Library.TENSORRT
    timings = f"{module.__version__}-{cuda.card().capability}.timings" if has_timings else ""
    plan = build(module, blueprint, timings)
    engine_cache.keep(blueprint.cache, name, plan)
    return _TensorRtEngine(module, plan, cuda, blueprint)


def key(blueprint: Blueprint, library: Library, version: str, device: str) -> EngineKey:
    """Return what the engine of a graph is kept under."""
    model_sha256 = hashlib.sha256(blueprint.model).hexdigest()
    return EngineKey(blueprint.bundle_id, blueprint.name, model_sha256, library, version, device, blueprint.precision)


def build(module: Module, blueprint: Blueprint, timings: str) -> bytes:
    """Return the engine of a graph; needs no card with TensorRT-RTX.

    Args:
        module: TensorRT or TensorRT-RTX.
        blueprint: the graph.
        timings: name under which the builder's timings are kept beside the engines; empty = it has none.

    Raises:
        EngineBroke: the parser or the builder does not take it; with their words.
    """
    logger = module.Logger(module.Logger.ERROR)
    builder = module.Builder(logger)
    network = builder.create_network(1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = module.OnnxParser(network, logger)
    if not parser.parse(blueprint.model):
        words = "; ".join(str(parser.get_error(at).desc()) for at in range(parser.num_errors))
        raise EngineBroke(f"{blueprint.name}: {words:.300}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if timings:
        known = config.create_timing_cache(engine_cache.read(blueprint.cache.parent, timings) or b"")
        config.set_timing_cache(known, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBroke(f"{blueprint.name}: the builder made no engine")
    if timings:
        engine_cache.keep(blueprint.cache.parent, timings, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


class _TensorRtEngine:
    def __init__(self, module: Module, plan: bytes, cuda: Cuda, blueprint: Blueprint) -> None:
        self._cuda = cuda
        self._graph = blueprint.graph
        self._name = blueprint.name
        self._runtime = module.Runtime(module.Logger(module.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineBroke(f"{blueprint.name}: the engine does not fit this card or driver")
        self._context = self._engine.create_execution_context()
        self._addresses = {
            tensor.name: cuda.allocate(tensor.size_bytes)
            for tensor in (*blueprint.graph.inputs, *blueprint.graph.outputs)
        }
        for tensor_name, address in self._addresses.items():
            if not self._context.set_tensor_address(tensor_name, address):
                raise EngineBroke(f"{blueprint.name}: the engine has no tensor {tensor_name}")

    def run(self, inputs: Arrays) -> Arrays:
        """Return the outputs of one run."""
        if not self._addresses:
            raise EngineBroke(f"{self._name}: is closed")
        for tensor in self._graph.inputs:
            self._cuda.upload(self._addresses[tensor.name], inputs[tensor.name])
        with self._cuda.stream() as stream:
            if not self._context.execute_async_v3(stream):
                raise EngineBroke(f"{self._name}: the engine did not run")
        found: dict[str, Array] = {}
        for tensor in self._graph.outputs:
            found[tensor.name] = np.empty(tensor.shape, tensor.dtype)
            self._cuda.download(found[tensor.name], self._addresses[tensor.name])
        return found

    def close(self) -> None:
        """Give the card's memory back."""
        addresses: Mapping[str, int] = self._addresses
        self._addresses = {}
        for address in addresses.values():
            self._cuda.free(address)

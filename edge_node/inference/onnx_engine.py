"""ONNX Runtime behind the engine port: on the processor everywhere, on CUDA where its library has it.

Imported by the worker process alone.
"""

import platform

import numpy as np
import onnxruntime
from telemed.bundle_golden import Arrays

from edge_node.inference.engine import Blueprint, Engine, EngineBroke, Library, Offer

PROVIDERS = {Library.ONNXRUNTIME_CPU: "CPUExecutionProvider", Library.ONNXRUNTIME_CUDA: "CUDAExecutionProvider"}
SETTINGS: dict[Library, dict[str, str]] = {Library.ONNXRUNTIME_CPU: {}, Library.ONNXRUNTIME_CUDA: {"use_tf32": "0"}}
"""Of the providers.  CUDA's would round to ten bits in convolutions: nothing is made less precise than its file."""
ERRORS_ALONE = 3
"""Severity of ONNX Runtime's own lines on stderr."""


def offers() -> list[Offer]:
    """Return what this installation of ONNX Runtime can use."""
    there = onnxruntime.get_available_providers()
    found = [library for library, provider in PROVIDERS.items() if provider in there]
    return [Offer(library, onnxruntime.__version__, _device(library)) for library in found]


def load(blueprint: Blueprint, library: Library) -> Engine:
    """Return a graph that is ready to run.

    Raises:
        EngineBroke: ONNX Runtime does not take it, or the provider is not the one that was asked for.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = blueprint.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ALONE
    # Threads that spin between layers would take the processor from alarms and from other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider = PROVIDERS[library]
    try:
        session = onnxruntime.InferenceSession(blueprint.model, options, providers=[(provider, SETTINGS[library])])
    except Exception as error:  # its exceptions have no base but this one
        raise EngineBroke(f"{blueprint.name}: {_words(error)}") from error
    if session.get_providers()[0] != provider:
        raise EngineBroke(f"{blueprint.name}: {provider} is not used, but {session.get_providers()[0]}")
    return _OnnxEngine(session, blueprint)


class _OnnxEngine:
    def __init__(self, session: "onnxruntime.InferenceSession", blueprint: Blueprint) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self._name = blueprint.name
        self._outputs = [tensor.name for tensor in blueprint.graph.outputs]

    def run(self, inputs: Arrays) -> Arrays:
        """Return the outputs of one run."""
        if self._session is None:
            raise EngineBroke(f"{self._name}: is closed")
        try:
            found = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # its exceptions have no base but this one
            raise EngineBroke(f"{self._name}: {_words(error)}") from error
        return {name: np.asarray(array) for name, array in zip(self._outputs, found, strict=True)}

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


def _device(library: Library) -> str:
    return platform.machine() if library is Library.ONNXRUNTIME_CPU else "cuda"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300].replace("\n", " ")

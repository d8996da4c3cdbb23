"""The reader's side: chooses the series of a task, reads them, and asks the node to run the model's graphs on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from telemed.bundle import Manifest, Tensor, parse
from telemed.bundle_golden import Array, Arrays
from telemed.recipes.cmb import SwiStudy

from edge_node.findings import cmb_reading, loading
from edge_node.findings.pipe import Ask, Fits, Go, Line, Ran, Refused, Run, Told, Unfit, pack, unpack
from edge_node.findings.reasons import NotRead, Reason
from edge_node.findings.rules import TaskRules
from edge_node.findings.series import pairs

TASKS: dict[str, Callable[[SwiStudy, Manifest, cmb_reading.Runs], Told]] = {"cmb": cmb_reading.read}
"""What this software can read, by task."""


@dataclass(frozen=True, slots=True)
class Node:
    """The node's process, as a reader sees it."""

    heard: BinaryIO
    said: BinaryIO

    def say(self, line: Line, *arrays: Array) -> None:
        """Say a line, and arrays behind it."""
        self.said.write(pack(line))
        for each in arrays:
            self.said.write(np.ascontiguousarray(each).tobytes())
        self.said.flush()

    def hear(self) -> Line:
        """Return the next line.

        Raises:
            EOFError: the node has nothing more to say.
        """
        raw = self.heard.readline()
        if not raw:
            raise EOFError
        return unpack(raw)

    def array(self, tensor: Tensor) -> Array:
        """Return the array that stands behind the last line.

        Raises:
            EOFError: it does not.
        """
        raw = self.heard.read(tensor.size_bytes)
        if len(raw) != tensor.size_bytes:
            raise EOFError
        return np.frombuffer(raw, tensor.dtype).reshape(tensor.shape)


def serve(ask: Ask, node: Node) -> None:
    """Read one study; what stands in the way is said."""
    rules = TaskRules.model_validate(ask.rules)
    try:
        study = _chosen(ask, rules, node)
        if study is None:
            node.say(Unfit())
            return
        go = node.hear()
        if isinstance(go, Go):
            manifest = parse(go.manifest.encode()).manifest
            node.say(TASKS[rules.task](study, manifest, lambda graph, inputs: _run(node, manifest, graph, inputs)))
    except NotRead as refusal:
        node.say(Refused(refusal.reason, refusal.detail))
    except MemoryError:
        node.say(Refused(Reason.TOO_LARGE, ""))


def _chosen(ask: Ask, rules: TaskRules, node: Node) -> SwiStudy | None:
    """Return the study that the model is given, once the node was told of what; None where it is not of that kind.

    Raises:
        NotRead: it is of that kind, and none of its series can be read; or of an image nobody can say of which it is.
    """
    series = loading.series_of(ask.files)
    # It may be of any series: left out, a head that ends too early would be told of as a whole one.
    if any(each.fault for one in series for each in one.slices):
        raise NotRead(Reason.PIXELS_UNREADABLE)
    refusal: NotRead | None = None
    for pair in pairs(series, rules):
        try:
            study, stack, phases = loading.study_of(pair, rules)
        except NotRead as refused:
            refusal = refusal or refused
            continue
        node.say(Fits([each.sop_instance_uid for each in stack.slices], [each.sop_instance_uid for each in phases]))
        return study
    if refusal is not None:
        raise refusal
    return None


def _run(node: Node, manifest: Manifest, graph: str, inputs: Arrays) -> Arrays:
    told = manifest.graphs[graph]
    node.say(Run(graph), *(inputs[each.name].astype(each.dtype) for each in told.inputs))
    if not isinstance(node.hear(), Ran):
        raise EOFError
    return {each.name: node.array(each) for each in told.outputs}

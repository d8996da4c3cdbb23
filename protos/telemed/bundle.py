"""What makers of models and nodes must agree upon: the manifest of a bundle, and why a bundle is refused.

Pure.  A bundle is graphs in ONNX, golden cases, and a manifest that has the hash of every file; its id is the SHA-256
of the manifest, so that one word names all of it.  It never carries code: pre- and postprocessing are named recipes of
`telemed.recipes`, and how a graph is run is the node's affair.
"""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_LIMIT_BYTES = 1024 * 1024
PHANTOM = "synthetic phantom"
FILE_LIMIT_BYTES = 1024**3
"""Of one graph or golden case."""
FILES_LIMIT = 64
TENSOR_LIMIT_BYTES = 512 * 1024**2

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$"
"""Of a task or a graph."""
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
_WORD = r"[a-z0-9][a-z0-9_-]{0,79}"
FileName = Annotated[str, Field(pattern=rf"^({_WORD}/)?{_WORD}(\.[a-z0-9]{{1,8}}){{1,2}}$")]
TensorName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,99}$")]
RecipeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_./-]{0,79}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Extent = Annotated[int, Field(ge=1, le=2**20)]
Precision = Literal["fp32", "fp16", "int8"]
DType = Literal["float32", "float16", "int64", "int32", "int8", "uint8", "bool"]
ITEM_BYTES: dict[DType, int] = {
    "float32": 4, "float16": 2, "int64": 8, "int32": 4, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip


class Refusal(StrEnum):
    """Why a bundle is not taken, or not kept; never reworded."""

    ARCHIVE_UNREADABLE = "archive-unreadable"
    SIGNATURE_WRONG = "signature-wrong"
    METADATA_EXPIRED = "metadata-expired"
    NOT_CURRENT = "not-current"
    MANIFEST_UNFIT = "manifest-unfit"
    HASH_WRONG = "hash-wrong"
    GRAPH_REFUSED = "graph-refused"
    SHAPE_WRONG = "shape-wrong"
    GOLDEN_DIFFERS = "golden-differs"
    NOT_FINITE = "not-finite"
    TOO_SLOW = "too-slow"
    ENGINE_FAILED = "engine-failed"
    NO_ROOM = "no-room"


REFUSALS: dict[str, tuple[str, str]] = {
    Refusal.ARCHIVE_UNREADABLE: ("模型包无法读取", "the bundle cannot be read"),
    Refusal.SIGNATURE_WRONG: ("签名不是受信任的钥匙所签", "it is not signed by a key that this node trusts"),
    Refusal.METADATA_EXPIRED: ("签名已过期，请重新签发", "its signatures have run out: sign anew"),
    Refusal.NOT_CURRENT: ("比已知的版本旧", "it is older than what this node knows to be current"),
    Refusal.MANIFEST_UNFIT: ("清单不合规", "its manifest is not as it must be"),
    Refusal.HASH_WRONG: ("文件与清单中的校验值不符", "a file does not match the hash that was signed"),
    Refusal.GRAPH_REFUSED: ("网络图含有不允许的内容", "a graph contains what no bundle may contain"),
    Refusal.SHAPE_WRONG: ("网络图的形状与清单不符", "a graph has other shapes than its manifest says"),
    Refusal.GOLDEN_DIFFERS: ("自检结果与标准答案不符", "its self-test gives other answers than it should"),
    Refusal.NOT_FINITE: ("输出含有非数值", "its output is not a number"),
    Refusal.TOO_SLOW: ("在本机上太慢", "it is too slow on this machine"),
    Refusal.ENGINE_FAILED: ("在本机上无法运行", "it cannot be run on this machine"),
    Refusal.NO_ROOM: ("本机存储空间不足", "there is no room for it on the disk"),
}
"""The same in plain words: Chinese, English."""


AI_MARK = (
    "AI 结果，未经医师审核",
    "AI result - NOT VERIFIED BY A PHYSICIAN",
)
RESEARCH_MARK = (
    "研究用：仅以仿真数据训练，不得用于诊断",
    "RESEARCH - PHANTOM-TRAINED, NOT FOR DIAGNOSIS",
)
"""What every output of a model bears, and what it bears beside that: Chinese, English."""


class BundleRefused(Exception):
    """A bundle is not taken; the detail names files, graphs and tensors, never a person."""

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(f"{REFUSALS[reason][1]}: {detail}")
        self.reason = reason
        self.detail = detail


class Part(BaseModel):
    """A part of the manifest: never changed, unknown keys refused, nothing converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Words(Part):
    """The same in both languages."""

    zh: str = Field(min_length=1, max_length=2000)
    en: str = Field(min_length=1, max_length=2000)


class Tensor(Part):
    """One input or output of a graph; its shape never varies."""

    name: TensorName
    shape: Annotated[tuple[Extent, ...], Field(max_length=6)]
    dtype: DType
    unit: Annotated[str, Field(min_length=1, max_length=40)]
    """What a number of it means: "HU", "logit", "mm"; "1" where it has no unit."""

    @property
    def size_bytes(self) -> int:
        """How many bytes one array of it has."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


class Graph(Part):
    """One network, in one file for each precision that it was made in; all take and give the same arrays."""

    files: dict[Precision, FileName]
    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=16)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=16)]
    deadline_s: Annotated[float, Field(gt=0, le=600)]
    """How long one run may take on the slowest machine that this model is for."""

    @model_validator(mode="after")
    def _is_sound(self) -> "Graph":
        if "fp32" not in self.files:
            raise ValueError("there must be a file in fp32: it is what the others are measured by")
        for tensors in (self.inputs, self.outputs):
            if len({tensor.name for tensor in tensors}) != len(tensors):
                raise ValueError("two tensors have one name")
            if any(tensor.size_bytes > TENSOR_LIMIT_BYTES for tensor in tensors):
                raise ValueError(f"a tensor is over {TENSOR_LIMIT_BYTES} bytes")
        return self


class GoldenCase(Part):
    """Inputs and right answers of one graph, in an npz file: arrays `in:<name>` and `out:<name>`."""

    graph: Name
    file: FileName


class Tolerance(Part):
    """How far an answer may be from the right one, absolute, by precision; none: it must not be used."""

    fp32: Annotated[float, Field(gt=0)]
    fp16: Annotated[float, Field(gt=0)] | None = None
    int8: Annotated[float, Field(gt=0)] | None = None

    def of(self, precision: Precision) -> float | None:
        """Return what one precision is allowed; None where it must not be used at all."""
        return {"fp32": self.fp32, "fp16": self.fp16, "int8": self.int8}[precision]


class FileFact(Part):
    """What a file must be."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1, le=FILE_LIMIT_BYTES)]


class Manifest(Part):
    """All that is said of a bundle; its bytes are what is signed."""

    format: Literal[1]
    task: Name
    version: Annotated[str, Field(pattern=r"^\d{1,5}\.\d{1,5}\.\d{1,5}$")]
    graphs: Annotated[dict[Name, Graph], Field(min_length=1, max_length=8)]
    preprocessing: RecipeName
    postprocessing: RecipeName
    parameters: dict[str, float | int | str | tuple[float, ...]] = Field(default_factory=dict)
    """For the recipes: percentiles, spacings in mm, window sizes; the recipe says what each means."""
    thresholds: dict[str, float]
    anchors: tuple[tuple[float, ...], ...] = ()
    """Sizes of the anchors in the order of the graph's output, in the unit that the recipe names."""
    intended_use: Words
    limits: Words
    trained_on: Literal["synthetic phantom", "patients"]
    """Weights that saw phantoms alone are refused on patients, unless a node is set up for research."""
    training_data: Words
    metrics: dict[str, float]
    golden: Annotated[tuple[GoldenCase, ...], Field(min_length=1, max_length=16)]
    tolerance: Tolerance
    files: Annotated[dict[FileName, FileFact], Field(min_length=1, max_length=FILES_LIMIT)]
    """Every file of the bundle but the manifest."""

    @model_validator(mode="after")
    def _is_whole(self) -> "Manifest":
        named = {file for graph in self.graphs.values() for file in graph.files.values()}
        named |= {case.file for case in self.golden}
        if named - self.files.keys():
            raise ValueError(f"not among the files: {', '.join(sorted(named - self.files.keys()))}")
        if MANIFEST in self.files:
            raise ValueError("the manifest cannot have its own hash")
        tested = {case.graph for case in self.golden}
        if tested != self.graphs.keys():
            raise ValueError("each graph needs a golden case, and each case a graph")
        return self

    @property
    def target(self) -> str:
        """The name under which this bundle is signed."""
        return target(self.task, self.version)

    @property
    def is_for_research(self) -> bool:
        """Whether its weights saw phantoms alone."""
        return self.trained_on == PHANTOM

    def precisions(self) -> list[Precision]:
        """Return the precisions in which every graph exists and the manifest allows a difference."""
        all_of_them: list[Precision] = ["fp32", "fp16", "int8"]
        return [
            each
            for each in all_of_them
            if self.tolerance.of(each) is not None and all(each in graph.files for graph in self.graphs.values())
        ]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A manifest with the id that its bytes give it."""

    bundle_id: str
    """SHA-256 of the manifest: names the bundle and all of its content."""
    manifest: Manifest
    raw: bytes = field(repr=False)


def target(task: str, version: str) -> str:
    """Return the name under which a version of a task's bundle is signed."""
    return f"{task}/{version}/{MANIFEST}"


def parse(raw: bytes) -> Bundle:
    """Return the bundle that a manifest describes.

    Raises:
        BundleRefused: it is no manifest, or promises what cannot be.
    """
    if len(raw) > MANIFEST_LIMIT_BYTES:
        raise BundleRefused(Refusal.MANIFEST_UNFIT, f"{len(raw)} bytes")
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(key) for key in first["loc"]) or MANIFEST
        raise BundleRefused(Refusal.MANIFEST_UNFIT, f"{place}: {first['msg']}") from error
    return Bundle(hashlib.sha256(raw).hexdigest(), manifest, raw)

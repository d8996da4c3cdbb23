"""Model bundles: the archive, its manifest, the graph and the golden cases, as a node reads them from a stranger."""

import shutil
from collections.abc import Callable, Iterable

from telemed import bundle_golden, bundle_graph
from telemed.bundle import BundleRefused, Refusal, parse
from telemed.bundle_archive import Archive

from edge_node.inference.trust import Trust
from tests.fakes import bundles
from tests.fakes.bundles import Maker
from tests.fuzz.target import Target, scratch
from tests.telemed.test_bundle_graph import GRAPH

_FOLDER = scratch()
_MAKER = Maker(_FOLDER / "maker")
_BUNDLE = _MAKER.pack()
_ROOT = _MAKER.root
_GOLDEN = next((_MAKER.folder / "draft-1" / "golden").iterdir()).read_bytes()


def _refused(read: Callable[[], object]) -> bool:
    """Return whether something is refused by a reason that exists; whatever else it raises breaks the promise."""
    try:
        read()
    except BundleRefused as refused:
        return refused.reason in Refusal
    return False


def archive(data: bytes) -> None:
    """Pass where a file is refused, or believed and then unpacked as it was signed."""
    path, place = _FOLDER / "a.bundle", _FOLDER / "out"
    path.write_bytes(data)
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(_FOLDER / "trust", ignore_errors=True)

    def take() -> None:
        with Archive(path) as opened:
            bundle = parse(opened.manifest())
            Trust(_FOLDER / "trust", _ROOT).check(opened, bundle)
            opened.unpack(bundle, place)

    if not _refused(take):
        assert (place / "net.onnx").read_bytes() == bundles.blur().SerializeToString()
    outside = {found.name for found in _FOLDER.iterdir()}
    assert outside <= {"maker", "a.bundle", "out", "trust", "graph", "0.npz"}


def manifest(data: bytes) -> None:
    """Pass where a manifest is refused, or says only what a manifest may say."""
    _refused(lambda: parse(data))


def graph(data: bytes) -> None:
    """Pass where a graph is refused, or has only operators of the list."""
    if not _refused(lambda: bundle_graph.check("net.onnx", data, GRAPH)):
        assert bundle_graph.operators(data) <= bundle_graph.OPERATORS


def golden(data: bytes) -> None:
    """Pass where golden cases are refused, or are the arrays of the graph."""
    path = _FOLDER / "0.npz"
    path.write_bytes(data)
    _refused(lambda: bundle_golden.read(path, GRAPH))


def _manifests() -> Iterable[bytes]:
    with Archive(_BUNDLE) as opened:
        yield opened.manifest()


BUNDLE = Target(
    "bundle", "Refused with a reason, or unpacked as it was signed; nothing lands elsewhere.", archive,
    lambda: [_BUNDLE.read_bytes()], 32_768,
)  # fmt: skip
MANIFEST = Target("manifest", "Refused with the place, or a manifest.", manifest, _manifests, 16_384)
ONNX = Target(
    "onnx", "Refused with a reason, or a plain graph of allowed operators.", graph,
    lambda: [bundles.blur().SerializeToString(), bundles.divided().SerializeToString()],
)  # fmt: skip
GOLDEN = Target("golden", "Refused with a reason, or the arrays of the graph.", golden, lambda: [_GOLDEN], 8192)

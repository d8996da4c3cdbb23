"""A maker of bundles, a bundle that lies unpacked, and what a worker may use."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto
from telemed.bundle import Bundle, parse
from telemed.bundle_archive import Archive

from deploy.bundles import packing
from edge_node.inference.worker import Means
from tests.fakes.bundles import Maker, draft


@dataclass(frozen=True, slots=True)
class Laid:
    """A bundle and its folder."""

    bundle: Bundle
    folder: Path


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
def means(tmp_path: Path) -> Means:
    return Means(threads=1, memory_mib=1024, cache=tmp_path / "engines")


def lay(maker: Maker, graph: ModelProto | bytes | None = None, **changes: Any) -> Laid:
    """Return a bundle that lies unpacked; nobody looked into its graph."""
    folder = maker.fill(graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.bundles.packing.bundle_graph.check", lambda *_: None)
        bundle = packing.complete(draft(**changes), folder)
    (folder / "manifest.json").write_bytes(bundle.raw)
    return Laid(bundle, folder)


def unpacked(path: Path, folder: Path) -> Laid:
    """Unpack a bundle's file."""
    with Archive(path) as archive:
        bundle = parse(archive.manifest())
        archive.unpack(bundle, folder)
    return Laid(bundle, folder)

"""What the released models are laid out as for signing is what a node would take, and says what was released."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: golden answers are not made here")

from telemed import bundle_golden
from telemed.bundle import PHANTOM, Bundle, BundleRefused
from telemed.recipes import cmb_bundle

from deploy.bundles import packing
from models.tasks.cmb import bundling
from models.tasks.cmb.graphs import onnx_graph
from models.tasks.cmb.released import FOLDER, opened

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("bundle") / "cmb"
    bundling.fill(found)
    return found


@pytest.fixture(scope="module")
def draft(folder: Path) -> dict[str, Any]:
    return packing.draft_in(folder)


@pytest.fixture(scope="module")
def bundle(folder: Path, draft: dict[str, Any]) -> Bundle:
    return packing.complete(draft, folder)


def test_the_manifest_says_of_the_recipes_what_was_released(bundle: Bundle) -> None:
    assert cmb_bundle.settings_in(bundle.manifest) == opened(FOLDER / "detector.onnx").settings
    assert cmb_bundle.regions_window_in(bundle.manifest) == (16, 48, 48)
    assert bundle.manifest.trained_on == PHANTOM
    assert bundle.manifest.version == json.loads((FOLDER / "detector.json").read_text(encoding="utf-8"))["version"]


def test_golden_answers_are_those_of_the_released_graph(folder: Path, bundle: Bundle) -> None:
    graph = bundle.manifest.graphs[cmb_bundle.DETECTOR]
    case = bundle_golden.read(folder / "golden/detector-100.npz", graph)
    said = onnx_graph(FOLDER / "detector.onnx")(case.inputs[cmb_bundle.DETECTOR_INPUT])
    outputs = {cmb_bundle.OBJECTNESS: said.objectness, cmb_bundle.DELTAS: said.deltas}
    assert bundle_golden.largest_difference(graph.outputs, outputs, case.outputs) < bundling.TOLERANCE["fp32"]


def test_a_version_of_ones_own_may_be_given_and_a_folder_is_never_written_over(folder: Path, tmp_path: Path) -> None:
    assert bundling.fill(tmp_path / "cmb", "1.2.3")["version"] == "1.2.3"
    with pytest.raises(FileExistsError):
        bundling.fill(folder)


def test_a_draft_without_words_in_both_languages_is_refused(folder: Path, draft: dict[str, Any]) -> None:
    with pytest.raises(BundleRefused):
        packing.complete(draft | {"limits": {"en": "only one"}}, folder)

"""The released detector is the one that was measured, and still measures so: without torch, in seconds."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: released graphs are not measured here")

from telemed.ai_result import PHANTOM
from telemed.recipes.cmb_regions import layout, region_map

from models.detection.froc import false_above, sensitivity_at
from models.phantoms.swi_head import head
from models.tasks.cmb.cases import TEST_SEEDS, Case, cases
from models.tasks.cmb.evaluation import Read, read
from models.tasks.cmb.graphs import onnx_graph, region_graph
from models.tasks.cmb.region_overlap import dice
from models.tasks.cmb.released import FOLDER, Altered, Released, opened

pytestmark = pytest.mark.timeout(180)
GRAPH = FOLDER / "detector.onnx"
METRICS = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
SAMPLE = json.loads((FOLDER / "sample.json").read_text(encoding="utf-8"))
"""What was found in the first test heads when the detector was released."""


@pytest.fixture(scope="module")
def released() -> Released:
    """The released detector."""
    return opened(GRAPH)


@pytest.fixture(scope="module")
def subjects(released: Released) -> tuple[Case, ...]:
    """The first test heads."""
    return cases("hard", TEST_SEEDS[: len(SAMPLE)], released.settings)


@pytest.fixture(scope="module")
def reads(released: Released, subjects: tuple[Case, ...]) -> tuple[Read, ...]:
    """What the released detector says of them."""
    return read(released.graph, subjects, released.settings)


def test_the_graph_the_weights_the_figures_and_the_card_belong_together(released: Released) -> None:
    assert released.side_car["weights_sha256"] == METRICS["weights_sha256"]
    assert METRICS["weights_sha256"] in (FOLDER / "CARD.md").read_text(encoding="utf-8")
    assert released.settings.threshold == METRICS["threshold"]
    assert released.side_car["training_data"] == METRICS["training_data"] == PHANTOM


def test_the_detector_says_of_the_first_test_heads_what_it_said_when_it_was_released(reads: tuple[Read, ...]) -> None:
    said = [
        [[*candidate.centre_mm, candidate.logit] for candidate in each.candidates[: len(wanted)]]
        for each, wanted in zip(reads, SAMPLE, strict=True)
    ]
    for now, then in zip(said, SAMPLE, strict=True):
        assert np.array(now) == pytest.approx(np.array(then), abs=2e-3)


def test_the_threshold_still_finds_what_the_figures_say(released: Released, reads: tuple[Read, ...]) -> None:
    judged = [each.judged for each in reads]
    threshold = released.settings.threshold
    # Six heads of sixty: as near as the draw of so few may be expected to lie.
    assert sensitivity_at(judged, threshold) > METRICS["test"]["sensitivity"]["value"] - 0.3
    assert false_above(judged, threshold) < 3 * METRICS["test"]["false"]["value"] + 1


def test_one_altered_byte_is_noticed(tmp_path: Path) -> None:
    spoilt = bytearray(GRAPH.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    (tmp_path / "detector.onnx").write_bytes(spoilt)
    (tmp_path / "detector.json").write_bytes(GRAPH.with_suffix(".json").read_bytes())
    with pytest.raises(Altered):
        opened(tmp_path / "detector.onnx")


def test_the_graph_is_small_enough_to_travel() -> None:
    assert GRAPH.stat().st_size < 2_000_000
    assert (FOLDER / "weights.safetensors").stat().st_size < 2_000_000


def test_a_window_of_nothing_is_no_bleed(released: Released) -> None:
    nothing = np.zeros((1, 2, 48, 48, 48), dtype=np.float32)
    assert float(onnx_graph(GRAPH)(nothing).objectness.max()) < np.log(
        released.settings.threshold / (1 - released.settings.threshold)
    )


def test_the_regions_that_are_released_are_those_that_were_measured() -> None:
    graph = FOLDER / "regions.onnx"
    side_car = json.loads(graph.with_suffix(".json").read_text(encoding="utf-8"))
    metrics = json.loads((FOLDER / "regions-metrics.json").read_text(encoding="utf-8"))
    weights = hashlib.sha256((FOLDER / "regions.safetensors").read_bytes()).hexdigest()
    assert hashlib.sha256(graph.read_bytes()).hexdigest() == side_car["graph"]["sha256"]
    assert weights == side_car["weights_sha256"] == metrics["weights_sha256"]
    assert weights in (FOLDER / "REGIONS-CARD.md").read_text(encoding="utf-8")
    assert side_car["training_data"] == PHANTOM


def test_the_released_regions_still_overlap_with_the_truth_as_asked(subjects: tuple[Case, ...]) -> None:
    graph = region_graph(FOLDER / "regions.onnx")
    told, truth = [], []
    for seed, case in zip(TEST_SEEDS, subjects, strict=False):
        seen = layout(case.prepared, (16, 48, 48))
        told.append(region_map([graph(window) for window in seen.inputs()], seen, case.prepared))
        truth.append(head(seed, "hard").regions)
    assert min(dice(told, truth).values()) > 0.85

"""The comparison of arms tells failures as such, and the committed one keeps its promises."""

import json
from typing import Any

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: released graphs are not measured here")

from models.tasks.cmb.ablation_report import number, told, verdict
from models.tasks.cmb.released import FOLDER


def figures(at_90: float | None, sensitivity: float, false: float) -> dict[str, Any]:
    """Return figures as a run writes them."""
    return {
        "false_at_90": {"value": at_90, "low": at_90, "high": None},
        "sensitivity": {"value": sensitivity, "low": 0.8, "high": 1.0},
        "false": {"value": false, "low": false, "high": false},
        "false_by_kind": {"vessel": 1.25, "noise": 0.5},
        "false_by_kind_at_90": {"calcium": 0.75},
    }


RECORD: dict[str, Any] = {
    "preset": "hard",
    "steps": 400,
    "schedule": {"heads": 16, "steps": 400, "batch": 8, "crop_voxels": 24},
    "machine": ["cpu, one thread, torch 2.13.0"],
    "heads": 60,
    "pooled": [{"arm": "rpn", "mean": 5.5, "false_at_90": 5.25}],
    "magnitude": [{"arm": "rpn", "seed": 0, "threshold": 0.3, "test": figures(9.0, 0.9, 8.0)}],
    "rows": [{"arm": "rpn", "seed": 0, "threshold": 0.31, "test": figures(5.5, 0.9, 4.0)}],
    "compared": [
        {
            "earlier": "rpn",
            "later": "ffm",
            "mean": 0.5,
            "each": [0.5, None],
            "intervals": [[-0.1, 1.0], [None, None]],
        }
    ],
    "filter": {
        "seed": 0,
        "regions_sha256": "ab" * 32,
        "pooled": [{"arm": "rpn", "false_at_90": None}],
        "rows": [
            {
                "arm": "rpn",
                "seed": 0,
                "test": figures(None, 0.88, 3.0),
                "regions": {"dice": {"lobar": 0.97}, "accuracy": 0.95, "found": 100},
            }
        ],
    },
    "distorted": [{"arm": "rpn", "seed": 0, "how": "no-phase", "test": figures(None, 0.5, 6.0)}],
}


def test_the_report_tells_figures_intervals_and_what_went_the_wrong_way() -> None:
    page = told(RECORD)
    assert "| rpn | 0 | 5.50 (5.50 to not reached) | 0.31 | 0.90 (0.80 to 1.00) | 4.00 (4.00 to 4.00) |" in page
    assert "vessel 1.25, noise 0.50" in page
    assert (
        "ffm against rpn: 0.50 (each seed 0.50, not reached; 80 % -0.10 to 1.00, not reached to not reached): NOT"
        in page
    )
    assert "| 25 % | 0.950 of 100 | lobar 0.970 |" in page
    assert "| rpn | 0 | no-phase |" in page
    assert "16 heads in 400 steps of 8 crops of 24 voxels, by cpu, one thread, torch 2.13.0." in page
    assert "| rpn | 5.50 | 5.25 |" in page
    assert "- rpn: 5.25 and not reached" in page
    assert "| rpn | 0 | 9.00 (9.00 to not reached) | calcium 0.75 | calcium 0.75 |" in page


@pytest.mark.parametrize(
    ("mean", "highest", "wanted"),
    [
        (-1.0, [-0.1, -0.2], "fewer"),
        (-1.0, [-0.1, 0.2], "fewer, but not beyond chance"),
        (0.5, [-0.1, 2.0], "NOT fewer"),
        (-1.0, [-0.1, None], "fewer, but not beyond chance"),
        (None, [1.0], "0.90 is not reached by one of them"),
    ],
)
def test_a_difference_is_claimed_only_where_no_seed_leaves_room_for_chance(
    mean: float | None, highest: list[float | None], wanted: str
) -> None:
    assert verdict(mean, highest) == wanted


def test_what_was_not_reached_is_no_number() -> None:
    assert number(float("inf")) is None
    assert number(1.23456) == 1.235


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    """The comparison that the repository carries."""
    record: dict[str, Any] = json.loads((FOLDER / "ablation.json").read_text(encoding="utf-8"))
    return record


def test_the_hard_preset_is_hard_enough_with_the_sixteen_heads_that_it_was_made_for() -> None:
    comparisons = json.loads((FOLDER / "comparisons.json").read_text(encoding="utf-8"))
    (few,) = [each for each in comparisons if each["preset"] == "hard"]
    assert few["schedule"]["heads"] == 16
    plain = [row["test"]["false_at_90"]["value"] for row in few["rows"] if row["arm"] == "rpn"]
    assert len(plain) == 3
    assert 3 <= sum(plain) / len(plain) <= 15


def test_the_arm_with_everything_finds_what_is_asked_with_few_enough_false_ones(committed: dict[str, Any]) -> None:
    assert len(committed["rows"]) == 9
    (before,) = [row["false_at_90"] for row in committed["pooled"] if row["arm"] == "ffm-hspl"]
    (after,) = [row["false_at_90"] for row in committed["filter"]["pooled"] if row["arm"] == "ffm-hspl"]
    assert before <= 2.0
    assert after <= 1.0


def test_without_phase_calcium_is_taken_for_blood_at_least_twice_as_often(committed: dict[str, Any]) -> None:
    usual = {row["seed"]: row["test"] for row in committed["rows"] if row["arm"] == "ffm-hspl"}
    for row in committed["magnitude"]:
        without, with_phase = (
            each["false_by_kind_at_90"].get("calcium", 0.0) for each in (row["test"], usual[row["seed"]])
        )
        assert without >= 2 * with_phase > 0


def test_the_committed_page_is_the_committed_figures(committed: dict[str, Any]) -> None:
    assert (FOLDER / "ABLATION.md").read_text(encoding="utf-8") == told(committed)

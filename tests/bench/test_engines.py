"""The committed figures of the engines are those of the page, and keep what is asked where they do."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed: engines are not compared here")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: engines are not compared here")

from bench import engines
from bench.engines_graphs import candidates
from edge_node.inference.engine import Library

MACHINES = json.loads((engines.HERE / "engines.json").read_text(encoding="utf-8"))


def test_the_committed_page_is_the_committed_figures() -> None:
    assert (engines.HERE / "engines.md").read_text(encoding="utf-8") == engines.page(MACHINES)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["facts"]["device"])
def test_single_precision_is_right_on_every_engine(machine: dict[str, list[dict[str, Any]]]) -> None:
    apart = [row["difference"] for row in machine["rows"] if row["precision"] == "fp32"]
    assert apart
    assert max(apart) < 1e-4


def test_on_a_processor_onnx_runtime_is_as_much_faster_than_torch_as_is_asked() -> None:
    (rows,) = [each["rows"] for each in MACHINES if not any("cuda" in row["engine"] for row in each["rows"])]
    for row in rows:
        if row["engine"] == "onnxruntime-cpu":
            assert row["faster"] >= (2.0 if row["dimensions"] == 2 else 1.3)


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore")  # the exporter warns of what it calls itself; the bench ignores them too
def test_the_smallest_graph_runs_by_turns_and_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "ROUNDS", 1)
    monkeypatch.setattr(engines, "LEAST_TURN_S", 0.0)
    made = next(iter(candidates(tmp_path)))
    run = engines._of_product(made, Library.ONNXRUNTIME_CPU, "fp32", 1, tmp_path)
    eager = engines._of_torch(made.network, made, "cpu")
    rows = list(engines._by_turns(made, {(engines.EAGER, "fp32"): eager, ("x", "fp32"): run}, eager()))
    assert [row.engine for row in rows] == [engines.EAGER, "x"]
    assert rows[0].faster == 1.0
    assert max(row.difference for row in rows) < 1e-4

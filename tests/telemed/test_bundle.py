"""What a manifest may say, and what becomes of one that says something else."""

import json
from typing import Any

import pytest
from telemed.bundle import REFUSALS, BundleRefused, Refusal, parse

from tests.fakes.bundles import draft

FACT = {"sha256": "0" * 64, "size_bytes": 1}


def raw(**changes: Any) -> bytes:
    files = {"net.onnx": FACT, "golden/0.npz": FACT}
    return json.dumps({"format": 1, **draft(), "files": files, **changes}).encode()


def graph(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = draft()["graphs"]["net"]
    return {"net": made | changes}


def fault(content: bytes) -> str:
    with pytest.raises(BundleRefused) as refused:
        parse(content)
    assert refused.value.reason is Refusal.MANIFEST_UNFIT
    return refused.value.detail


def test_a_bundle_is_named_by_the_hash_of_its_manifest() -> None:
    one, other = parse(raw()), parse(raw(version="1.0.1"))
    assert one.bundle_id == parse(raw()).bundle_id
    assert one.bundle_id != other.bundle_id
    assert one.manifest.target == "blur/1.0.0/manifest.json"
    assert one.manifest.is_for_research


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"\x80", "manifest.json"),
        (b"[" * 100_000, "manifest.json"),
        (b'"' + b"x" * 2**20 + b'"', "bytes"),
        (raw(format=2), "format"),
        (raw(task="../etc"), "task"),
        (raw(version="1"), "version"),
        (raw(code="import os"), "code"),
        (raw(trained_on="someone"), "trained_on"),
        (raw(thresholds={"score": float("nan")}), "thresholds.score"),
        (raw(files={"net.onnx": FACT}), "golden/0.npz"),
        (raw(files={"net.onnx": FACT, "golden/0.npz": FACT, "../../x.onnx": FACT}), "files"),
        (raw(files={"net.onnx": FACT, "golden/0.npz": FACT, "/etc/x.onnx": FACT}), "files"),
        (raw(files={"net.onnx": FACT, "golden/0.npz": FACT, "manifest.json": FACT}), "manifest"),
        (raw(golden=[{"graph": "other", "file": "golden/0.npz"}]), "golden case"),
        (raw(golden=[]), "golden"),
        (raw(graphs={}), "graphs"),
        (raw(graphs=graph(files={"fp16": "net.onnx"})), "fp32"),
        (raw(graphs=graph(deadline_s=0)), "deadline_s"),
        (raw(graphs=graph(inputs=[{"name": "image", "shape": [0], "dtype": "float32", "unit": "1"}])), "shape"),
        (raw(graphs=graph(inputs=[{"name": "a", "shape": [2**20] * 3, "dtype": "float32", "unit": "1"}])), "over"),
        (raw(graphs=graph(inputs=[{"name": "a", "shape": [1], "dtype": "float32", "unit": "1"}] * 2)), "one name"),
        (raw(graphs=graph(inputs=[{"name": "a", "shape": ["n"], "dtype": "float32", "unit": "1"}])), "shape"),
        (raw(graphs=graph(inputs=[{"name": "a", "shape": [1], "dtype": "object", "unit": "1"}])), "dtype"),
    ],
)
def test_a_manifest_that_says_what_it_must_not_is_refused_with_the_place(content: bytes, place: str) -> None:
    assert place in fault(content)


def test_a_precision_needs_a_file_of_every_graph_and_a_tolerance() -> None:
    files = {"net.onnx": FACT, "half.onnx": FACT, "int.onnx": FACT, "golden/0.npz": FACT}
    graphs = graph(files={"fp32": "net.onnx", "fp16": "half.onnx", "int8": "int.onnx"})
    tolerance = {"fp32": 1e-4, "fp16": 1e-2}
    bundle = parse(raw(files=files, graphs=graphs, tolerance=tolerance))
    # No tolerance for int8: that gate is shut.
    assert bundle.manifest.precisions() == ["fp32", "fp16"]
    assert parse(raw(files=files, graphs=graphs)).manifest.precisions() == ["fp32"]


@pytest.mark.parametrize("reason", Refusal)
def test_each_reason_has_words_in_both_languages(reason: Refusal) -> None:
    zh, en = REFUSALS[reason]
    assert zh
    assert en
    assert any(ord(letter) > 0x2E80 for letter in zh)

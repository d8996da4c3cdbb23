"""Golden cases are read as the very arrays that a graph has, or not at all."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from telemed import bundle_golden
from telemed.bundle import BundleRefused, Graph, Refusal, Tensor
from telemed.bundle_golden import Array, Arrays, Case

TENSOR = Tensor(name="image", shape=(2, 3), dtype="float32", unit="1")
OUT = Tensor(name="out", shape=(1,), dtype="int64", unit="1")
GRAPH = Graph(files={"fp32": "net.onnx"}, inputs=(TENSOR,), outputs=(OUT,), deadline_s=1.0)
IMAGE, ANSWER = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([3], np.int64)


def refusal(path: Path) -> Refusal:
    with pytest.raises(BundleRefused) as refused:
        bundle_golden.read(path, GRAPH)
    return refused.value.reason


def test_what_was_written_is_read(tmp_path: Path) -> None:
    bundle_golden.write(tmp_path / "0.npz", Case({"image": IMAGE}, {"out": ANSWER}))
    case = bundle_golden.read(tmp_path / "0.npz", GRAPH)
    assert np.array_equal(case.inputs["image"], IMAGE)
    assert np.array_equal(case.outputs["out"], ANSWER)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (IMAGE.astype(np.float64), Refusal.SHAPE_WRONG),
        (IMAGE.T, Refusal.SHAPE_WRONG),
        (IMAGE * np.float32("nan"), Refusal.NOT_FINITE),
        (np.zeros((1000, 1000), np.float32), Refusal.MANIFEST_UNFIT),
        (np.array([{"a": 1}], dtype=object), Refusal.MANIFEST_UNFIT),
    ],
    ids=["another type", "another shape", "not finite", "too large", "pickled"],
)
def test_another_array_than_the_graph_takes_is_refused(tmp_path: Path, image: Array, reason: Refusal) -> None:
    named: dict[str, Any] = {"in:image": image, "out:out": ANSWER}
    np.savez(tmp_path / "0.npz", **named)
    assert refusal(tmp_path / "0.npz") is reason


def test_an_array_too_many_or_too_few_is_refused(tmp_path: Path) -> None:
    few: dict[str, Any] = {"in:image": IMAGE}
    np.savez(tmp_path / "0.npz", **few)
    assert refusal(tmp_path / "0.npz") is Refusal.MANIFEST_UNFIT
    many: dict[str, Any] = {"in:image": IMAGE, "out:out": ANSWER, "more": ANSWER}
    np.savez(tmp_path / "0.npz", **many)
    assert refusal(tmp_path / "0.npz") is Refusal.MANIFEST_UNFIT


def test_a_file_of_kilobytes_that_unpacks_to_much_more_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "0.npz", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("in:image.npy", bytes(100_000_000))
        out.writestr("out:out.npy", b"")
    assert (tmp_path / "0.npz").stat().st_size < 200_000
    assert refusal(tmp_path / "0.npz") is Refusal.MANIFEST_UNFIT


def test_arrays_that_are_too_large_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle_golden.write(tmp_path / "0.npz", Case({"image": IMAGE}, {"out": ANSWER}))
    with zipfile.ZipFile(tmp_path / "0.npz") as file:
        all_bytes = sum(entry.file_size for entry in file.infolist())
    monkeypatch.setattr(bundle_golden, "CASE_LIMIT_BYTES", all_bytes)
    bundle_golden.read(tmp_path / "0.npz", GRAPH)
    monkeypatch.setattr(bundle_golden, "CASE_LIMIT_BYTES", all_bytes - 1)
    assert refusal(tmp_path / "0.npz") is Refusal.MANIFEST_UNFIT


def test_the_largest_difference_is_over_all_outputs() -> None:
    given: Arrays = {"image": IMAGE, "out": ANSWER}
    right: Arrays = {"image": IMAGE + np.float32(0.5), "out": ANSWER - 2}
    assert bundle_golden.largest_difference((TENSOR, OUT), given, right) == 2.0
    assert bundle_golden.largest_difference((TENSOR,), given, right) == 0.5

"""Files that are to be imported, and what they are made into."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from edge_node.importing import kinds, making
from edge_node.importing.order import Order, Subject
from tests.edge_node.importing.volume_writing import Phantom

SUBJECT = Subject("P-51018201-0093", "BAOSHAN", "示例^患者", "19520314", "F")
Make = Callable[..., list[Dataset]]


def order_of(path: Path, **changes: Any) -> Order:
    """Return the order to import a file, as the node would give it."""
    head = path.read_bytes()
    kind = kinds.kind_of(path.name, head[: kinds.HEAD_BYTES])
    usual = Order(
        str(path.parent), str(path), kind, hashlib.sha256(head).hexdigest(), SUBJECT, "", "", "头颅 head", "20261120",
        "edge-clinic", "2026-11-27T03:50:00+08:00", 2048, "0.1.0",
    )  # fmt: skip
    return replace(usual, **changes)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a file and return the objects that are made of it; `beside` is the one that it names."""

    def made(name: str, content: bytes, beside: tuple[str, bytes] = ("", b""), **changes: Any) -> list[Dataset]:
        (tmp_path / name).write_bytes(content)
        if beside[0]:
            (tmp_path / beside[0]).write_bytes(beside[1])
        return list(making.made_of(order_of(tmp_path / name, **changes)))

    return made


@pytest.fixture
def faults(tmp_path: Path) -> Callable[[Dataset], list[str]]:
    """Return the errors that dciodvfy finds in an object."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")

    def found(made: Dataset) -> list[str]:
        path = tmp_path / "looked-at.dcm"
        made.save_as(path, enforce_file_format=True)
        done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=20, check=False)
        return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]

    return found


def shows(images: Sequence[Dataset], phantom: Phantom) -> None:
    """Assert that each voxel of a phantom has its value at its place, and nothing else is there."""
    assert len(images) == phantom.voxels.shape[0]
    seen: dict[tuple[float, ...], float] = {}
    for image in images:
        row, column = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
        rows_mm, columns_mm = (float(each) for each in image.PixelSpacing)
        first = np.array(image.ImagePositionPatient, float)
        values = image.pixel_array * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0))
        for at, value in np.ndenumerate(values):
            place = first + row * columns_mm * at[1] + column * rows_mm * at[0]
            seen[tuple(np.round(place, 2) + 0.0)] = value
    expected = {
        tuple(np.round(phantom.place_mm(at), 2) + 0.0): float(value) for at, value in np.ndenumerate(phantom.voxels)
    }
    assert seen == expected


def written(images: Sequence[Dataset], folder: Path) -> list[str]:
    """Write images as files, and return their names."""
    folder.mkdir()
    for image in images:
        image.save_as(folder / image.SOPInstanceUID, enforce_file_format=True)
        assert dcmread(folder / image.SOPInstanceUID).SOPInstanceUID == image.SOPInstanceUID
    return [str(folder / image.SOPInstanceUID) for image in images]

"""What a node makes of a made-up head that a model read: the very files, by the node's own writer."""

import io
from pathlib import Path

from telemed.bundle import AI_MARK, RESEARCH_MARK

from edge_node.findings import writer
from edge_node.findings.documents import ModelSaid, Write
from edge_node.findings.pipe import Found
from tests.fakes import swi_dicom

MODEL = ModelSaid(
    "cmb", "0.1.0", "a" * 64, "c" * 64, "synthetic phantom", 0.23, "onnxruntime-cpu/fp32", ("限制", "limits"),
    [AI_MARK, RESEARCH_MARK], True,
)  # fmt: skip


def objects(folder: Path, findings: int) -> list[bytes]:
    """Return the files of the results, the report first; the images lie in the folder."""
    files = swi_dicom.written(folder)
    half = len(files) // 2
    found = [
        Found("cerebral-microbleed", (1.5 + 8 * n, -2.25, 3.0 + n), 3.0, 0.8412, files[13 + n].stem, "lobar")
        for n in range(findings)
    ]
    write = Write(
        str(folder), [str(each) for each in files[:half]], [str(each) for each in files[half:]],
        (swi_dicom.STUDY, "a" * 64, "b" * 64), MODEL, found, ("混合", "Mixed"), "",
        "2026-11-27T03:50:00+08:00", "edge-clinic", 2048,
    )  # fmt: skip
    return [as_file(each) for each in writer.made_of(write)]


def as_file(made: object) -> bytes:
    """Return a data set as the bytes of its file."""
    whole = io.BytesIO()
    made.save_as(whole, enforce_file_format=True)  # type: ignore[attr-defined]
    return whole.getvalue()

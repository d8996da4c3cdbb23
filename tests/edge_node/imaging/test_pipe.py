"""Lines between node and receiver."""

import json
from dataclasses import asdict

import pytest

from edge_node.imaging.pipe import Configure, Judged, Line, Ready, Refused, pack, unpack
from tests.edge_node.imaging.test_rows import stored

LINES: list[Line] = [
    Configure("/f", "YUANZHEN", ["CT"], 2, 100, 0.8, 1.5, 2.5),
    Ready(),
    stored(),
    Judged(1, "new"),
    Refused("too-deep"),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_is_read_as_it_was_written(line: Line) -> None:
    assert unpack(pack(line)) == line


def spoilt(**change: object) -> bytes:
    return json.dumps({"type": "stored", **asdict(stored()), **change}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"rubbish",
        b"[]",
        b'{"type": "format-disk"}',
        b'{"type": "ready", "pid": 7}',
        b'{"type": "refused"}',
        b'{"type": "refused", "reason": []}',
        b'{"type": "refused", "reason": "\\ud800"}',
        b"[" * 60_000,
        spoilt(content={"patient_name": "\ud800"}),
        spoilt(sender="\ud800"),
        spoilt(sha256="../../etc/passwd"),
        spoilt(sha256="A" * 64),
        spoilt(size_bytes=-1),
        spoilt(size_bytes="1"),
        spoilt(sender={"a": 1}),
        spoilt(sender="x" * 1000),
        spoilt(content={"rows": "4"}),
        spoilt(content={"patient_id": 4}),
        spoilt(content={"patient_id": "x" * 1000}),
        spoilt(content=[]),
    ],
)
def test_a_receiver_that_says_anything_else_is_not_heard(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a line between node and (child|receiver)"):
        unpack(raw)

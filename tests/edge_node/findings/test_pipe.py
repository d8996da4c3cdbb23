"""Lines between node and reader: what one says the other understands, and nothing else."""

import json

import pytest

from edge_node.findings.pipe import Ask, Fits, Found, Go, Line, Ran, Refused, Run, Told, Unfit, pack, unpack

FOUND = Found("cerebral-microbleed", (1.5, -2.0, 3.25), 3.1, 0.75, "1.2.3", "lobar")
LINES: list[Line] = [
    Ask({"task": "cmb"}, [("/images/a", "1.2.3")], 2048),
    Go("{}"),
    Ran(),
    Unfit(),
    Fits(["1.2.3"], ["1.2.4"]),
    Refused("phase-missing", "(3)"),
    Run("detector"),
    Told([FOUND], 2, ("仅脑叶", "Lobar only")),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_says_the_same_at_the_other_side(line: Line) -> None:
    assert unpack(pack(line)) == line


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": 1.5},
        {"confidence": float("nan")},
        {"centre_mm": [1, 2]},
        {"code": "x" * 65},
        {"region": "\ud800"},
        {"diameter_mm": "3"},
        {"diameter_mm": float("inf")},
        {"diameter_mm": 10**400},
    ],
    ids=["too-sure", "no-number", "two-numbers", "long-word", "half-a-letter", "text", "endless", "beyond-any"],
)
def test_a_finding_that_is_none_is_not_believed(change: dict[str, object]) -> None:
    said = json.loads(pack(LINES[-1]))
    said["findings"][0] |= change
    with pytest.raises(ValueError, match="not a line"):
        unpack(json.dumps(said).encode())


EMPTY = '{"type":"told","findings":[],"rejected":%s,"summary":%s}'


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"x", b"[]", b"{}", b'{"type":"told"}', b'{"type":"run"}', b'{"type":"fly"}'),
        *(b'{"type":"fits","magnitude":7,"phase":[]}', b'{"type":"refused","reason":[],"detail":""}'),
        *((EMPTY % (rejected, '["",""]')).encode() for rejected in ("Infinity", "[]", '"x"')),
        *((EMPTY % ("0", summary)).encode() for summary in ("7", "[]", '["",""," "]', '["",7]', r'["\ud800",""]')),
    ],
)
def test_what_is_no_line_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a line"):
        unpack(raw)

"""The table of bad inputs says only what a test shows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "bad-input.md"
PARTS = {
    # An archive that is written (a person's copy of their record) is none that somebody sent.
    "the first upload of archives": (
        (29,),
        r"\b(UploadFile|tarfile)\b|^from zipfile\b|\bzipfile\.(ZipFile|Path|is_zipfile)\((?!self\._outlet, \"w\")",
    ),
}
"""What does not exist yet: the rows that wait for it, and by what its code would be known."""
JOINING = {row: part for part, (waiting, _pattern) in PARTS.items() for row in waiting}
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> dict[int, str]:
    """Number of each row of the tables, and its last column."""
    cells = [line.split("|") for line in TABLE.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(row[1]): row[-2] for row in cells}


def test_all_forty_rows_are_there() -> None:
    assert sorted(rows()) == list(range(1, 41))


def test_every_row_names_a_test_on_running_processes_or_the_part_with_which_it_joins() -> None:
    untested = {number: shown_by.strip() for number, shown_by in rows().items() if "tests/flows/" not in shown_by}
    assert untested.keys() == JOINING.keys()
    assert all(untested[row].startswith(f"joins with {part}") for row, part in JOINING.items())


@pytest.mark.parametrize("part", PARTS)
def test_a_part_with_which_rows_join_is_not_there_yet(part: str) -> None:
    _rows, pattern = PARTS[part]
    sources = [path for side in ("edge_node", "cloud_hub") for path in (ROOT / side).rglob("*.py")]
    assert sources
    assert [path.name for path in sources if re.search(pattern, path.read_text(encoding="utf-8"), re.M)] == []


def test_every_named_test_exists() -> None:
    named = {test for shown_by in rows().values() for test in _NAMED.findall(shown_by)}
    assert named
    missing = [f"{path}::{name}" for path, name in sorted(named) if not _has_test(ROOT / path, name)]
    assert missing == []


def _has_test(path: Path, name: str) -> bool:
    return path.is_file() and re.search(rf"^(async )?def {name}\(", path.read_text(encoding="utf-8"), re.M) is not None

"""The table of bad inputs says only what a test shows."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "bad-input.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> dict[int, str]:
    """Number of each row of the tables, and its last column."""
    cells = [line.split("|") for line in TABLE.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(row[1]): row[-2] for row in cells}


def test_all_forty_rows_are_there() -> None:
    assert sorted(rows()) == list(range(1, 41))


def test_every_row_names_a_test_on_running_processes() -> None:
    assert {number: shown_by for number, shown_by in rows().items() if "tests/flows/" not in shown_by} == {}


def test_every_named_test_exists() -> None:
    named = {test for shown_by in rows().values() for test in _NAMED.findall(shown_by)}
    assert named
    missing = [f"{path}::{name}" for path, name in sorted(named) if not _has_test(ROOT / path, name)]
    assert missing == []


def _has_test(path: Path, name: str) -> bool:
    return path.is_file() and re.search(rf"^(async )?def {name}\(", path.read_text(encoding="utf-8"), re.M) is not None

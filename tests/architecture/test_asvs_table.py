"""The table of the security standard is complete, says only what a test shows, and counts right."""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "asvs.md").read_text(encoding="utf-8")
ASKED = Path(__file__).with_name("asvs_5_level_2.csv")
"""Number and level of every line of levels 1 and 2 of ASVS 5.0.0."""
STATES = ("met", "partly", "not met", "not applicable", "not judged yet")
_LINE = re.compile(r"^\| (\d+)\.(\d+)\.(\d+) \|")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    number: str
    level: str
    state: str
    how: str
    shown_by: str


def cells(row: str) -> list[str]:
    """Return what stands between the bars of a row."""
    return [cell.strip() for cell in row.strip("|\n").split("|")]


def lines(page: str) -> list[Line]:
    """Return the lines of the tables of the chapters, in their order."""
    rows = [cells(row) for row in page.splitlines() if _LINE.match(row)]
    return [Line(row[0], row[1], row[3], row[4], row[5]) for row in rows if len(row) == 6]


def asked() -> list[tuple[str, str]]:
    """Return (number, level) of every line that the standard has, in its order."""
    with ASKED.open(encoding="utf-8") as file:
        return [(row["number"], row["level"]) for row in csv.DictReader(file)]


def counts(page: str) -> dict[str, list[int]]:
    """Return chapter number, or "all", to the numbers at the top: of lines, then of each state."""
    found = [cells(row) for row in page.splitlines() if re.match(r"\| (V\d+ |all )", row)]
    return {row[0].split()[0].removeprefix("V"): [int(cell) for cell in row[1:]] for row in found}


def counted(page: str) -> dict[str, list[int]]:
    """Return the same as `counts`, counted anew from the lines."""
    table = lines(page)
    chapters = {line.number.split(".")[0]: Counter[str]() for line in table}
    for line in table:
        chapters[line.number.split(".")[0]][line.state] += 1
    chapters["all"] = Counter(line.state for line in table)
    return {name: [count.total(), *(count[state] for state in STATES)] for name, count in chapters.items()}


def worst(page: str) -> list[str]:
    """Return the numbers of the lines not met that matter most."""
    return [cells(row)[0] for row in page.splitlines() if _LINE.match(row) and len(cells(row)) == 3]


def unshown(page: str) -> list[str]:
    """Return the lines that are called met and name no test that there is."""
    return [line.number for line in lines(page) if line.state == "met" and not _is_shown(line.shown_by)]


def _is_shown(shown_by: str) -> bool:
    named = _TEST.findall(shown_by)
    return bool(named) and all(_has_test(ROOT / path, name) for path, name in named)


def _has_test(path: Path, name: str) -> bool:
    return path.is_file() and re.search(rf"^(async )?def {name}\(", path.read_text(encoding="utf-8"), re.M) is not None


def test_every_line_of_the_standard_is_there_once_with_its_level() -> None:
    assert [(line.number, line.level) for line in lines(PAGE)] == asked()


def test_the_list_of_the_standard_has_what_its_first_page_says() -> None:
    levels = Counter(level for _, level in asked())
    assert levels == {"1": 70, "2": 183}
    order = [[int(part) for part in number.split(".")] for number, _ in asked()]
    assert all(earlier < later for earlier, later in pairwise(order))


def test_every_line_has_a_state_and_says_how_it_stands() -> None:
    assert [line.number for line in lines(PAGE) if line.state not in STATES or len(line.how) < 3] == []


def test_what_is_called_met_names_a_test_that_there_is() -> None:
    assert unshown(PAGE) == []


def test_every_test_that_is_named_is_there() -> None:
    assert [f"{path}::{name}" for path, name in _TEST.findall(PAGE) if not _has_test(ROOT / path, name)] == []


def test_the_counts_at_the_top_fit() -> None:
    assert counts(PAGE) == counted(PAGE)


def test_the_lines_that_are_not_met_stand_at_the_top_ten_at_most() -> None:
    state_of = {line.number: line.state for line in lines(PAGE)}
    not_met = list(state_of.values()).count("not met")
    assert len(set(worst(PAGE))) == min(10, not_met)
    assert [number for number in worst(PAGE) if state_of[number] != "not met"] == []


def test_a_page_that_leaves_out_counts_wrong_or_promises_too_much_is_found() -> None:
    first = next(row for row in PAGE.splitlines(keepends=True) if row.startswith("| 1.1.2 |"))
    without = PAGE.replace(first, "")
    assert [(line.number, line.level) for line in lines(without)] != asked()
    assert counts(without) != counted(without)
    assert unshown(PAGE.replace(first, "| 1.1.2 | 2 | x | met | as it is | `tests/no_such.py::test_it` |\n")) == [
        "1.1.2"
    ]
    assert unshown(PAGE.replace(first, "| 1.1.2 | 2 | x | met | as it is | - |\n")) == ["1.1.2"]


@pytest.mark.parametrize("state", STATES[:4])
def test_each_state_is_explained(state: str) -> None:
    assert f"| {state} | " in PAGE

"""The page of kinds of data names each table of the hub and of a node, each with one of its classes."""

import re
from collections import Counter
from pathlib import Path

from cloud_hub.store.schema import CARE, SAMPLES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data-kinds.md").read_text(encoding="utf-8")
CLASSES = {"secret", "health", "person", "running"}
MADE = re.compile(r'[Tt]able\(database, "(\w+)"\)\.create\(|"CREATE TABLE (\w+) ')


def kinds(page: str) -> list[list[str]]:
    """Return the rows of the table of kinds."""
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in page.splitlines() if row.startswith("| ")]
    return [row for row in rows if len(row) == 5 and row[0] not in ("kind", "---")]


def named(column: int, page: str = PAGE) -> Counter[str]:
    """Return how often each table is named in a column."""
    return Counter(name for row in kinds(page) for name in re.findall(r"`(\w+)`", row[column]))


def of_nodes() -> set[str]:
    """Return the names of all tables that a node's sources make."""
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "edge_node").rglob("schema.py")]
    return {one or other for text in files for one, other in MADE.findall(text)}


def test_each_table_of_the_hub_is_of_one_kind() -> None:
    tables = {*SAMPLES.tables, *CARE.tables}
    assert set(named(2)) == tables
    assert [name for name, times in named(2).items() if times > 1] == []
    assert "totp" not in named(2, PAGE.replace("`totp`, ", ""))


def test_each_table_of_a_node_is_of_some_kind() -> None:
    assert len(of_nodes()) > 10
    assert set(named(3)) == of_nodes()


def test_each_kind_has_a_class_and_a_time() -> None:
    assert {row[1] for row in kinds(PAGE)} == CLASSES
    assert all(row[4] for row in kinds(PAGE))

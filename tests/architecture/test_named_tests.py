"""What a page of the documentation names as shown by a test is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
_PATH = re.compile(r"`((?:tests|deploy|docs|bench)/[\w./-]+)(?:::(\w+))?`")


def missing(text: str) -> list[str]:
    """Return what a text names and the project does not have."""
    return [f"{path}::{name}" if name else path for path, name in _PATH.findall(text) if not _is_there(path, name)]


def _is_there(path: str, name: str) -> bool:
    place = ROOT / path
    return place.exists() and (not name or f"def {name}(" in place.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_that_a_page_names_is_there(page: Path) -> None:
    assert missing(page.read_text(encoding="utf-8")) == []


def test_a_page_that_promises_too_much_is_found() -> None:
    text = f"`tests/architecture/no_such.py` and `tests/architecture/{Path(__file__).name}::test_no_such`"
    assert len(missing(text)) == 2

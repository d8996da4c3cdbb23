"""The page about logs names what there is, and logs are set up in one place."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/logs.md"
SET_UP = re.compile(r"structlog\.configure\(|logging\.(basicConfig|FileHandler)\(|\bdictConfig\(")
LIBRARY_LINES_OF_THE_BROKER = "cloud_hub/broker_process.py"


def sources() -> dict[str, str]:
    folders = (ROOT / "edge_node", ROOT / "cloud_hub", ROOT / "protos/telemed")
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in folders
        for path in folder.rglob("*.py")
        if "node_modules" not in path.parts
    }


def unknown(page: str, code: str) -> list[str]:
    """Return the events in the first column of the page's last table that no source logs."""
    table = page.split("## Events that need somebody", 1)[1]
    named = [event for row in re.findall(r"^\| (`.*?) \|", table, re.M) for event in re.findall(r"`([a-z-]+)`", row)]
    assert len(named) > 10
    return [event for event in named if f'"{event}"' not in code]


def test_every_event_that_the_page_names_is_logged_somewhere() -> None:
    assert unknown(PAGE.read_text(encoding="utf-8"), "\n".join(sources().values())) == []


def test_an_event_that_nobody_logs_is_found() -> None:
    page = PAGE.read_text(encoding="utf-8").replace("`config-refused`", "`config-refused`, `never-logged`")
    assert unknown(page, "\n".join(sources().values())) == ["never-logged"]


def test_one_module_alone_says_where_logs_go() -> None:
    found = sorted(path for path, code in sources().items() if SET_UP.search(code))
    # The broker's own lines go to the hub by a pipe, which logs them.
    assert found == [LIBRARY_LINES_OF_THE_BROKER, "protos/telemed/logs.py"]

"""Logs are JSON lines whatever is written into them, and by whom."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

SMUGGLED = 'signed in\n{"event": "all is well", "level": "info"}\r\x1b[2K\u2028'
PROGRAM = """
import logging, sys, structlog
from telemed.logs import log_to_stderr
log_to_stderr()
text = sys.argv[1]
structlog.get_logger().warning("refused", who=text)
logging.getLogger("library").warning("of %s", text)
logging.getLogger("library").info("never told")
try:
    raise ValueError(text)
except ValueError:
    logging.getLogger("library").exception("it broke")
    structlog.get_logger().exception("broke")
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, SMUGGLED], capture_output=True, encoding="utf-8", check=True, timeout=20
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.removesuffix("\n").split("\n")]


def test_nothing_that_is_logged_makes_a_line_of_its_own(lines: list[dict[str, str]]) -> None:
    assert [line["event"] for line in lines] == ["refused", f"of {SMUGGLED}", "it broke", "broke"]
    assert lines[0]["who"] == SMUGGLED


def test_every_line_has_its_level_and_its_time_in_utc(lines: list[dict[str, str]]) -> None:
    assert [line["level"] for line in lines] == ["warning", "warning", "error", "error"]
    for line in lines:
        at = datetime.fromisoformat(line["timestamp"])
        assert at.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


def test_a_failure_is_logged_with_where_it_came_from(lines: list[dict[str, str]]) -> None:
    for line in lines[2:]:
        assert "Traceback" in line["exception"]
        assert SMUGGLED.split("\n", maxsplit=1)[0] in line["exception"]
    assert lines[1]["logger"] == "library"

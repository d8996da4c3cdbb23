"""A buffer in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_node.buffer.store import Buffer


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[Buffer]:
    opened = Buffer.open(tmp_path / "edge-test", group_commit_ms=2)
    yield opened
    opened.close()

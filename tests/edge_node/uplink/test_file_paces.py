"""How the transfer of files waits for what is needed more."""

import asyncio

import pytest

from edge_node.uplink import file_paces
from edge_node.uplink.file_paces import SEGMENT_BYTES, FilesDown
from edge_node.uplink.gate import Gate

pytestmark = pytest.mark.anyio


async def test_nothing_is_fetched_while_the_store_of_measurements_is_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_paces, "LOOK_S", 0)
    answers = [True, True, False]
    down = FilesDown(Gate(), lambda: answers.pop(0))
    async with asyncio.timeout(1):
        assert await down.turn(2 * SEGMENT_BYTES) == SEGMENT_BYTES
    assert answers == []

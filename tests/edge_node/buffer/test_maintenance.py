"""Looking at a buffer from outside."""

import time
from pathlib import Path

import pytest
from telemed.topics import Up

from edge_node.buffer import maintenance
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.fakes.outbox import key_of


@pytest.mark.anyio
async def test_a_buffer_in_use_can_be_inspected(buffer: Buffer, tmp_path: Path) -> None:
    now_ns = time.time_ns()
    values = (Value("hr", "71.5", "/min"),)
    await buffer.store_intake(Intake(sets=(NumericSet("monitor-1", now_ns, now_ns, values),)))
    await buffer.acknowledge(Up.VITALS, {key_of(buffer, Up.VITALS, "monitor-1/numeric"): 1})
    await buffer.save()

    reports = maintenance.inspect(tmp_path / "edge-test")
    text = "\n".join(maintenance.lines(reports))

    assert [report.name for report in reports] == ["alarm.db", "vitals.db", "care.db"]
    assert "vitals.db: check ok, version 6" in text
    assert "1 stored, 1 at the hub" in text
    assert "71.5" not in text


def test_a_folder_without_a_buffer_has_nothing_to_show(tmp_path: Path) -> None:
    assert maintenance.inspect(tmp_path) == []

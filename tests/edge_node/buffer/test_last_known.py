"""What is read back at start: the newest value of each measure, however long ago."""

import time
from pathlib import Path

import pytest

from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Origin, Value

NS = 1_000_000_000


@pytest.mark.anyio
async def test_the_newest_value_of_each_measure_is_read_back_coded_ones_included(tmp_path: Path) -> None:
    now_ns = time.time_ns()
    long_ago_ns = now_ns - 3 * 3600 * NS
    buffer = Buffer.open(tmp_path)
    try:
        typed = (Value("acvpu", "A", "{ACVPU}"),)
        await buffer.store_intake(Intake(sets=(NumericSet("manual-b1", now_ns, now_ns, typed, Origin.MANUAL),)))
        temperature = (Value("temp", "36.8", "Cel"),)
        await buffer.store_intake(Intake(sets=(NumericSet("m1", long_ago_ns, long_ago_ns, temperature),)))
        for second in range(30):
            at_ns = now_ns - (30 - second) * NS
            await buffer.store_intake(
                Intake(sets=(NumericSet("m1", at_ns, at_ns, (Value("hr", str(second), "/min"),)),))
            )
        found = await buffer.last_known(["m1", "manual-b1"], now_ns - 12 * 3600 * NS)
    finally:
        buffer.close()
    newest = {value.measure: value.value for sample in found for value in sample.values}
    assert newest == {"acvpu": "A", "temp": "36.8", "hr": "29"}
    assert [sample.arrived_at_ns for sample in found] == sorted(sample.arrived_at_ns for sample in found)

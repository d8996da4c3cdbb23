"""What a node tells the hub of its devices and of itself."""

import contextlib
from pathlib import Path

import pytest

from edge_node.app import Node
from edge_node.buffer.store import Buffer
from edge_node.config import EdgeConfig
from edge_node.devices.hl7_monitor.devclock import ClockState


@pytest.mark.anyio
async def test_the_heartbeat_carries_the_clock_of_each_device_and_what_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("s")
    config = EdgeConfig.model_validate(
        {
            "node": {"region": "baoshan", "site": "s", "node": "edge-s", "name_zh": "站", "name_en": "Site"},
            "buffer": {"folder": str(tmp_path / "buffer")},
            "uplink": {"secret_file": str(tmp_path / "secret")},
            "beds": [{"bed": "B01", "label": "01"}],
            "devices": [
                {"device": f"m{number}", "family": "hl7_monitor", "bed": "B01", "application": f"MON{number}"}
                for number in (1, 2)
            ],
        }
    )
    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        node = Node(config, buffer)
        clocks = {"m1": ClockState(10_800_000, is_known=True, is_suspect=False)}
        monkeypatch.setattr(node.monitor, "clocks", lambda: clocks)
        states = {row.device: (row.state, row.clock_offset_ms, row.clock_known) for row in node._device_states()}
        assert states == {"m1": ("never", 10_800_000, True), "m2": ("never", 0, False)}
        assert [(one.code, one.what) for one in node.uplink.stuck()] == [("clock-suspect", "m1 -10800 s")]
        node.ward.bed("B01").unassigned = 4
        assert ("identity-unknown", "B01 ×4") in [(one.code, one.what) for one in node.uplink.stuck()]

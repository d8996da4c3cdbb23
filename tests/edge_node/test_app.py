"""What a node tells the hub of its devices and of itself."""

import contextlib
from pathlib import Path

import pytest
from telemed.v1 import uplink_pb2

from edge_node.app import Node
from edge_node.buffer.store import Buffer
from edge_node.config import EdgeConfig
from edge_node.devices.hl7_monitor.devclock import ClockState
from edge_node.errors import BufferFull
from edge_node.samples.measurement import Intake, NumericSet, Stored, Value


def config_in(folder: Path) -> EdgeConfig:
    (folder / "secret").write_text("s")
    return EdgeConfig.model_validate(
        {
            "node": {"region": "baoshan", "site": "s", "node": "edge-s", "name_zh": "站", "name_en": "Site"},
            "buffer": {"folder": str(folder / "buffer")},
            "uplink": {"secret_file": str(folder / "secret")},
            "beds": [{"bed": "B01", "label": "01"}],
            "devices": [
                {"device": f"m{number}", "family": "hl7_monitor", "bed": "B01", "application": f"MON{number}"}
                for number in (1, 2)
            ],
        }
    )


@pytest.mark.anyio
@pytest.mark.parametrize("failures", [1, 9])
async def test_a_set_whose_judging_failed_is_judged_when_it_is_sent_again_and_never_blocks_its_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    sample = NumericSet("m1", measured_at_ns=1, arrived_at_ns=1, values=(Value("hr", "72", "/min"),))
    intake = Intake(sets=(sample,), dedup_key="m1|1|body")
    tried: list[Intake] = []

    async def judge(given: Intake) -> None:
        tried.append(given)
        if len(tried) <= failures:
            raise RuntimeError("judging failed")

    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        node = Node(config_in(tmp_path), buffer)
        node.close()
        monkeypatch.setattr(node.ward, "take", judge)
        with pytest.raises(RuntimeError):
            await node.take(intake)
        if failures == 1:
            assert await node.take(intake) is Stored.DUPLICATE
        else:
            with pytest.raises(RuntimeError):
                await node.take(intake)
        assert await node.take(intake) is Stored.DUPLICATE  # the monitor gets its answer and goes on
    assert len(tried) == 2


@pytest.mark.anyio
async def test_a_set_that_finds_no_room_is_judged_once_all_the_same_and_its_monitor_hears_that_it_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = NumericSet("m1", measured_at_ns=1, arrived_at_ns=1, values=(Value("hr", "72", "/min"),))
    judged: list[Intake] = []

    async def judge(given: Intake) -> None:
        judged.append(given)

    async def refuse(_: Intake) -> Stored:
        raise BufferFull("the store is full")

    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        node = Node(config_in(tmp_path), buffer)
        node.close()
        monkeypatch.setattr(node.ward, "take", judge)
        first, second = (Intake(sets=(sample,), dedup_key=f"m1|{number}|body") for number in (1, 2))
        with monkeypatch.context() as full:
            full.setattr(buffer, "store_intake", refuse)
            for intake in (first, first, second):
                with pytest.raises(BufferFull):
                    await node.take(intake)
        assert judged == [first, second]
        assert await node.take(first) is Stored.NEW
    assert judged == [first, second], "there is room now: stored, and judged long ago"


@pytest.mark.anyio
async def test_the_heartbeat_carries_the_clock_of_each_device_and_what_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        node = Node(config_in(tmp_path), buffer)
        node.close()
        clocks = {"m1": ClockState(10_800_000, is_known=True, is_suspect=False)}
        monkeypatch.setattr(node.monitor, "clocks", lambda: clocks)
        states = {row.device: (row.state, row.clock_offset_ms, row.clock_known) for row in node._device_states()}
        assert states == {"m1": ("never", 10_800_000, True), "m2": ("never", 0, False)}
        assert [(one.code, one.what) for one in node.uplink.stuck()] == [("clock-suspect", "m1 -10800 s")]
        node.ward.bed("B01").unassigned = 4
        assert ("identity-unknown", "B01 ×4") in [(one.code, one.what) for one in node.uplink.stuck()]


@pytest.mark.anyio
async def test_files_and_backlog_are_held_back_while_a_consult_is_on(tmp_path: Path) -> None:
    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        node = Node(config_in(tmp_path), buffer)
        node.close()
        scheduler, held = node.uplink.gate.scheduler, []
        for kind in ("invite", "accept", "bye"):
            node.router.from_hub(uplink_pb2.Signal(consult_id="c1", kind=kind, to_peer="camera", bed="B01"))
            held.append(scheduler.is_call)
        assert held == [False, True, False]

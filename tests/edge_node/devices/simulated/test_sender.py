"""The sending half: one outstanding message, sent again under the same id until it is answered."""

import asyncio
import json
from pathlib import Path

import pytest

from edge_node.devices.simulated import sender
from edge_node.devices.simulated.ledger import Ledger
from edge_node.devices.simulated.messages import Report, Speaker, compose
from edge_node.devices.simulated.sender import MonitorLine, Target
from tests.edge_node.devices.hl7_monitor.conftest import DEVICE, EXAMPLE_SENT_NS, StartRig
from tests.fakes.ports import free_port

pytestmark = pytest.mark.anyio
SPEAKER = Speaker(DEVICE.eui64 or "")


def message(control_id: str) -> bytes:
    return compose(SPEAKER, Report(control_id, EXAMPLE_SENT_NS, EXAMPLE_SENT_NS, EXAMPLE_SENT_NS))


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_refused_messages_are_kept_in_order_and_sent_again(
    rig: StartRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        await real_sleep(0)

    ledger = Ledger(tmp_path / "ledger")
    async with rig() as running:
        running.store.is_full = True
        line = MonitorLine(Target("127.0.0.1", running.port), ledger)
        line.offer("one", message("one"))
        line.offer("two", message("two"))
        monkeypatch.setattr(asyncio, "sleep", sleep)
        task = asyncio.create_task(line.run())
        while running.monitor.counters.answers["AR"] < 3:
            await real_sleep(0.01)
        running.store.is_full = False
        await line.drained()
        monkeypatch.undo()
        await stopped(task)
    ledger.close()
    noted = [json.loads(text) for text in (tmp_path / "ledger").read_text().splitlines()]
    assert [note["id"] for note in noted if note.get("code") == "AA"] == ["one", "two"]
    assert waits[:3] == [1.0, 2.0, 4.0]


async def test_a_receiver_that_comes_back_gets_what_waited(rig: StartRig) -> None:
    line = MonitorLine(Target("127.0.0.1", free_port(), first_retry_s=0.01, longest_retry_s=0.02), Ledger(None))
    line.offer("one", message("one"))
    task = asyncio.create_task(line.run())
    await asyncio.sleep(0.05)
    async with rig() as running:
        line._target = Target("127.0.0.1", running.port)
        await line.drained()
        await stopped(task)
    assert len(running.store.intakes) == 1


async def test_an_answer_that_does_not_come_means_the_same_message_again(
    rig: StartRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "ACK_LIMIT_S", 0.05)
    async with rig() as running:
        running.store.gate = asyncio.Event()
        line = MonitorLine(Target("127.0.0.1", running.port, first_retry_s=0.01), Ledger(None))
        line.offer("one", message("one"))
        task = asyncio.create_task(line.run())
        while running.monitor.counters.frames < 2:  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.01)
        running.store.gate.set()
        await line.drained()
        await stopped(task)
    assert len(running.store.intakes) == 1


async def test_a_full_backlog_loses_the_oldest_that_is_not_in_flight() -> None:
    line = MonitorLine(Target("127.0.0.1", 1), Ledger(None), backlog=3)
    for name in "abcd":
        line.offer(name, b"")
    assert [item.control_id for item in line._waiting] == ["a", "c", "d"]
    assert line.lost == 1

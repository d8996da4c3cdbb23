"""The node's side of the consult process, with the real child."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from edge_node.consult.host import ConsultHost
from edge_node.consult.pipe import Configure, Step


async def _next(said: "asyncio.Queue[Step]", camera: str) -> dict[str, object]:
    async with asyncio.timeout(20):
        while True:
            step = await said.get()
            body: dict[str, object] = json.loads(step.body)
            if step.kind == "state" and body.get("camera") == camera:
                return body


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_killed_child_is_started_again_with_what_it_must_know_and_the_node_never_waits(clip: Path) -> None:
    said: asyncio.Queue[Step] = asyncio.Queue()
    host = ConsultHost(Configure({"": str(clip)}, ""), said.put_nowait)
    task = asyncio.create_task(host.run())
    host.permit("c1", "B01")
    await _next(said, "off")
    first = host.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    longest_s = 0.0
    for _ in range(50):  # what vitals and alarms would feel: nothing
        before_s = time.monotonic()
        host.vitals("B01", '{"type": "readings"}')
        longest_s = max(longest_s, time.monotonic() - before_s)
        await asyncio.sleep(0)
    assert longest_s < 0.05
    restarting = await _next(said, "restarting")
    assert restarting["reason"] == {"zh": "会诊程序正在重启，画面马上恢复", "en": "Restarting; the picture comes back"}
    await _next(said, "off")
    assert host.pid not in (None, first)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert host.pid is None


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_child_starts_when_it_rings_keeps_early_steps_and_ends_when_idle(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_node.consult.host.IDLE_S", 0.5)
    said: asyncio.Queue[Step] = asyncio.Queue()
    host = ConsultHost(Configure({"": str(clip)}, ""), said.put_nowait)
    task = asyncio.create_task(host.run())
    await asyncio.sleep(0)
    assert host.pid is None
    host.permit("c1", "B01")
    host.step(Step("c1", "offer", '{"sdp": "nonsense"}'))
    async with asyncio.timeout(20):
        while "refused" not in (await said.get()).body:
            pass
    host.forget("c1")
    async with asyncio.timeout(10):
        # The end of a process has no event here.
        while True:
            await asyncio.sleep(0.05)
            if host.pid is None:
                break
    assert said.empty()
    host.permit("c2", "B01")
    await _next(said, "off")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.anyio
async def test_vitals_of_a_bed_that_nobody_watches_are_not_even_made() -> None:
    host = ConsultHost(Configure({}, ""), lambda _step: None)
    assert not host.wants_vitals("B01")
    host.permit("c1", "B01")
    assert host.wants_vitals("B01")
    assert not host.wants_vitals("B02")
    host.forget("c1")
    assert not host.wants_vitals("B01")

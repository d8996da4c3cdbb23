"""The node's own buzzer: a program that is told the priority, and never holds anything up."""

import asyncio
import sys
from pathlib import Path

import pytest

from edge_node.alarms import sounder
from edge_node.alarms.machine import fold
from edge_node.alarms.sounder import Sounder, to_sound
from edge_node.samples.alarm import Alarm, Finding, Phase, Priority, Step, Who

pytestmark = pytest.mark.anyio


def alarm(priority: Priority, *phases: Phase, late: bool = False) -> Alarm:
    finding = Finding("spo2-low", priority, "B1", late=late)
    steps = [
        Step("a", number, phase, number, finding, who=Who("x", "clinic")) for number, phase in enumerate(phases, 1)
    ]
    return fold(steps)["a"]


def test_the_worst_that_nobody_has_taken_is_heard() -> None:
    high, medium = alarm(Priority.HIGH, Phase.START), alarm(Priority.MEDIUM, Phase.START)
    assert to_sound([medium, high]) is Priority.HIGH
    assert to_sound([medium, alarm(Priority.HIGH, Phase.START, Phase.ACCEPTED)]) is Priority.MEDIUM
    assert to_sound([alarm(Priority.HIGH, Phase.START, Phase.AUDIO_PAUSED)]) is None
    assert to_sound([alarm(Priority.HIGH, Phase.START, late=True)]) is None


async def test_the_program_is_told_the_priority_at_once(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    program = f"import sys; open({str(heard)!r}, 'a').write(sys.argv[1])"
    alarms: list[Alarm] = []
    buzzer = Sounder([sys.executable, "-c", program], lambda: alarms)
    task = asyncio.create_task(buzzer.run())
    alarms.append(alarm(Priority.HIGH, Phase.START))
    buzzer.alarm_moved(alarms[0])
    async with asyncio.timeout(10):
        while not heard.exists() or not heard.read_text():  # noqa: ASYNC110 - a file of another process
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert heard.read_text() == "high"


async def test_a_program_that_is_not_there_or_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounder, "LIMIT_S", 0.1)
    monkeypatch.setattr(sounder, "REPEAT_S", dict.fromkeys(Priority, 0.05))
    standing = [alarm(Priority.HIGH, Phase.START)]
    for command in (["/no/such/program"], [sys.executable, "-c", "import time; time.sleep(60)"]):
        task = asyncio.create_task(Sounder(command, lambda: standing).run())
        await asyncio.sleep(0.4)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

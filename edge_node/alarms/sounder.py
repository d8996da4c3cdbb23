"""The node's own buzzer: runs the configured program with the priority that is to be heard.

Independent of any browser (clinical 2.4).  Bursts are repeated while an alarm sounds; one source at a time, the
worst priority.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from edge_node.samples.alarm import Alarm, Priority

REPEAT_S: dict[Priority, float] = {Priority.HIGH: 5, Priority.MEDIUM: 15, Priority.LOW: 60}
"""Time between bursts, inside the ranges of IEC 60601-1-8."""
LIMIT_S = 10.0
"""A program that takes longer is stopped, so that it cannot hold up the next burst."""

log = structlog.get_logger(__name__)


def to_sound(alarms: Iterable[Alarm]) -> Priority | None:
    """Return the priority that is to be heard now, or None for silence."""
    return max((alarm.finding.priority for alarm in alarms if alarm.sounds), default=None)


class Sounder:
    """Runs the program again and again while something sounds."""

    def __init__(self, command: Sequence[str], alarms: Callable[[], Iterable[Alarm]]) -> None:
        self._command = list(command)
        self._alarms = alarms
        self._changed = asyncio.Event()
        self._is_failing = False

    def alarm_moved(self, alarm: Alarm) -> None:
        """Look at once whether something else is to be heard."""
        if alarm.sounds:
            self._changed.set()

    async def run(self) -> None:
        """Sound until cancelled; without a configured program there is nothing to do."""
        while self._command:
            priority = to_sound(self._alarms())
            if priority is not None:
                await self._burst(priority)
            self._changed.clear()
            try:
                async with asyncio.timeout(REPEAT_S[priority] if priority is not None else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _burst(self, priority: Priority) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, priority.name.lower(), stdin=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            self._note(error.strerror or "cannot be started")
            return
        try:
            async with asyncio.timeout(LIMIT_S):
                code = await process.wait()
            self._note("" if code == 0 else f"ended with {code}")
        except TimeoutError:
            self._note(f"took longer than {LIMIT_S:g} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _note(self, failure: str) -> None:
        if failure and not self._is_failing:
            log.error("sounder.failed", reason=failure)
        elif not failure and self._is_failing:
            log.info("sounder.works-again")
        self._is_failing = bool(failure)

"""Starts the demo's processes, restarts one that dies, and keeps `processes.json` current."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

RESTART_WAIT_S = 0.3
STOP_LIMIT_S = 8.0


def end_leftovers(folder: Path) -> list[str]:
    """End processes of this folder that an earlier demo left behind because it was killed itself; return their names.

    A process is ours where its command line names this folder: a number that another program has by now is left alone.
    """
    try:
        pids: dict[str, int] = json.loads((folder / "processes.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    ended = []
    for name, pid in pids.items():
        with contextlib.suppress(OSError):
            if str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                ended.append(name)
    return ended


@dataclass(slots=True)
class Program:
    """One process of the demo."""

    name: str
    command: list[str]
    ready: Callable[[], Awaitable[None]] | None = None
    """Waits until the process can serve; None where there is nothing to wait for."""


@dataclass(slots=True)
class Troupe:
    """All processes of the demo; one that dies is started again within a second."""

    folder: Path
    pids: dict[str, int] = field(default_factory=dict)
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    closing: bool = False

    async def play(self, program: Program) -> None:
        """Run a program until `stop`, starting it again whenever it ends."""
        while not self.closing:
            with (self.folder / f"{program.name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    *program.command,
                    stdout=log,
                    stderr=log,
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C reaches this process alone; it stops the others in order
                    env=os.environ | {"PYTHONUNBUFFERED": "1"},
                )
            self.running[program.name] = process
            self.note(program.name, process.pid)
            code = await process.wait()
            if self.closing:
                return
            print(f"{program.name} ended with {code}; starting it again", flush=True)
            await asyncio.sleep(RESTART_WAIT_S)

    def note(self, name: str, pid: int) -> None:
        """Write who runs as what; atomically, because others read the file at any time."""
        self.pids[name] = pid
        path = self.folder / "processes.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(self.pids, indent=1) + "\n")
        fresh.replace(path)

    async def stop(self, order: list[str]) -> None:
        """End the processes in this order; one that does not end in time is killed."""
        self.closing = True
        for name in order:
            process = self.running.get(name)
            if process is None or process.returncode is not None:
                continue
            process.terminate()
            try:
                async with asyncio.timeout(STOP_LIMIT_S):
                    await process.wait()
            except TimeoutError:
                print(f"{name} did not stop in {STOP_LIMIT_S:g} s and was killed", flush=True)
                process.kill()
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "processes.json").unlink()

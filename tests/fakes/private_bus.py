"""A D-Bus of a test's own: a real dbus-daemon that knows no services of this machine."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>{address}</listen>
  <policy context="default">
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


def find_dbus_daemon() -> str | None:
    """Path of the bus program, None where it is not installed."""
    return shutil.which("dbus-daemon") or shutil.which("dbus-daemon", path="/usr/bin:/bin")


class PrivateBus:
    """A bus that can end, as that of a machine does when it is stopped."""

    def __init__(self, address: str, process: asyncio.subprocess.Process) -> None:
        self.address = address
        self._process = process

    async def end(self) -> None:
        """End the bus under everybody who is on it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def _written_config(folder: str, address: str) -> Path:
    config = Path(folder, "bus.conf")
    config.write_text(CONFIG.format(address=address))
    return config


@contextlib.asynccontextmanager
async def running_bus() -> AsyncIterator[PrivateBus]:
    """Run a bus while the block runs; the test is skipped by name where there is no dbus-daemon."""
    program = find_dbus_daemon()
    if program is None:
        pytest.skip("dbus-daemon is not installed (Debian package dbus)")
    # Not below tmp_path: a socket's name must be shorter than 108 bytes.
    with tempfile.TemporaryDirectory(prefix="bus-") as folder:
        address = f"unix:path={folder}/socket"
        config = _written_config(folder, address)
        process = await asyncio.create_subprocess_exec(
            program, f"--config-file={config}", "--nofork", "--print-address=1", "--nopidfile",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        bus = PrivateBus(address, process)
        try:
            assert process.stdout is not None
            assert await process.stdout.readline()  # printed once it listens
            yield bus
        finally:
            await bus.end()

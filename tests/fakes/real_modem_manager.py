"""The real ModemManager on a bus of a test's own, with modems of the test plugged into it.

It has a test interface for that in every build (`--test-enable`, org.freedesktop.ModemManager1.Test): a profile names
virtual ports, which are abstract Unix sockets.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from edge_node.uplink.modem.properties import MODEM, ROOT, SERVICE

WORDS = (
    "--test-session", "--test-enable", "--test-no-udev", "--test-no-suspend-resume", "--test-no-qrtr", "--no-auto-scan",
    "--log-level=ERR",
)  # fmt: skip
DISABLED = 3
"""MMModemState from which a modem is ready to be enabled."""


def find_modem_manager() -> str | None:
    """Path of the program, None where it is not installed."""
    return shutil.which("ModemManager", path="/usr/sbin:/usr/local/sbin:/usr/bin")


class RealModemManager:
    """A running ModemManager, and what NetworkManager or a person would tell it."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    async def plug_in(self, port: str) -> str:
        """Plug in the modem at this virtual port; returns its object path once it can be enabled."""
        await self._call(ROOT, f"{SERVICE}.Test", "SetProfile", "ssas", ["test", "generic", [port]])
        async with asyncio.timeout(30):
            while True:
                (objects,) = await self._call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
                for path, interfaces in objects.items():
                    if interfaces[MODEM]["State"].value >= DISABLED:
                        return str(path)
                await asyncio.sleep(0.05)

    async def enable(self, path: str, *, on: bool = True) -> None:
        """Switch the modem's radio on or off, as NetworkManager does."""
        await self._call(path, MODEM, "Enable", "b", [on])

    async def introspect(self, path: str) -> str:
        """Return what the object has, as XML."""
        (text,) = await self._call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
        return str(text)

    async def _call(
        self, path: str, interface: str, member: str, signature: str = "", body: list[object] | None = None
    ) -> list[Any]:
        answer = await self._bus.call(Message(SERVICE, path, interface, member, signature=signature, body=body or []))
        assert answer.message_type is MessageType.METHOD_RETURN, answer.body
        return answer.body


@contextlib.asynccontextmanager
async def real_modem_manager(address: str) -> AsyncIterator[RealModemManager]:
    """Run the real ModemManager while the block runs; the test is skipped by name where it is not installed."""
    program = find_modem_manager()
    if program is None:
        pytest.skip("ModemManager is not installed (Debian package modemmanager)")
    process = await asyncio.create_subprocess_exec(
        program, *WORDS,
        env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": address},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    bus = await MessageBus(bus_address=address).connect()
    try:
        await _served(bus)
        yield RealModemManager(bus)
    finally:
        bus.disconnect()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _served(bus: MessageBus) -> None:
    dbus = "org.freedesktop.DBus"
    asked = Message(dbus, "/org/freedesktop/DBus", dbus, "NameHasOwner", signature="s", body=[SERVICE])
    async with asyncio.timeout(30):
        while True:
            asked.serial = 0
            if (await bus.call(asked)).body[0]:
                return
            await asyncio.sleep(0.05)

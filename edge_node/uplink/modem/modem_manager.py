"""The modem by way of ModemManager, which drives nearly every USB, M.2 and built-in modem on Linux.

Everything is told by signals of its D-Bus interface; once in `LIST_EVERY_S` all is listed anew, so that no sight is
older than that and a ModemManager that hangs is noticed.  The node neither enables the modem nor connects it, and
does not start ModemManager: that is the machine's own business (see README.md in this folder).
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import structlog
from dbus_fast import Message, MessageType, unpack_variants
from dbus_fast.aio import MessageBus

from edge_node.errors import ModemUnreachable, SimRefused
from edge_node.uplink.modem import bus as dbus
from edge_node.uplink.modem.port import Tell
from edge_node.uplink.modem.properties import (
    LOCATION,
    MODEM,
    SERVICE,
    SIGNAL,
    Interfaces,
    Objects,
    Properties,
    sight_of,
    sim_problem,
    wants_cell,
    wants_signal,
)
from edge_node.uplink.modem.sight import RadioSight

LIST_EVERY_S = 30.0
SWITCH_LIMIT_S = 30.0
SETTLE_S = 0.1
"""ModemManager tells one event, a hand-over say, in several signals; half of it would be no sight of anything."""
REFUSALS = {
    f"{SERVICE}.Error.Core.Unsupported": "this modem cannot switch",
    f"{SERVICE}.Error.Core.InvalidArgs": "there is no such slot",
    f"{SERVICE}.Error.Core.Unauthorized": "the node is not permitted to switch (polkit, see README.md)",
    "org.freedesktop.DBus.Error.AccessDenied": "the node is not permitted to switch (policy of the bus)",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModemManagerModem:
    """One modem that ModemManager drives."""

    path: str
    """Name of this way to the hub."""
    device: str = ""
    """Device, IMEI or DeviceIdentifier as ModemManager tells them; empty: the first modem there is."""
    signal_every_s: int = 5
    """How often the modem is asked for its signal; a rate that another program set is left as it is."""
    bus_address: str | None = None
    """None: the system bus."""
    list_every_s: float = LIST_EVERY_S
    clock_s: Callable[[], float] = time.monotonic

    async def run(self, tell: Tell) -> None:
        """Tell what the modem sees until cancelled; ModemManager may end and come back meanwhile.

        Raises:
            ModemUnreachable: the bus is gone, or ModemManager runs and does not answer.
        """
        async with dbus.connected(self.bus_address) as bus:
            await _Watch(self, bus, tell).run()

    async def use_sim(self, slot: int) -> None:
        """Change to the SIM in this slot; the modem goes, and comes back under another object path.

        Raises:
            SimRefused: no such slot, no card in it, not permitted, or the modem cannot switch.
            ModemUnreachable: bus or ModemManager do not answer.
        """
        async with dbus.connected(self.bus_address) as bus:
            listing = dbus.listing_of(await dbus.ask(bus, dbus.list_objects()))
            if listing is None:
                raise ModemUnreachable("ModemManager does not run")
            objects = Objects()
            objects.replace(listing)
            path = objects.choose(self.device)
            if path is None:
                raise SimRefused(slot, "the modem is not there")
            problem = sim_problem(objects.modems[path][MODEM], slot)
            if problem is not None:
                raise SimRefused(slot, problem)
            await _switch(bus, path, slot)


async def _switch(bus: MessageBus, path: str, slot: int) -> None:
    answer = await dbus.ask(bus, dbus.call(path, MODEM, "SetPrimarySimSlot", "u", [slot]), SWITCH_LIMIT_S)
    if not dbus.is_error(answer):
        return
    name = str(answer.error_name)
    if name in dbus.GONE:
        raise ModemUnreachable(f"SetPrimarySimSlot: {name}")
    raise SimRefused(slot, REFUSALS.get(name, f"{name}: {dbus.error_text(answer)}"))


class _Watch:
    """One connection to the bus: what it heard, in the order of the bus, and what it asked."""

    def __init__(self, modem: ModemManagerModem, bus: MessageBus, tell: Tell) -> None:
        self._modem = modem
        self._bus = bus
        self._tell = tell
        self._inbox: deque[Message] = deque()
        self._woken = asyncio.Event()
        self._objects = Objects()
        self._owner = ""
        """Unique name of the ModemManager that runs: signals of anybody else are not taken."""
        self._listing_serial: int | None = None
        """Serial of the listing that was asked for and has not come."""
        self._due_s = 0.0
        """When the listing must have come, or else be asked for, by the loop's clock."""
        self._told: RadioSight | None = None
        self._set_up: dict[int, str] = {}
        """Interface of each set-up that waits for its answer, by serial."""
        self._tried: set[tuple[str, str]] = set()
        """Path and interface of what was set up since the last listing."""
        self._refused: set[str] = set()

    async def run(self) -> None:
        self._bus.add_message_handler(self._receive)
        ended = asyncio.ensure_future(dbus.end_of(self._bus))
        ended.add_done_callback(lambda _: self._woken.set())
        try:
            await dbus.watch(self._bus)
            self._list()
            while not ended.done():
                await self._wait()
                if self._inbox:
                    await asyncio.sleep(SETTLE_S)
                while self._inbox:
                    self._take(self._inbox.popleft())
                if self._listing_serial is None:
                    self._say()
            raise ModemUnreachable("the bus has ended the connection") from ended.exception()
        finally:
            ended.cancel()

    def _receive(self, message: Message) -> None:
        self._inbox.append(message)
        self._woken.set()

    async def _wait(self) -> None:
        """Wait for messages, or until it is time to list anew.

        Raises:
            ModemUnreachable: the listing was not answered in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._due_s):
                await self._woken.wait()
        self._woken.clear()
        if asyncio.get_running_loop().time() < self._due_s:
            return
        if self._listing_serial is None:
            self._list()
        elif not self._inbox:
            raise ModemUnreachable(f"ModemManager has not answered for {dbus.ANSWER_LIMIT_S:g} s")

    def _list(self) -> None:
        message = dbus.list_objects()
        message.serial = self._listing_serial = self._bus.next_serial()
        self._due_s = asyncio.get_running_loop().time() + dbus.ANSWER_LIMIT_S
        self._bus.send(message)

    def _listed(self, listing: dict[str, Interfaces]) -> None:
        self._objects.replace(listing)
        self._listing_serial = None
        self._due_s = asyncio.get_running_loop().time() + self._modem.list_every_s
        self._tried.clear()
        self._told = None

    def _take(self, message: Message) -> None:
        """Take one message; listings come in line with the signals, so that neither undoes the other."""
        if message.message_type is MessageType.SIGNAL:
            self._take_signal(message)
        elif message.reply_serial == self._listing_serial:
            self._owner = str(message.sender)
            self._listed(dbus.listing_of(message) or {})
        elif message.reply_serial in self._set_up:
            self._note(self._set_up.pop(message.reply_serial), message)

    def _take_signal(self, message: Message) -> None:
        body: list[object] = unpack_variants(message.body)
        match message.sender, message.member, body:
            case dbus.DBUS, "NameOwnerChanged", [str(name), _, str(owner)] if name == SERVICE:
                self._own(owner)
            case self._owner, "PropertiesChanged", [str(interface), dict(changed), list(invalidated)]:
                self._objects.change(str(message.path), interface, cast("Properties", changed), invalidated)
            case self._owner, "InterfacesAdded", [str(added), dict(interfaces)]:
                self._objects.add(added, cast("Interfaces", interfaces))
            case self._owner, "InterfacesRemoved", [str(removed), list(interfaces)]:
                self._objects.remove(removed, interfaces)

    def _own(self, owner: str) -> None:
        log.info("modem.manager", path=self._modem.path, is_running=bool(owner))
        self._owner = owner
        self._listed({})
        if owner:
            self._list()

    def _say(self) -> None:
        chosen = self._objects.choose(self._modem.device)
        interfaces = None if chosen is None else self._objects.modems[chosen]
        sight = sight_of(self._modem.path, interfaces, self._modem.clock_s())
        if self._told is None or replace(sight, at_s=self._told.at_s) != self._told:
            self._told = sight
            self._tell(sight)
        if chosen is not None and interfaces is not None:
            self._have_told(chosen, interfaces)

    def _have_told(self, path: str, interfaces: Interfaces) -> None:
        """Have signal and cell told where nobody did; each once between two listings."""
        if wants_signal(interfaces):
            self._send_set_up(dbus.call(path, SIGNAL, "Setup", "u", [self._modem.signal_every_s]))
        sources = wants_cell(interfaces)
        if sources:
            self._send_set_up(dbus.call(path, LOCATION, "Setup", "ub", [sources, True]))

    def _send_set_up(self, message: Message) -> None:
        what = (str(message.path), str(message.interface))
        if what in self._tried:
            return
        self._tried.add(what)
        message.serial = self._bus.next_serial()
        self._set_up[message.serial] = str(message.interface)
        self._bus.send(message)

    def _note(self, interface: str, answer: Message) -> None:
        refused = dbus.is_error(answer)
        if refused == (interface in self._refused):
            return
        (self._refused.add if refused else self._refused.discard)(interface)
        reason = f"{answer.error_name}: {dbus.error_text(answer)}" if refused else ""
        log.warning("modem.set-up", path=self._modem.path, what=interface, is_refused=refused, reason=reason)

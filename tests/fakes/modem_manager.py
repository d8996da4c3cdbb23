"""A ModemManager for tests: a process of its own on a real D-Bus, with one modem and two SIM slots.

Names, signatures and manners are those of ModemManager 1.20 (`test_real_modem_manager.py` compares them with the real
one): no signal before Signal.Setup, no cell before Location.Setup, and after SetPrimarySimSlot the modem goes and comes
back under another path.  What happens to it is told on standard input, one JSON object a line: `{"do": ..., ...}`; each
is answered with a line.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

SERVICE, ROOT = "org.freedesktop.ModemManager1", "/org/freedesktop/ModemManager1"
MODEM, MODEM_3GPP = f"{SERVICE}.Modem", f"{SERVICE}.Modem.Modem3gpp"
SIGNAL, LOCATION = f"{SERVICE}.Modem.Signal", f"{SERVICE}.Modem.Location"
PROPERTIES = "org.freedesktop.DBus.Properties"
MANAGER = "org.freedesktop.DBus.ObjectManager"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
DEVICE, IMEI = "/sys/devices/pci0000:00/usb2/2-1", "867698040000017"
LTE, NR = 1 << 14, 1 << 15


class Interface(NamedTuple):
    """What an interface has, as published."""

    properties: dict[str, str]
    methods: dict[str, tuple[str, str]]
    """Signature of what goes in and of what comes out."""
    signals: dict[str, str]


INTERFACES: dict[str, Interface] = {
    MODEM: Interface(
        {
            "Sim": "o", "SimSlots": "ao", "PrimarySimSlot": "u", "Bearers": "ao", "SupportedCapabilities": "au",
            "CurrentCapabilities": "u", "MaxBearers": "u", "MaxActiveBearers": "u", "MaxActiveMultiplexedBearers": "u",
            "Manufacturer": "s", "Model": "s", "Revision": "s", "CarrierConfiguration": "s",
            "CarrierConfigurationRevision": "s", "HardwareRevision": "s", "DeviceIdentifier": "s", "Device": "s",
            "Drivers": "as", "Plugin": "s", "PrimaryPort": "s", "Ports": "a(su)", "EquipmentIdentifier": "s",
            "UnlockRequired": "u", "UnlockRetries": "a{uu}", "State": "i", "StateFailedReason": "u",
            "AccessTechnologies": "u", "SignalQuality": "(ub)", "OwnNumbers": "as", "PowerState": "u",
            "SupportedModes": "a(uu)", "CurrentModes": "(uu)", "SupportedBands": "au", "CurrentBands": "au",
            "SupportedIpFamilies": "u",
        },
        {
            "Enable": ("b", ""), "ListBearers": ("", "ao"), "CreateBearer": ("a{sv}", "o"), "DeleteBearer": ("o", ""),
            "Reset": ("", ""), "FactoryReset": ("s", ""), "SetPowerState": ("u", ""),
            "SetCurrentCapabilities": ("u", ""), "SetCurrentModes": ("(uu)", ""), "SetCurrentBands": ("au", ""),
            "SetPrimarySimSlot": ("u", ""), "GetCellInfo": ("", "aa{sv}"), "Command": ("su", "s"),
        },
        {"StateChanged": "iiu"},
    ),
    MODEM_3GPP: Interface(
        {
            "Imei": "s", "RegistrationState": "u", "OperatorCode": "s", "OperatorName": "s",
            "EnabledFacilityLocks": "u", "SubscriptionState": "u", "EpsUeModeOperation": "u", "Pco": "a(ubay)",
            "InitialEpsBearer": "o", "InitialEpsBearerSettings": "a{sv}", "PacketServiceState": "u",
            "Nr5gRegistrationSettings": "a{sv}",
        },
        {
            "Register": ("s", ""), "Scan": ("", "aa{sv}"), "SetEpsUeModeOperation": ("u", ""),
            "SetInitialEpsBearerSettings": ("a{sv}", ""), "SetNr5gRegistrationSettings": ("a{sv}", ""),
            "DisableFacilityLock": ("(us)", ""), "SetPacketServiceState": ("u", ""),
        },
        {},
    ),
    SIGNAL: Interface(
        {
            "Rate": "u", "RssiThreshold": "u", "ErrorRateThreshold": "b", "Cdma": "a{sv}", "Evdo": "a{sv}",
            "Gsm": "a{sv}", "Umts": "a{sv}", "Lte": "a{sv}", "Nr5g": "a{sv}",
        },
        {"Setup": ("u", ""), "SetupThresholds": ("a{sv}", "")},
        {},
    ),
    LOCATION: Interface(
        {
            "Capabilities": "u", "SupportedAssistanceData": "u", "Enabled": "u", "SignalsLocation": "b",
            "Location": "a{uv}", "SuplServer": "s", "AssistanceDataServers": "as", "GpsRefreshRate": "u",
        },
        {
            "Setup": ("ub", ""), "GetLocation": ("", "a{uv}"), "SetSuplServer": ("s", ""),
            "InjectAssistanceData": ("ay", ""), "SetGpsRefreshRate": ("u", ""),
        },
        {},
    ),
}  # fmt: skip
EMPTY: dict[str, Any] = {"u": 0, "i": 0, "b": False, "s": "", "o": "/", "(ub)": [0, False], "(uu)": [0, 0]}


class Refused(Exception):
    """A call is answered with this error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def core(name: str, text: str) -> Refused:
    return Refused(f"{SERVICE}.Error.Core.{name}", text)


@dataclass(slots=True)
class Radio:
    """What the modem would tell if it were asked."""

    cell: str = "0A81B02"
    technologies: int = LTE | NR
    lte: dict[str, float] = field(default_factory=lambda: {"rssi": -65.0, "rsrq": -9.0, "rsrp": -93.0, "snr": 12.0})
    nr5g: dict[str, float] = field(default_factory=lambda: {"rsrq": -11.0, "rsrp": -101.0, "snr": 7.5})
    quality: int = 70


def empty(signature: str) -> Any:
    if signature in EMPTY:
        value = EMPTY[signature]
        return list(value) if isinstance(value, list) else value
    return {} if signature.startswith("a{") else []


class Modem:
    """One modem object: its properties, and their changes told when `tell` is called."""

    def __init__(self, path: str, slot: int, cards: list[str]) -> None:
        self.path = path
        self.radio = Radio()
        self.values = {
            name: {key: empty(kind) for key, kind in each.properties.items()} for name, each in INTERFACES.items()
        }
        self._told = {name: dict(values) for name, values in self.values.items()}
        self.values[MODEM] |= {
            "Sim": cards[slot - 1], "SimSlots": cards, "PrimarySimSlot": slot, "Manufacturer": "Quectel",
            "Model": "RM520N-GL", "DeviceIdentifier": "5f1c", "Device": DEVICE, "Plugin": "quectel",
            "EquipmentIdentifier": IMEI, "State": 3, "PowerState": 3,
        }  # fmt: skip
        self.values[MODEM_3GPP] |= {"Imei": IMEI}
        self.values[LOCATION] |= {"Capabilities": 1, "Enabled": 1}

    def set_state(self, state: int, registration: int) -> None:
        serves = state >= 8
        operator = {"OperatorCode": "46000", "OperatorName": "CHINA MOBILE"} if serves else {"OperatorCode": ""}
        self.values[MODEM]["State"] = state
        self.values[MODEM_3GPP] |= {"OperatorName": "", "RegistrationState": registration} | operator
        self.refresh()

    def refresh(self) -> None:
        """Bring what is shown in line with the radio, as far as it is asked for."""
        serves = self.values[MODEM]["State"] >= 8
        radio, signal, location = self.radio, self.values[SIGNAL], self.values[LOCATION]
        self.values[MODEM] |= {
            "AccessTechnologies": radio.technologies if serves else 0,
            "SignalQuality": [radio.quality, True] if serves else [0, False],
        }
        shown = serves and signal["Rate"] > 0
        signal |= {
            "Lte": _doubles(radio.lte) if shown and radio.technologies & LTE else {},
            "Nr5g": _doubles(radio.nr5g) if shown and radio.technologies & NR else {},
        }
        where = {1: Variant("s", f"460,00,0,{radio.cell},31C5")}
        location["Location"] = where if serves and location["SignalsLocation"] else {}

    def changed(self) -> dict[str, dict[str, Any]]:
        """Return what is different since it was last told, by interface."""
        out = {}
        for name, values in self.values.items():
            told = self._told[name]
            different = {key: value for key, value in values.items() if value != told[key]}
            self._told[name] = dict(values)
            if different:
                out[name] = _variants(name, different)
        return out

    def shown(self) -> dict[str, dict[str, Variant]]:
        return {name: _variants(name, values) for name, values in self.values.items()}


def _doubles(values: Mapping[str, float]) -> dict[str, Variant]:
    return {key: Variant("d", float(value)) for key, value in values.items()}


def _variants(interface: str, values: Mapping[str, Any]) -> dict[str, Variant]:
    kinds = INTERFACES[interface].properties
    return {key: Variant(kinds[key], value) for key, value in values.items()}


class Manager:
    """The service on the bus."""

    def __init__(self, bus: MessageBus, cards: list[str], switch_s: float) -> None:
        self._bus = bus
        self._cards = cards
        self._switch_s = switch_s
        self._number = 0
        self._modem: Modem | None = None
        self._hangs = False
        self._errors: dict[str, str] = {}
        self._slot = 1
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls: list[str] = []

    def answer(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        if self._hangs:
            return True
        self.calls.append(f"{message.interface}.{message.member}")
        try:
            signature, body = self._call(message)
        except Refused as refused:
            return Message.new_error(message, refused.name, str(refused))
        return Message.new_method_return(message, signature, body)

    def _call(self, message: Message) -> tuple[str, list[Any]]:
        modem = self._modem
        match message.interface, message.member:
            case (_, "GetManagedObjects") if message.path == ROOT:
                return "a{oa{sa{sv}}}", [{} if modem is None else {modem.path: modem.shown()}]
            case (_, "Introspect"):
                return "s", [introspection(message.path == ROOT)]
        if modem is None or message.path != modem.path:
            raise Refused("org.freedesktop.DBus.Error.UnknownMethod", f"Object does not exist at path {message.path}")
        refusal = self._errors.get(str(message.member))
        if refusal:
            raise Refused(refusal, "refused by the test")
        return self._call_modem(modem, str(message.interface), str(message.member), message.body)

    def _call_modem(self, modem: Modem, interface: str, member: str, body: list[Any]) -> tuple[str, list[Any]]:
        match interface, member:
            case (i, "GetAll") if i == PROPERTIES:
                return "a{sv}", [modem.shown()[body[0]]]
            case (i, "Get") if i == PROPERTIES:
                return "v", [modem.shown()[body[0]][body[1]]]
            case (i, "Setup") if i == SIGNAL:
                self._set_up(modem, SIGNAL, {"Rate": body[0]})
            case (i, "Setup") if i == LOCATION:
                self._set_up(modem, LOCATION, {"Enabled": body[0], "SignalsLocation": bool(body[0]) and body[1]})
            case (i, "SetPrimarySimSlot") if i == MODEM:
                self._use_sim(modem, body[0])
            case _:
                raise Refused("org.freedesktop.DBus.Error.UnknownMethod", f"{interface}.{member} is not played here")
        return "", []

    def _set_up(self, modem: Modem, interface: str, values: dict[str, Any]) -> None:
        if modem.values[MODEM]["State"] < 6:
            raise core("WrongState", "not enabled yet")
        modem.values[interface] |= values
        modem.refresh()
        self.tell()

    def _use_sim(self, modem: Modem, slot: int) -> None:
        if slot > len(self._cards):
            raise core("InvalidArgs", "Cannot switch sim: requested SIM slot number is out of bounds")
        if slot == modem.values[MODEM]["PrimarySimSlot"]:
            return
        self._slot = slot
        self._later(self.disappear, self._appear_later)

    async def appear(self) -> None:
        """A modem comes, is enabled and connected by others, and finds its network."""
        modem = self._modem = Modem(f"{ROOT}/Modem/{self._number}", self._slot, self._cards)
        self._number += 1
        modem.changed()
        self._signal(ROOT, MANAGER, "InterfacesAdded", "oa{sa{sv}}", [modem.path, modem.shown()])
        for state, registration in ((6, 0), (7, 2), (8, 1), (11, 1)):
            await asyncio.sleep(0)
            self.set_state(state, registration)

    async def disappear(self) -> None:
        if self._modem is None:
            return
        path, self._modem = self._modem.path, None
        self._signal(ROOT, MANAGER, "InterfacesRemoved", "oas", [path, list(INTERFACES)])

    async def _appear_later(self) -> None:
        await asyncio.sleep(self._switch_s)
        await self.appear()

    def _later(self, *steps: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            for step in steps:
                await step()

        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def set_state(self, state: int, registration: int) -> None:
        if self._modem is None:
            return
        before = self._modem.values[MODEM]["State"]
        self._modem.set_state(state, registration)
        self._signal(self._modem.path, MODEM, "StateChanged", "iiu", [before, state, 0])
        self.tell()

    def tell(self) -> None:
        """Tell what has changed, an interface at a time."""
        if self._modem is None:
            return
        for interface, values in self._modem.changed().items():
            self._signal(self._modem.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, values, []])

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        self._bus.send(Message.new_signal(path, interface, member, signature, body))

    async def obey(self, order: dict[str, Any]) -> Any:
        """Do what a line of standard input says; returns what is answered."""
        what = order.pop("do")
        match what:
            case "appear":
                await self.appear()
            case "disappear":
                await self.disappear()
            case "radio":
                self._set_radio(order)
            case "state":
                self.set_state(order["state"], order["registration"])
            case "property":
                self._set_property(order["interface"], order["name"], order["value"])
            case "refuse":
                self._errors = {order["member"]: order["error"]} if order["error"] else {}
            case "hang":
                self._hangs = order["hangs"]
            case "calls":
                return self.calls
        return what

    def _set_radio(self, values: dict[str, Any]) -> None:
        assert self._modem is not None
        for name, value in values.items():
            setattr(self._modem.radio, name, value)
        self._modem.refresh()
        self.tell()

    def _set_property(self, interface: str, name: str, value: Any) -> None:
        assert self._modem is not None
        self._modem.values[interface][name] = value
        self.tell()


def introspection(is_root: bool) -> str:
    """Return what this stand-in has, as a bus tells it."""
    return "<node/>" if is_root else f"<node>{''.join(_interface_xml(name) for name in INTERFACES)}</node>"


def _interface_xml(name: str) -> str:
    each = INTERFACES[name]
    properties = "".join(
        f'<property name="{key}" type="{kind}" access="read"/>' for key, kind in each.properties.items()
    )
    methods = "".join(
        f'<method name="{key}"><arg type="{into}" direction="in"/><arg type="{out}" direction="out"/></method>'
        for key, (into, out) in each.methods.items()
    )
    signals = "".join(f'<signal name="{key}"><arg type="{kind}"/></signal>' for key, kind in each.signals.items())
    return f'<interface name="{name}">{properties}{methods}{signals}</interface>'


class _Arguments(Protocol):
    bus: str
    cards: list[str]
    switch_s: float


async def serve(arguments: _Arguments) -> None:
    """Serve until standard input ends."""
    bus = await MessageBus(bus_address=arguments.bus).connect()
    manager = Manager(bus, arguments.cards, arguments.switch_s)
    bus.add_message_handler(manager.answer)
    await manager.appear()
    await bus.request_name(SERVICE)
    print("ready", flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        print(json.dumps(await manager.obey(json.loads(line))), flush=True)
    bus.disconnect()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bus", required=True)
    parser.add_argument("--cards", nargs="+", default=[f"{ROOT}/SIM/0", f"{ROOT}/SIM/1"])
    parser.add_argument("--switch-s", type=float, default=0.4)
    asyncio.run(serve(parser.parse_args()))

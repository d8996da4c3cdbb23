"""ModemManager's objects and properties, and the sight that they make (pure).

Names and numbers are those of its published D-Bus interface, version 1.16 and later
(org.freedesktop.ModemManager1, enumerations in ModemManager-enums.h).  Whatever has another type than published
counts as not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edge_node.uplink.modem.sight import UNKNOWN, ModemState, RadioSight, Reception, Technology

SERVICE = "org.freedesktop.ModemManager1"
ROOT = "/org/freedesktop/ModemManager1"
MODEM = f"{SERVICE}.Modem"
MODEM_3GPP = f"{SERVICE}.Modem.Modem3gpp"
SIGNAL = f"{SERVICE}.Modem.Signal"
LOCATION = f"{SERVICE}.Modem.Location"

Properties = Mapping[str, object]
Interfaces = Mapping[str, Properties]

STATES: Mapping[int, ModemState] = {
    -1: ModemState.FAILED,
    0: ModemState.STARTING,
    1: ModemState.STARTING,
    2: ModemState.LOCKED,
    3: ModemState.OFF,
    4: ModemState.OFF,
    5: ModemState.STARTING,
    6: ModemState.SEARCHING,
    7: ModemState.SEARCHING,
    8: ModemState.REGISTERED,
    9: ModemState.REGISTERED,
    10: ModemState.CONNECTING,
    11: ModemState.CONNECTED,
}
"""MMModemState: failed, unknown, initializing, locked, disabled, disabling, enabling, enabled, searching, registered,
disconnecting, connecting, connected."""
ENABLED = 6
"""From this state on a modem takes settings."""
NO_SIM_REASONS = frozenset({2, 5})
"""MMModemStateFailedReason: sim-missing, esim-without-profiles."""
DENIED = frozenset({3, 8})
"""MMModem3gppRegistrationState: denied, emergency-only."""
HOME, ROAMING = frozenset({1, 6, 9}), frozenset({5, 7, 10})

_NR, _LTE, _UMTS, _GSM = 1 << 15, 1 << 14, 0b11111 << 5, 0b1111 << 1
"""MMModemAccessTechnology: 5GNR; LTE; UMTS to HSPA+; GSM to EDGE.  LTE Cat-M and NB-IoT are none of ours."""
LAC_CI = 1
"""MMModemLocationSource: which cell, nothing of satellites."""
NO_CARD = "/"


@dataclass(slots=True)
class Objects:
    """What ModemManager shows of its modems, kept up to date by its signals."""

    modems: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    """By object path, interface, property."""

    def replace(self, listing: Mapping[str, Interfaces]) -> None:
        """Take the answer of GetManagedObjects in place of all that was known."""
        self.modems = {}
        for path, interfaces in listing.items():
            self.add(path, interfaces)

    def add(self, path: str, interfaces: Interfaces) -> None:
        """Take InterfacesAdded; objects that are no modem are left out."""
        known = self.modems.get(path)
        if known is None and MODEM not in interfaces:
            return
        kept = self.modems.setdefault(path, {})
        for interface, properties in interfaces.items():
            kept[interface] = dict(properties)

    def remove(self, path: str, interfaces: list[str]) -> None:
        """Take InterfacesRemoved; without its Modem interface a modem is gone."""
        known = self.modems.get(path, {})
        for interface in interfaces:
            known.pop(interface, None)
        if MODEM not in known:
            self.modems.pop(path, None)

    def change(self, path: str, interface: str, changed: Properties, invalidated: list[str]) -> None:
        """Take PropertiesChanged."""
        properties = self.modems.get(path, {}).get(interface)
        if properties is None:
            return
        properties.update(changed)
        for name in invalidated:
            properties.pop(name, None)

    def choose(self, device: str) -> str | None:
        """Return the path of the modem that `device` names, of the first one if it is empty; None: it is not there.

        Device (where it is plugged in), IMEI and DeviceIdentifier are taken for names: a path is a new one each time
        that a modem comes, also after a change of SIM.
        """
        for path in sorted(self.modems, key=_number):
            modem = self.modems[path][MODEM]
            if not device or device in (
                modem.get("Device"),
                modem.get("EquipmentIdentifier"),
                modem.get("DeviceIdentifier"),
            ):
                return path
        return None


def _number(path: str) -> tuple[int, str]:
    last = path.rpartition("/")[2]
    return (int(last), path) if last.isdecimal() else (0, path)


def sight_of(path: str, interfaces: Interfaces | None, at_s: float) -> RadioSight:
    """Return what a modem sees by its properties; None: there is no such modem.

    Without service only state and slot are told: ModemManager leaves the last cell, signal and operator standing,
    some for a moment, some for good.
    """
    if interfaces is None:
        return RadioSight(path, ModemState.ABSENT, at_s)
    modem, network = interfaces.get(MODEM, {}), interfaces.get(MODEM_3GPP, {})
    registration = _whole(network, "RegistrationState")
    bare = RadioSight(path, state_of(modem, registration), at_s, sim_slot=_whole(modem, "PrimarySimSlot") or None)
    if not bare.has_service:
        return bare
    technology = technology_of(_whole(modem, "AccessTechnologies") or 0)
    cell, nr = _receptions(technology, interfaces.get(SIGNAL, {}))
    return replace(
        bare,
        technology=technology,
        cell=cell,
        nr=nr,
        quality_pct=_quality_pct(modem.get("SignalQuality")),
        cell_id=_cell_id(interfaces.get(LOCATION, {}).get("Location")),
        operator=_text(network, "OperatorName") or _text(network, "OperatorCode"),
        is_roaming=True if registration in ROAMING else False if registration in HOME else None,
    )


def state_of(modem: Properties, registration: int | None) -> ModemState:
    """Return what a modem does by its own state and that of its registration."""
    state = STATES.get(_whole(modem, "State") or 0, ModemState.STARTING)
    if state is ModemState.FAILED and _whole(modem, "StateFailedReason") in NO_SIM_REASONS:
        return ModemState.NO_SIM
    if state is ModemState.SEARCHING and registration in DENIED:
        return ModemState.DENIED
    return state


def technology_of(mask: int) -> Technology | None:
    """Return the newest generation in a mask of MMModemAccessTechnology."""
    if mask & _NR:
        return Technology.NR_NSA if mask & _LTE else Technology.NR_SA
    for bits, technology in ((_LTE, Technology.LTE), (_UMTS, Technology.UMTS), (_GSM, Technology.GSM)):
        if mask & bits:
            return technology
    return None


def wants_signal(interfaces: Interfaces) -> bool:
    """Whether the signal must still be asked for: it is never told unless somebody set a rate."""
    return SIGNAL in interfaces and _takes_settings(interfaces) and _whole(interfaces[SIGNAL], "Rate") == 0


def wants_cell(interfaces: Interfaces) -> int:
    """Return the sources to set up so that changes of the cell are told; 0 where that is so, or cannot be."""
    location = interfaces.get(LOCATION, {})
    enabled = _whole(location, "Enabled") or 0
    can = (_whole(location, "Capabilities") or 0) & LAC_CI
    is_told = enabled & LAC_CI and location.get("SignalsLocation") is True
    return enabled | LAC_CI if can and not is_told and _takes_settings(interfaces) else 0


def sim_problem(modem: Properties, slot: int) -> str | None:
    """Return why this modem cannot use the SIM in this slot; None where it may be tried."""
    slots = modem.get("SimSlots")
    if not isinstance(slots, list) or not slots:
        return "this modem has no slots to choose from"
    if not 1 <= slot <= len(slots):
        return f"this modem has {len(slots)} slots"
    return "there is no card in it" if slots[slot - 1] == NO_CARD else None


def _takes_settings(interfaces: Interfaces) -> bool:
    return (_whole(interfaces.get(MODEM, {}), "State") or 0) >= ENABLED


def _whole(properties: Properties, name: str) -> int | None:
    value = properties.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(properties: Properties, name: str) -> str | None:
    value = properties.get(name)
    return value.strip() or None if isinstance(value, str) else None


def _receptions(technology: Technology | None, signal: Properties) -> tuple[Reception, Reception]:
    """Return how the cell that holds the connection is received, and the 5G cell beside it."""
    lte, nr = _reception(signal.get("Lte")), _reception(signal.get("Nr5g"))
    if technology is Technology.NR_SA:
        return nr, UNKNOWN
    if technology is Technology.NR_NSA:
        return lte, nr
    return lte if technology is Technology.LTE else UNKNOWN, UNKNOWN


def _reception(values: object) -> Reception:
    if not isinstance(values, dict):
        return UNKNOWN
    known = {key: float(value) for key, value in values.items() if isinstance(value, float | int)}
    return Reception(known.get("rsrp"), known.get("rsrq"), known.get("snr"))


def _quality_pct(value: object) -> int | None:
    """Return the quality if it was taken lately; 0 is what stands there until it is."""
    match value:
        case [int(quality), True] if quality > 0:
            return quality
    return None


def _cell_id(location: object) -> str | None:
    """Return the cell of "MCC,MNC,LAC,CI,TAC"; a modem that does not know it writes zeros or ones for all bits."""
    text = location.get(LAC_CI) if isinstance(location, dict) else None
    parts = text.split(",") if isinstance(text, str) else []
    if len(parts) < 4:
        return None
    cell = parts[3].strip().upper().lstrip("0")
    is_filler = len(cell) >= 7 and not cell.strip("F")
    return None if not cell or is_filler else cell

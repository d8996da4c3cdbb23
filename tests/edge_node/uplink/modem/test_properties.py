"""From ModemManager's properties to a sight: every state, mask and filler, and nothing invented."""

from typing import Any

import pytest

from edge_node.uplink.modem.properties import (
    LOCATION,
    MODEM,
    MODEM_3GPP,
    SIGNAL,
    Objects,
    sight_of,
    sim_problem,
    technology_of,
    wants_cell,
    wants_signal,
)
from edge_node.uplink.modem.sight import ModemState, RadioSight, Reception, Technology

LTE, NR = 1 << 14, 1 << 15


def modem(**properties: object) -> dict[str, dict[str, object]]:
    values: dict[str, object] = {"State": 11, "AccessTechnologies": LTE, "SignalQuality": [70, True]}
    return {MODEM: values | properties, MODEM_3GPP: {"RegistrationState": 1, "OperatorName": "CHINA MOBILE"}}


def sight(interfaces: dict[str, dict[str, object]] | None) -> RadioSight:
    return sight_of("5g", interfaces, 5.0)


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (-1, ModemState.FAILED),
        (0, ModemState.STARTING),
        (1, ModemState.STARTING),
        (2, ModemState.LOCKED),
        (3, ModemState.OFF),
        (4, ModemState.OFF),
        (5, ModemState.STARTING),
        (6, ModemState.SEARCHING),
        (7, ModemState.SEARCHING),
        (8, ModemState.REGISTERED),
        (9, ModemState.REGISTERED),
        (10, ModemState.CONNECTING),
        (11, ModemState.CONNECTED),
        (99, ModemState.STARTING),
        ("11", ModemState.STARTING),
    ],
)
def test_every_state_has_its_own_word(number: object, state: ModemState) -> None:
    assert sight(modem(State=number)).state is state


def test_a_modem_that_failed_for_want_of_a_card_says_so() -> None:
    assert sight(modem(State=-1, StateFailedReason=2)).state is ModemState.NO_SIM
    assert sight(modem(State=-1, StateFailedReason=3)).state is ModemState.FAILED


@pytest.mark.parametrize(
    ("registration", "state"), [(3, ModemState.DENIED), (8, ModemState.DENIED), (2, ModemState.SEARCHING)]
)
def test_a_network_that_refuses_the_card_is_not_searched_for_ever(registration: int, state: ModemState) -> None:
    interfaces = modem(State=6)
    interfaces[MODEM_3GPP]["RegistrationState"] = registration
    assert sight(interfaces).state is state


@pytest.mark.parametrize(
    ("mask", "technology"),
    [
        (0, None),
        (1 << 1, Technology.GSM),
        (1 << 4, Technology.GSM),
        (1 << 5, Technology.UMTS),
        (1 << 9, Technology.UMTS),
        (1 << 9 | 1 << 4, Technology.UMTS),
        (LTE, Technology.LTE),
        (LTE | 1 << 9, Technology.LTE),
        (NR | LTE, Technology.NR_NSA),
        (NR, Technology.NR_SA),
        (1 << 12, None),
        (1 << 17, None),
    ],
)
def test_the_newest_generation_of_the_mask_counts(mask: int, technology: Technology | None) -> None:
    assert technology_of(mask) is technology


def test_reception_is_that_of_the_cell_that_holds_the_connection() -> None:
    signal: dict[str, Any] = {"Lte": {"rsrp": -93.0, "rsrq": -9, "snr": 12.0, "rssi": -60.0}, "Nr5g": {"rsrp": -101.5}}
    for mask, cell, nr in (
        (LTE, Reception(-93, -9, 12), Reception()),
        (LTE | NR, Reception(-93, -9, 12), Reception(-101.5)),
        (NR, Reception(-101.5), Reception()),
        (1 << 9, Reception(), Reception()),
    ):
        seen = sight(modem(AccessTechnologies=mask) | {SIGNAL: signal})
        assert (seen.cell, seen.nr) == (cell, nr)


def test_a_value_of_another_type_is_not_known() -> None:
    interfaces = modem(SignalQuality="70", PrimarySimSlot="1", AccessTechnologies=None)
    interfaces[SIGNAL] = {"Lte": "good", "Nr5g": {"rsrp": "strong"}}
    interfaces[LOCATION] = {"Location": {1: 7}}
    interfaces[MODEM_3GPP] = {"RegistrationState": "home", "OperatorName": 7}
    assert sight(interfaces) == RadioSight("5g", ModemState.CONNECTED, 5.0)


@pytest.mark.parametrize(
    ("value", "quality_pct"), [([70, True], 70), ([70, False], None), ([0, True], None), ([], None)]
)
def test_a_quality_not_taken_lately_is_not_shown_as_if_it_were(value: object, quality_pct: int | None) -> None:
    assert sight(modem(SignalQuality=value)).quality_pct == quality_pct


@pytest.mark.parametrize(
    ("text", "cell_id"),
    [
        ("460,00,0,0A81B02,31C5", "A81B02"),
        ("460,00,FFFE,a81b02,31C5", "A81B02"),
        ("310,260,8BE3,2BAF", "2BAF"),
        ("460,00,31C5,FFFF", "FFFF"),
        ("460,00,FFFE,0,31C5", None),
        ("460,00,FFFE,FFFFFFF,31C5", None),
        ("460,00,FFFE,FFFFFFFFF,31C5", None),
        ("", None),
    ],
)
def test_a_cell_of_zeros_or_ones_alone_is_not_known(text: str, cell_id: str | None) -> None:
    assert sight(modem() | {LOCATION: {"Location": {1: text}}}).cell_id == cell_id


def test_without_service_nothing_of_the_last_cell_is_told() -> None:
    left_over = modem(State=7, PrimarySimSlot=2) | {
        SIGNAL: {"Lte": {"rsrp": -93.0}},
        LOCATION: {"Location": {1: "460,00,0,0A81B02,31C5"}},
    }
    assert sight(left_over) == RadioSight("5g", ModemState.SEARCHING, 5.0, sim_slot=2)


@pytest.mark.parametrize(("registration", "is_roaming"), [(1, False), (9, False), (5, True), (7, True), (4, None)])
def test_roaming_is_told_where_it_is_known(registration: int, is_roaming: bool | None) -> None:
    interfaces = modem()
    interfaces[MODEM_3GPP]["RegistrationState"] = registration
    assert sight(interfaces).is_roaming is is_roaming


def test_an_operator_without_a_name_is_told_by_its_number() -> None:
    interfaces = modem()
    interfaces[MODEM_3GPP] = {"OperatorName": " ", "OperatorCode": "46000"}
    assert sight(interfaces).operator == "46000"


def test_a_modem_without_slots_has_none() -> None:
    assert sight(modem(PrimarySimSlot=0)).sim_slot is None
    assert sight(modem(PrimarySimSlot=2)).sim_slot == 2
    assert sight(None) == RadioSight("5g", ModemState.ABSENT, 5.0)


def test_the_signal_is_asked_for_once_a_modem_takes_settings_and_nobody_did() -> None:
    for state, rate, wanted in ((11, 0, True), (6, 0, True), (3, 0, False), (11, 5, False)):
        assert wants_signal(modem(State=state) | {SIGNAL: {"Rate": rate}}) is wanted
    assert not wants_signal(modem())


@pytest.mark.parametrize(
    ("location", "sources"),
    [
        ({"Capabilities": 1, "Enabled": 0, "SignalsLocation": False}, 1),
        ({"Capabilities": 7, "Enabled": 5, "SignalsLocation": False}, 5),
        ({"Capabilities": 7, "Enabled": 4, "SignalsLocation": True}, 5),
        ({"Capabilities": 1, "Enabled": 1, "SignalsLocation": True}, 0),
        ({"Capabilities": 6, "Enabled": 0, "SignalsLocation": False}, 0),
        ({}, 0),
    ],
)
def test_the_cell_is_asked_for_beside_what_others_asked_for(location: dict[str, object], sources: int) -> None:
    assert wants_cell(modem() | {LOCATION: location}) == sources
    assert wants_cell(modem(State=3) | {LOCATION: location}) == 0


@pytest.mark.parametrize(
    ("slots", "slot", "problem"),
    [
        (["/SIM/0", "/SIM/1"], 2, None),
        (["/SIM/0", "/"], 2, "there is no card in it"),
        (["/SIM/0", "/SIM/1"], 3, "this modem has 2 slots"),
        (["/SIM/0", "/SIM/1"], 0, "this modem has 2 slots"),
        ([], 1, "this modem has no slots to choose from"),
        (None, 1, "this modem has no slots to choose from"),
    ],
)
def test_a_slot_that_cannot_serve_is_refused_with_the_reason(slots: object, slot: int, problem: str | None) -> None:
    assert sim_problem({"SimSlots": slots}, slot) == problem


def objects(**modems: dict[str, object]) -> Objects:
    known = Objects()
    known.replace({f"/Modem/{name[1:]}": {MODEM: properties} for name, properties in modems.items()})
    return known


def test_a_modem_is_known_by_what_stays_the_same() -> None:
    known = objects(
        m10={"Device": "/sys/usb2"}, m9={"EquipmentIdentifier": "8676980"}, m11={"DeviceIdentifier": "5f1c"}
    )  # fmt: skip
    assert known.choose("/sys/usb2") == "/Modem/10"
    assert known.choose("8676980") == "/Modem/9"
    assert known.choose("5f1c") == "/Modem/11"
    assert known.choose("other") is None
    assert known.choose("") == "/Modem/9"
    assert objects().choose("") is None


def test_objects_follow_what_the_bus_tells() -> None:
    known = Objects()
    known.add("/Modem/0", {SIGNAL: {"Rate": 0}})
    assert known.modems == {}
    known.add("/Modem/0", {MODEM: {"State": 1}})
    known.add("/Modem/0", {SIGNAL: {"Rate": 0}})
    known.change("/Modem/0", MODEM, {"State": 8}, [])
    known.change("/Modem/0", SIGNAL, {"Rate": 5}, ["Lte"])
    known.change("/Modem/0", LOCATION, {"Enabled": 1}, [])
    known.change("/Modem/7", MODEM, {"State": 8}, [])
    assert known.modems == {"/Modem/0": {MODEM: {"State": 8}, SIGNAL: {"Rate": 5}}}
    known.remove("/Modem/0", [SIGNAL])
    assert known.modems == {"/Modem/0": {MODEM: {"State": 8}}}
    known.remove("/Modem/0", [MODEM])
    assert known.modems == {}

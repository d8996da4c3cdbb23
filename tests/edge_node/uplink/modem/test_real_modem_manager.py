"""The adapter against the real ModemManager, with a modem that speaks AT commands plugged into it."""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from xml.etree import ElementTree

import pytest

from edge_node.errors import SimRefused
from edge_node.uplink.modem.modem_manager import ModemManagerModem
from edge_node.uplink.modem.sight import Change, ModemState, RadioSight, Reception, Technology, changes
from tests.fakes.at_modem import DENIED, LTE, NR_SA, ROAMING, SEARCHING, AtModem, at_modem
from tests.fakes.modem_bench import Sights, watching
from tests.fakes.modem_manager import INTERFACES, Interface
from tests.fakes.private_bus import running_bus
from tests.fakes.real_modem_manager import RealModemManager, real_modem_manager

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WHOLE = RadioSight(
    "5g",
    ModemState.REGISTERED,
    0,
    technology=Technology.LTE,
    cell=Reception(-93, -9),
    quality_pct=64,
    cell_id="A81B02",
    operator="CHINA MOBILE",
    is_roaming=False,
)


@dataclass(slots=True)
class Bench:
    at: AtModem
    manager: RealModemManager
    modem: ModemManagerModem
    sights: Sights
    path: str = ""

    async def seen(self, wanted: RadioSight) -> RadioSight:
        return await self.sights.until(lambda sight: replace(sight, at_s=0) == wanted, within_s=15)


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with (
        running_bus() as bus,
        at_modem(f"yuanzhen-{os.getpid()}") as at,
        real_modem_manager(bus.address) as manager,
    ):
        modem = ModemManagerModem("5g", "/virtual/test", signal_every_s=1, bus_address=bus.address)
        async with watching(modem.run) as sights:
            each = Bench(at, manager, modem, sights)
            each.path = await manager.plug_in(at.port)
            yield each


async def test_the_way_of_a_modem_through_the_network_is_told() -> None:
    async with bench() as each:
        at = each.at
        await each.seen(RadioSight("5g", ModemState.OFF, 0))
        await each.manager.enable(each.path)
        before = await each.seen(WHOLE)

        at.cell, at.rsrp_dbm = "00B22F1", -117
        at.tell()
        after = await each.seen(replace(WHOLE, cell_id="B22F1", cell=Reception(-117, -9)))
        assert changes(before, after) == [Change.CELL]

        at.registration = SEARCHING
        at.tell()
        await each.seen(RadioSight("5g", ModemState.SEARCHING, 0))
        at.registration = DENIED
        at.tell()
        await each.seen(RadioSight("5g", ModemState.DENIED, 0))

        at.registration, at.technology = ROAMING, LTE
        at.tell()
        back = await each.sights.until(lambda sight: sight.cell_id is not None, within_s=15)
        assert (back.technology, back.is_roaming, back.operator) == (Technology.LTE, True, "CHINA MOBILE")


async def test_standalone_5g_is_told() -> None:
    async with bench() as each:
        await each.manager.enable(each.path)
        await each.seen(WHOLE)
        each.at.technology = NR_SA
        each.at.tell()
        after = await each.sights.until(lambda sight: sight.technology is Technology.NR_SA, within_s=15)
        assert (after.cell, after.nr, after.cell_id) == (Reception(), Reception(), "A81B02")


async def test_a_radio_that_is_switched_off_and_on_is_told_again_in_full() -> None:
    async with bench() as each:
        await each.manager.enable(each.path)
        await each.seen(WHOLE)
        await each.manager.enable(each.path, on=False)
        await each.seen(RadioSight("5g", ModemState.OFF, 0))
        await each.manager.enable(each.path)
        # The quality comes with the next of ModemManager's own rounds, half a minute later.
        await each.seen(replace(WHOLE, quality_pct=None))


async def test_a_modem_that_cannot_switch_its_sim_says_so() -> None:
    async with bench() as each:
        await each.manager.enable(each.path)
        with pytest.raises(SimRefused, match="no slots to choose from"):
            await each.modem.use_sim(2)


async def test_the_stand_in_has_the_interfaces_of_the_real_one() -> None:
    async with bench() as each:
        text = await each.manager.introspect(each.path)
    real = {str(found.get("name")): _members(found) for found in ElementTree.fromstring(text).iter("interface")}
    for name, played in INTERFACES.items():
        # A later version may have more; what is played must be there with the same signature.
        there = real[name]
        assert played.properties.items() <= there.properties.items(), name
        assert played.methods.items() <= there.methods.items(), name
        assert played.signals.items() <= there.signals.items(), name


def _members(interface: ElementTree.Element) -> Interface:
    def kinds(member: ElementTree.Element, way: str | None = None) -> str:
        return "".join(str(arg.get("type")) for arg in member.findall("arg") if way in (None, arg.get("direction")))

    return Interface(
        {str(each.get("name")): str(each.get("type")) for each in interface.findall("property")},
        {str(each.get("name")): (kinds(each, "in"), kinds(each, "out")) for each in interface.findall("method")},
        {str(each.get("name")): kinds(each) for each in interface.findall("signal")},
    )

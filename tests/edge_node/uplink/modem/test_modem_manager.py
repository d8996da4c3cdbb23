"""The adapter for ModemManager on a real D-Bus, against a stand-in that speaks the same interface."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from dbus_fast import Message, MessageFlag, Variant
from dbus_fast.aio import MessageBus

from edge_node.errors import ModemUnreachable, SimRefused
from edge_node.uplink.modem import bus as dbus
from edge_node.uplink.modem.modem_manager import ModemManagerModem
from edge_node.uplink.modem.sight import Change, ModemState, RadioSight, Reception, Technology, carried, changes
from edge_node.uplink.modem.sim_choice import Reason, SimPolicy
from edge_node.uplink.modem.sim_keeper import SimKeeper
from tests.fakes.modem_bench import Sights, StandIn, standing_in, watching
from tests.fakes.modem_manager import DEVICE, IMEI, LOCATION, MODEM, ROOT, SIGNAL
from tests.fakes.private_bus import PrivateBus, running_bus

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def bus() -> AsyncIterator[PrivateBus]:
    async with running_bus() as running:
        yield running


def modem_on(bus: PrivateBus, device: str = "", list_every_s: float = 30) -> ModemManagerModem:
    return ModemManagerModem("5g", device, bus_address=bus.address, list_every_s=list_every_s)


@contextlib.asynccontextmanager
async def in_service(bus: PrivateBus, *words: str, list_every_s: float = 30) -> AsyncIterator[tuple[StandIn, Sights]]:
    """Run stand-in and adapter, and begin once all is seen."""
    run = modem_on(bus, list_every_s=list_every_s).run
    async with standing_in(bus.address, *words) as manager, watching(run) as sights:
        await sights.until(is_whole)
        yield manager, sights


def is_whole(sight: RadioSight) -> bool:
    return sight.cell_id is not None and sight.cell.rsrp_dbm is not None


def named(sights: Sights) -> list[Change]:
    found: list[Change] = []
    known: RadioSight | None = None
    for sight in sights.all:
        found += changes(known, sight)
        known = carried(known, sight)
    return found


async def test_all_that_the_modem_sees_is_told(bus: PrivateBus) -> None:
    async with in_service(bus) as (_, sights):
        assert replace(sights.last, at_s=0) == RadioSight(
            "5g",
            ModemState.CONNECTED,
            0,
            technology=Technology.NR_NSA,
            cell=Reception(-93, -9, 12),
            nr=Reception(-101, -11, 7.5),
            quality_pct=70,
            cell_id="A81B02",
            operator="CHINA MOBILE",
            sim_slot=1,
            is_roaming=False,
        )


async def test_nothing_is_asked_again_while_nothing_happens(bus: PrivateBus) -> None:
    async with in_service(bus) as (manager, sights):
        asked = await manager.tell("calls")
        await manager.tell("radio", lte={"rsrp": -95.0})
        await sights.until(lambda sight: sight.cell.rsrp_dbm == -95)
        assert sorted(asked) == sorted(
            ["org.freedesktop.DBus.ObjectManager.GetManagedObjects", f"{SIGNAL}.Setup", f"{LOCATION}.Setup"]
        )
        assert await manager.tell("calls") == asked


async def test_a_hand_over_is_one_sight(bus: PrivateBus) -> None:
    async with in_service(bus) as (manager, sights):
        before = len(sights.all)
        await manager.tell("radio", cell="0B22F1", technologies=1 << 14, lte={"rsrp": -117.0}, quality=31)
        await sights.until(lambda sight: sight.cell_id == "B22F1")
        assert len(sights.all) == before + 1
        assert sights.last.cell.rsrp_dbm == -117
        assert named(sights)[-2:] == [Change.TECHNOLOGY, Change.CELL]


@pytest.mark.parametrize(
    ("state", "registration", "seen"), [(7, 2, ModemState.SEARCHING), (6, 3, ModemState.DENIED), (3, 0, ModemState.OFF)]
)
async def test_a_loss_of_service_is_told_and_its_end(
    bus: PrivateBus, state: int, registration: int, seen: ModemState
) -> None:
    async with in_service(bus) as (manager, sights):
        await manager.tell("state", state=state, registration=registration)
        lost = await sights.until(lambda sight: not sight.has_service)
        assert replace(lost, at_s=0) == RadioSight("5g", seen, 0, sim_slot=1)
        await manager.tell("state", state=11, registration=5)
        assert (await sights.until(is_whole)).is_roaming
        assert named(sights)[-2:] == [Change.LOST, Change.FOUND]


async def test_a_modem_that_is_unplugged_is_absent_until_it_comes_back(bus: PrivateBus) -> None:
    async with in_service(bus) as (manager, sights):
        await manager.tell("disappear")
        gone = await sights.until(lambda sight: sight.state is ModemState.ABSENT)
        assert replace(gone, at_s=0) == RadioSight("5g", ModemState.ABSENT, 0)
        await manager.tell("appear")
        # It is another object now, which must be asked for signal and cell like the first.
        assert (await sights.until(is_whole)).state is ModemState.CONNECTED


async def test_the_other_sim_is_taken_into_use(bus: PrivateBus) -> None:
    async with in_service(bus) as (_, sights):
        await modem_on(bus).use_sim(2)
        await sights.until(lambda sight: sight.state is ModemState.ABSENT)
        assert (await sights.until(is_whole)).sim_slot == 2
        assert [change for change in named(sights) if change in (Change.LOST, Change.SIM)] == [Change.LOST, Change.SIM]


async def test_the_sim_in_use_is_no_change(bus: PrivateBus) -> None:
    async with in_service(bus) as (manager, sights):
        await modem_on(bus).use_sim(1)
        await manager.tell("radio", quality=44)
        await sights.until(lambda sight: sight.quality_pct == 44)
        assert all(sight.has_service for sight in sights.all)


@pytest.mark.parametrize(
    ("slot", "words", "reason"),
    [
        (3, (), "this modem has 2 slots"),
        (2, ("--cards", f"{ROOT}/SIM/0", "/"), "there is no card in it"),
    ],
)
async def test_a_slot_that_cannot_serve_is_refused_before_anything_is_lost(
    bus: PrivateBus, slot: int, words: tuple[str, ...], reason: str
) -> None:
    async with standing_in(bus.address, *words) as manager:
        with pytest.raises(SimRefused, match=reason) as refusal:
            await modem_on(bus).use_sim(slot)
        assert refusal.value.slot == slot
        assert f"{MODEM}.SetPrimarySimSlot" not in await manager.tell("calls")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("org.freedesktop.ModemManager1.Error.Core.Unsupported", "this modem cannot switch"),
        ("org.freedesktop.ModemManager1.Error.Core.InvalidArgs", "there is no such slot"),
        ("org.freedesktop.ModemManager1.Error.Core.Unauthorized", "not permitted to switch"),
        ("org.freedesktop.DBus.Error.AccessDenied", "not permitted to switch"),
        ("org.freedesktop.ModemManager1.Error.Core.InProgress", "InProgress: refused by the test"),
    ],
)
async def test_what_modem_manager_refuses_is_said_in_words(bus: PrivateBus, error: str, reason: str) -> None:
    async with standing_in(bus.address) as manager:
        await manager.tell("refuse", member="SetPrimarySimSlot", error=error)
        with pytest.raises(SimRefused, match=reason):
            await modem_on(bus).use_sim(2)


async def test_a_modem_is_chosen_by_its_place_or_number(bus: PrivateBus) -> None:
    async with standing_in(bus.address):
        for device, is_there in ((DEVICE, True), (IMEI, True), ("5f1c", True), ("/sys/other", False)):
            async with watching(modem_on(bus, device).run) as sights:
                sight = await sights.until(lambda _: True)
                assert (sight.state is not ModemState.ABSENT) == is_there
        with pytest.raises(SimRefused, match="not there"):
            await modem_on(bus, "/sys/other").use_sim(2)


async def test_modem_manager_may_come_end_and_come_again(bus: PrivateBus) -> None:
    async with watching(modem_on(bus).run) as sights:
        assert (await sights.until(lambda _: True)).state is ModemState.ABSENT
        for _ in range(2):
            async with standing_in(bus.address) as manager:
                await sights.until(is_whole)
                await manager.kill()
                await sights.until(lambda sight: sight.state is ModemState.ABSENT)


async def test_a_listing_that_nobody_answers_ends_the_watch(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbus, "ANSWER_LIMIT_S", 0.3)
    async with standing_in(bus.address) as manager:
        run = asyncio.ensure_future(modem_on(bus, list_every_s=0.2).run(lambda _: None))
        await manager.tell("hang", hangs=True)
        with pytest.raises(ModemUnreachable, match="not answered"):
            await asyncio.wait_for(run, 5)


async def test_a_sight_is_told_now_and_then_as_a_sign_of_life(bus: PrivateBus) -> None:
    async with in_service(bus, list_every_s=0.2) as (_, sights):
        before = sights.last
        after = await sights.until(lambda sight: sight.at_s > before.at_s)
        assert replace(after, at_s=before.at_s) == before


async def test_a_refused_set_up_is_tried_again_with_the_next_listing(bus: PrivateBus) -> None:
    async with standing_in(bus.address) as manager:
        await manager.tell("refuse", member="Setup", error="org.freedesktop.ModemManager1.Error.Core.Retry")
        async with watching(modem_on(bus, list_every_s=0.3).run) as sights:
            sight = await sights.until(lambda sight: sight.has_service)
            assert (sight.quality_pct, sight.cell_id) == (70, None)
            await manager.tell("refuse", member="Setup", error="")
            await sights.until(is_whole)


async def test_a_rate_that_another_program_set_is_left(bus: PrivateBus) -> None:
    async with standing_in(bus.address) as manager:
        await manager.tell("property", interface=SIGNAL, name="Rate", value=17)
        async with watching(modem_on(bus).run) as sights:
            await sights.until(lambda sight: sight.cell_id is not None)
            assert f"{SIGNAL}.Setup" not in await manager.tell("calls")


async def test_a_bus_that_ends_ends_the_watch(bus: PrivateBus) -> None:
    async with standing_in(bus.address):
        sights = Sights()
        run = asyncio.ensure_future(modem_on(bus).run(sights.tell))
        await sights.until(is_whole)
        await bus.end()
        with pytest.raises(ModemUnreachable, match="ended the connection"):
            await asyncio.wait_for(run, 5)


async def test_without_a_bus_or_modem_manager_the_reason_is_told(bus: PrivateBus) -> None:
    with pytest.raises(ModemUnreachable, match="no D-Bus"):
        await ModemManagerModem("5g", bus_address="unix:path=/nowhere/socket").run(lambda _: None)
    with pytest.raises(ModemUnreachable, match="no D-Bus"):
        await ModemManagerModem("5g", bus_address="carrier-pigeon:").use_sim(1)
    with pytest.raises(ModemUnreachable, match="does not run"):
        await modem_on(bus).use_sim(1)


async def test_what_others_on_the_bus_say_and_ask_changes_nothing(bus: PrivateBus) -> None:
    async with in_service(bus) as (manager, sights):
        other = await MessageBus(bus_address=bus.address).connect()
        names = await other.call(Message("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ListNames"))
        for name in set(names.body[0]) - {other.unique_name}:
            ping = Message(name, "/", "org.freedesktop.DBus.Peer", "Ping", flags=MessageFlag.NO_REPLY_EXPECTED)
            forged = Message.new_signal(
                f"{ROOT}/Modem/0", "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as",
                [MODEM, {"State": Variant("i", 3)}, []],
            )  # fmt: skip
            forged.destination = name
            for message in (ping, forged):
                await other.send(message)
        other.disconnect()
        await manager.tell("radio", quality=44)
        await sights.until(lambda sight: sight.quality_pct == 44)
        assert all(sight.has_service for sight in sights.all)


async def test_a_clinic_whose_card_loses_its_network_comes_back_with_the_other(bus: PrivateBus) -> None:
    async with in_service(bus) as (manager, sights):
        policy = SimPolicy(no_service_s=0.2)
        keeper = SimKeeper(modem_on(bus), policy, lambda: sights.last, lambda: 0)
        task = asyncio.ensure_future(keeper.run())
        await manager.tell("state", state=6, registration=3)
        assert (await sights.until(lambda sight: is_whole(sight) and sight.sim_slot == 2)).has_service
        assert keeper.choice.reason is Reason.NO_SERVICE
        task.cancel()
        await asyncio.wait([task])

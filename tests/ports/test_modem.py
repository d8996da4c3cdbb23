"""What the uplink relies on, for the modem of ModemManager and for the recorded one."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_node.errors import SimRefused
from edge_node.uplink.modem.modem_manager import ModemManagerModem
from edge_node.uplink.modem.port import Modem
from edge_node.uplink.modem.recorded import RecordedModem
from edge_node.uplink.modem.sight import ModemState
from tests.fakes.modem_bench import standing_in, watching
from tests.fakes.private_bus import running_bus

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DRIVE = """Timestamp,Operatorname,RAWCELLID,NetworkMode,RSRP,RSRQ,SNR
2019.12.16_07.22.43,B,11016962,LTE,-93,-10,2.0
2019.12.16_07.22.44,B,11016963,LTE,-93,-10,2.0
"""


@contextlib.asynccontextmanager
async def driven(_folder: Path) -> AsyncIterator[Modem]:
    async with running_bus() as bus, standing_in(bus.address):
        yield ModemManagerModem("5g", bus_address=bus.address, list_every_s=0.2)


@contextlib.asynccontextmanager
async def recorded(folder: Path) -> AsyncIterator[Modem]:
    file = folder / "drive.csv"
    file.write_text(DRIVE)
    yield RecordedModem("5g", {1: file, 2: file}, speed=100)


@pytest.fixture(params=[driven, recorded], ids=["modem-manager", "recorded"])
async def modem(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Modem]:
    async with request.param(tmp_path) as modem:
        yield modem


async def test_a_sight_is_told_at_once_and_then_again_with_a_later_time(modem: Modem) -> None:
    async with watching(modem.run) as sights:
        first = await sights.until(lambda sight: sight.has_service)
        assert first.path == "5g"
        later = await sights.until(lambda sight: sight.at_s > first.at_s)
        assert later.at_s > first.at_s


async def test_it_may_be_run_again_after_it_was_cancelled(modem: Modem) -> None:
    for _ in range(2):
        async with watching(modem.run) as sights:
            await sights.until(lambda sight: sight.cell_id is not None)


async def test_the_other_sim_is_seen_after_the_modem_was_away(modem: Modem) -> None:
    async with watching(modem.run) as sights:
        await sights.until(lambda sight: sight.sim_slot == 1)
        await modem.use_sim(2)
        await sights.until(lambda sight: sight.state is ModemState.ABSENT)
        await sights.until(lambda sight: sight.sim_slot == 2)


async def test_a_slot_that_is_not_there_is_refused_and_nothing_changes(modem: Modem) -> None:
    async with watching(modem.run) as sights:
        await sights.until(lambda sight: sight.sim_slot == 1)
        with pytest.raises(SimRefused):
            await modem.use_sim(3)
        before = sights.last
        assert (await sights.until(lambda sight: sight.at_s > before.at_s)).sim_slot == 1

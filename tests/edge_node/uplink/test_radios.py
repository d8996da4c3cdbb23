"""The node's modems: what page, hub and estimate are told of a recorded drive, and the change to the second SIM."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from telemed.radio import radio_views

from edge_node.config import ModemConfig, SimConfig
from edge_node.uplink.radios import Radios
from tests.edge_node.uplink.modem.test_recorded import drive

pytestmark = pytest.mark.anyio


def moving(folder: Path) -> Path:
    return drive(
        folder,
        "2020.02.14_13.00.00,Carrier,11,LTE,-85,-10,10",
        "2020.02.14_13.00.30,Carrier,12,LTE,-120,-10,10",
        "2020.02.14_13.10.00,Carrier,12,LTE,-120,-10,10",
    )


@contextlib.asynccontextmanager
async def running(radios: Radios) -> AsyncIterator[None]:
    (radio,) = radios.each
    task = asyncio.create_task(radio.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_hand_over_is_shown_counted_and_begins_the_estimate_anew(tmp_path: Path) -> None:
    config = ModemConfig(path="cellular", kind="recorded", recordings=[moving(tmp_path)], speed=100)
    radios, guesses = Radios([config], lambda: 0.0), asyncio.Queue[int]()
    radios.on_new_way(guesses.put_nowait)
    (before,) = radio_views(radios.messages())
    assert (before.state, before.bars) == ("starting", None)

    async with running(radios), asyncio.timeout(5):
        first, second = await guesses.get(), await guesses.get()
        assert first > second
        (view,) = radio_views(radios.messages())
        assert (view.state, view.bars, view.operator, view.rsrp_dbm) == ("connected", 1, "Carrier", -120)
        assert view.technology is not None
        assert (view.technology.en, view.sim_slot, view.sim_text) == ("4G", None, None)
        assert radios.each[0].changed == {"found": 1, "cell": 1}


async def test_without_service_the_second_sim_is_used_and_the_page_says_why(tmp_path: Path) -> None:
    gone = drive(tmp_path, "2020.02.14_13.00.00,0,-,-,-,-,-", "2020.02.14_13.10.00,0,-,-,-,-,-", name="gone.csv")
    config = ModemConfig(
        path="cellular",
        kind="recorded",
        recordings=[gone, moving(tmp_path)],
        speed=100,
        sim=SimConfig(no_service_s=0.1),
    )
    radios, found = Radios([config], lambda: 0.0), asyncio.Event()
    radios.on_new_way(lambda _guess_bps: found.set())
    async with running(radios), asyncio.timeout(10):
        await found.wait()
        (view,) = radio_views(radios.messages())
        assert (view.sim_slot, view.bars) == (2, 4)
        assert view.sim_text is not None
        assert view.sim_text.en == "the other SIM had no service for long"

"""The node compares by itself at night, when it is asked, and again where a comparison broke off."""

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from telemed.errors import Code

from cloud_hub.store import reconciliations
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES
from edge_node.buffer.store import Buffer
from edge_node.config import EdgeConfig, ReconcileConfig
from edge_node.uplink.reconcile import nightly
from edge_node.uplink.reconcile.diary import Diary, Entry
from edge_node.uplink.reconcile.nightly import Reconciler
from edge_node.uplink.transfer.pace import Unlimited
from tests.fakes.brokers import running, until
from tests.fakes.containers import CLINIC
from tests.fakes.ports import free_port
from tests.fakes.reconcile_hub import ReconcileHub, serving
from tests.fakes.transfer_node import node_config

pytestmark = pytest.mark.anyio
LONG_AGO = Entry(time.time_ns() - 3 * 86400 * 10**9)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "LOOK_EVERY_S", 0.02)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ReconcileHub]:
    care = Database(f"sqlite:///{tmp_path / 'care.db'}", CARE, "care")
    samples = Database(f"sqlite:///{tmp_path / 'samples.db'}", SAMPLES, "samples")
    for database in (care, samples):
        database.migrate()
    yield ReconcileHub(care, samples)
    samples.close()
    care.close()


def config_of(folder: Path, port: int, *, enabled: bool = True) -> EdgeConfig:
    """Return a configuration whose night is half a day away: one that began meanwhile would be one more."""
    config = node_config(folder, port)
    config.buffer.folder.mkdir(exist_ok=True)
    hour = (datetime.now(ZoneInfo(config.node.timezone)).hour + 12) % 24
    return config.model_copy(update={"reconcile": ReconcileConfig(enabled=enabled, hour=hour)})


def diary_of(config: EdgeConfig) -> Diary:
    return Diary(config.buffer.folder)


def ended(diary: Diary) -> bool:
    last = diary.last()
    return last is not None and last.began_ns > 0


async def reasons(hub: ReconcileHub) -> list[str]:
    found = await hub.care.read(lambda c: c.execute(text("SELECT reason FROM reconciliation")).scalars().all())
    return list(found)


async def test_a_missed_night_is_made_up_once(buffer: Buffer, hub: ReconcileHub, tmp_path: Path) -> None:
    async with serving(hub, tmp_path) as port:
        config = config_of(tmp_path, port)
        diary_of(config).write(LONG_AGO)
        async with running(Reconciler(config, buffer, Unlimited()).run()):
            await until(lambda: ended(diary_of(config)))
            await asyncio.sleep(0.2)
    assert await reasons(hub) == ["nightly"]
    assert [run.state for run in hub.ended] == ["finished"]


async def test_a_new_node_waits_for_its_first_night(buffer: Buffer, hub: ReconcileHub, tmp_path: Path) -> None:
    async with serving(hub, tmp_path) as port:
        config = config_of(tmp_path, port)
        async with running(Reconciler(config, buffer, Unlimited()).run()):
            await until(lambda: diary_of(config).last() is not None)
            await asyncio.sleep(0.2)
    assert await reasons(hub) == []


async def test_where_nights_are_off_it_compares_only_when_asked(
    buffer: Buffer, hub: ReconcileHub, tmp_path: Path
) -> None:
    async with serving(hub, tmp_path) as port:
        config = config_of(tmp_path, port, enabled=False)
        diary_of(config).write(LONG_AGO)
        async with running(Reconciler(config, buffer, Unlimited()).run()):
            await asyncio.sleep(0.2)
            assert await reasons(hub) == []
            diary_of(config).ask()
            await until(lambda: ended(diary_of(config)) and not diary_of(config).is_asked())
    assert await reasons(hub) == ["asked"]


async def test_a_hub_that_is_away_is_tried_again_and_then_left_to_the_next_night(
    buffer: Buffer, tmp_path: Path
) -> None:
    config = config_of(tmp_path, free_port())
    diary_of(config).write(LONG_AGO)
    async with running(Reconciler(config, buffer, Unlimited()).run()):
        await until(lambda: ended(diary_of(config)), within_s=15)
    last = diary_of(config).last()
    assert last is not None
    assert (last.code, last.counts) == (Code.LINK_DOWN, {})


async def test_a_comparison_that_broke_off_is_begun_anew_after_a_restart(
    buffer: Buffer, hub: ReconcileHub, tmp_path: Path
) -> None:
    async with serving(hub, tmp_path) as port:
        config = config_of(tmp_path, port)
        diary_of(config).write(LONG_AGO)
        await hub.care.write(lambda c: reconciliations.begin(c, "killed", CLINIC, "nightly", 1))
        async with running(Reconciler(config, buffer, Unlimited()).run()):
            await until(lambda: ended(diary_of(config)))
    assert [run.state for run in hub.ended] == ["broken", "finished"]

"""The intake in a process of its own, so that it can be killed or traced.

Arguments: FOLDER PORT SECRETS, and "unsynced" for commits that are not synced (to show that a check notices).
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from cloud_hub.config import BrokerConfig, HubConfig, StoreConfig
from cloud_hub.desk.intake import Intake
from cloud_hub.ingest.gateway import Ingest
from cloud_hub.store import engine, events
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES

PYTHON = sys.executable


def unsynced(connection: Any, _record: object) -> None:
    """Settings of a writer that breaks the promise."""
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=WAL")


def stores(folder: Path) -> tuple[Database, Database]:
    """The two databases in a folder, migrated."""
    samples = Database(f"sqlite:///{folder / 'samples.db'}", SAMPLES, "samples")
    care = Database(f"sqlite:///{folder / 'care.db'}", CARE, "care")
    samples.migrate()
    care.migrate()
    return samples, care


async def _main(folder: Path, port: int, secrets: Path) -> None:
    samples, care = stores(folder)
    config = HubConfig(
        region="baoshan",
        name_zh="测试",
        name_en="Test",
        store=StoreConfig(samples_url="-", care_url="-"),
        broker=BrokerConfig(port=port, secrets_file=secrets),
    )
    intake = Intake(lambda _taken: None)
    ingest = Ingest(config, samples, care, intake=intake, events=events, registry=CollectorRegistry())
    task = asyncio.create_task(ingest.run())
    while not ingest.is_connected:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await task


if __name__ == "__main__":
    if "unsynced" in sys.argv:
        engine._writers_settings = unsynced
    uvloop.run(_main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))

"""The hub's index over SQLite, and over PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from telemed.topics import NodeAddress

from cloud_hub.store.engine import Database
from tests.fakes.imaging_hub import ImagingHub

CLINIC = NodeAddress("baoshan", "clinic", "edge-clinic")
HOME = NodeAddress("baoshan", "home", "edge-home")


@pytest.fixture
async def hub(care_db: Database, tmp_path: Path) -> AsyncIterator[ImagingHub]:
    """An index on each database."""
    found = ImagingHub.over(care_db, tmp_path / "blobs")
    yield found
    await found.readers.close()

"""What every test shares: the event loop back end, and where the shared recordings lie."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio, the loop of the product."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared recordings; the test is skipped by name where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("shared recordings are not here (../shared/data)")
    return SHARED_DATA

"""What every test shares: the event loop back end, and where the shared recordings lie."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# How long an example takes says how busy the machine is; speed is looked at in bench/.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")


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


@pytest.fixture(autouse=True)
def _logging_as_shipped() -> Iterator[None]:
    """Undo what a command line under test configured: its stream is closed when that test ends."""
    yield
    structlog.reset_defaults()

"""Whether this machine can make tunnels."""

import pytest

from tests.faults.relay.namespaces import Unavailable
from tests.faults.relay.tunnel import tunnel


@pytest.fixture(scope="session")
def tunnels() -> None:
    """Skip the test, with the reason, where namespaces or TUN interfaces cannot be had."""
    try:
        with tunnel():
            return
    except Unavailable as reason:
        pytest.skip(f"no tunnel between namespaces here: {reason}")

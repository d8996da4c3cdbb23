"""What the uplink's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_node.buffer.store import Buffer
from edge_node.config import UplinkConfig


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[Buffer]:
    opened = Buffer.open(tmp_path / "edge-test", group_commit_ms=2)
    yield opened
    opened.close()


@pytest.fixture
def config(tmp_path: Path) -> UplinkConfig:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    return UplinkConfig(
        secret_file=secret,
        first_retry_s=0.05,
        longest_retry_s=0.2,
        resend_after_s=0.3,
        presence_every_s=0.2,
        silence_after_s=1,
        datagram_enabled=False,
    )

"""Cutting off whoever was revoked goes on after whatever goes wrong once, on both brokers."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloud_hub.access.ca_folder import open_folder
from cloud_hub.broker_certificates import Certified
from cloud_hub.broker_external import ExternalBroker
from cloud_hub.broker_hardening import HardenedBroker
from cloud_hub.broker_process import _cut_denied
from cloud_hub.broker_rights import Users
from cloud_hub.config import BrokerConfig
from tests.fakes.brokers import running, until
from tests.fakes.containers import CLINIC

pytestmark = pytest.mark.anyio


class Broken:
    """A broker whose first cut fails."""

    def __init__(self) -> None:
        self.cuts = 0

    async def cut(self, _is_denied: Callable[[Any], bool]) -> None:
        self.cuts += 1
        if self.cuts == 1:
            raise KeyError("gone meanwhile")


async def test_the_embedded_broker_looks_again_after_a_failure_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker, told = Broken(), asyncio.Event()
    with caplog.at_level(logging.WARNING, "cloud_hub.broker"):
        async with running(_cut_denied(broker, Certified(tmp_path, "baoshan"), told)):  # type: ignore[arg-type]
            for times in (1, 2):
                told.set()
                await until(lambda times=times: broker.cuts == times)  # type: ignore[misc]
    assert caplog.messages == ["cut-failed why=KeyError"]


async def test_a_session_that_cannot_be_closed_keeps_no_other_open() -> None:
    closed: list[str] = []

    def held(name: str) -> tuple[Any, Any]:
        async def close() -> None:
            if name == "bad":
                raise AttributeError("half closed")
            closed.append(name)

        session = SimpleNamespace(client_id=name, transitions=SimpleNamespace(is_connected=lambda: True))
        return session, SimpleNamespace(handle_connection_closed=close, stop=close)

    broker = HardenedBroker.__new__(HardenedBroker)
    broker._sessions = {name: held(name) for name in ("bad", "good")}
    await broker.cut(lambda _session: True)
    assert closed == ["good", "good"]


async def test_a_node_that_is_denied_again_while_its_connections_are_ended_is_ended_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_folder(tmp_path / "pki", "baoshan", ["127.0.0.1"], "hub")
    folder.write_denied(frozenset(), datetime.now(UTC))
    (tmp_path / "mosquitto").mkdir()
    external = ExternalBroker(BrokerConfig(), tmp_path / "mosquitto", folder, Users({}))
    taken: list[str] = []

    async def take_over(client_id: str) -> None:
        taken.append(client_id)
        if len(taken) == 2:
            external.denied(CLINIC)
        if len(taken) == 6:
            raise OSError("the broker went away")

    monkeypatch.setattr(external, "_take_over", take_over)
    external.denied(CLINIC)
    await external._tell()
    assert len(taken) == 4
    with pytest.raises(OSError, match="went away"):
        await external._tell()
    await external._tell()
    assert len(taken) == 10
    await external._tell()
    assert len(taken) == 10

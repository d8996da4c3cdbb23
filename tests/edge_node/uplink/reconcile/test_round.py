"""A node's comparison with the real server of the hub, over real stores on both sides."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from telemed.errors import Code
from telemed.topics import Up
from telemed.v1 import reconcile_pb2_grpc

from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES
from edge_node.buffer.outbox import StreamKey
from edge_node.buffer.store import Buffer
from edge_node.errors import HubRefuses, LinkDown
from edge_node.samples.measurement import Intake, NumericSet, Value
from edge_node.uplink.reconcile import round as rounds
from edge_node.uplink.reconcile.calls import Calls
from edge_node.uplink.reconcile.round import Round, Scope
from edge_node.uplink.transfer.channel import Login
from edge_node.uplink.transfer.pace import Unlimited
from tests.fakes.reconcile_hub import ReconcileHub, serving
from tests.fakes.rpc_hub import CLINIC, SECRETS

pytestmark = pytest.mark.anyio
EVERYTHING = Scope("asked", 0, 0, 1)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FINISH_EVERY_S", 0.02)
    monkeypatch.setattr(rounds, "FINISH_WITHIN_S", 0.1)
    monkeypatch.setattr(rounds, "REST", 0.0)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ReconcileHub]:
    care = Database(f"sqlite:///{tmp_path / 'care.db'}", CARE, "care")
    samples = Database(f"sqlite:///{tmp_path / 'samples.db'}", SAMPLES, "samples")
    for database in (care, samples):
        database.migrate()
    yield ReconcileHub(care, samples)
    samples.close()
    care.close()


@pytest.fixture
async def port(hub: ReconcileHub, tmp_path: Path) -> AsyncIterator[int]:
    async with serving(hub, tmp_path) as port:
        yield port


def brought(number: int) -> Intake:
    value = Value("spo2", str(90 + number % 10), "%")
    sample = NumericSet("mon-b01", time.time_ns(), time.time_ns(), (value,))
    return Intake(sets=(sample,))


async def fill(buffer: Buffer, hub: ReconcileHub, count: int) -> StreamKey:
    """Store sets at the node, have the hub take them in, and acknowledge them."""
    for number in range(count):
        await buffer.store_intake(brought(number))
    key = next(iter(buffer.streams(Up.VITALS)))
    hub.take(*await buffer.read_stored(Up.VITALS, key, 1, count))
    await buffer.acknowledge(Up.VITALS, {key: count})
    return key


async def compare(
    buffer: Buffer,
    port: int,
    scope: Scope = EVERYTHING,
    secret: str = SECRETS[CLINIC.node],
    pace: Unlimited | None = None,
) -> dict[str, int]:
    login = Login("127.0.0.1", port, CLINIC, secret)
    async with login.channel(0) as channel:
        calls = Calls(login, reconcile_pb2_grpc.ReconcileStub(channel), pace or Unlimited())
        report = await Round(f"run-{time.time_ns()}", buffer, calls).run(EVERYTHING)
    return {field.name: value for field, value in report.ListFields()}


async def test_nothing_to_heal_is_said(buffer: Buffer, hub: ReconcileHub, port: int) -> None:
    await fill(buffer, hub, 30)
    assert await compare(buffer, port) == {"streams": 1, "compared": 30}


async def test_what_is_missing_is_asked_for(buffer: Buffer, hub: ReconcileHub, port: int) -> None:
    key = await fill(buffer, hub, 30)
    hub.run("DELETE FROM record WHERE seq BETWEEN 5 AND 8")
    assert await compare(buffer, port) == {"streams": 1, "compared": 30, "open": 4}
    assert hub.reopened == {key.stream: 4}
    hub.take(*await buffer.read_stored(Up.VITALS, key, 5, 8))
    assert await compare(buffer, port) == {"streams": 1, "compared": 30}


async def test_blocks_beyond_one_call_are_compared_too(
    buffer: Buffer, hub: ReconcileHub, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "BLOCKS_LIMIT", 1)
    await fill(buffer, hub, 1100)
    hub.run("DELETE FROM record WHERE seq IN (1, 1100)")
    assert await compare(buffer, port) == {"streams": 1, "compared": 1100, "open": 2}


async def test_what_was_not_acknowledged_is_left_to_the_usual_way(buffer: Buffer, hub: ReconcileHub, port: int) -> None:
    await fill(buffer, hub, 10)
    await buffer.store_intake(brought(11))
    assert await compare(buffer, port) == {"streams": 1, "compared": 10}


async def test_the_hubs_version_stands_and_ours_is_brought(buffer: Buffer, hub: ReconcileHub, port: int) -> None:
    await fill(buffer, hub, 10)
    hub.run("UPDATE record SET payload = zeroblob(5) WHERE seq IN (3, 4)")
    assert await compare(buffer, port) == {"streams": 1, "compared": 10, "conflicts": 2}
    kept = await hub.samples.read(lambda c: c.exec_driver_sql("SELECT seq, reason FROM dead_letter").fetchall())
    assert [tuple(row) for row in kept] == [(3, Code.RECORDS_DIFFER), (4, Code.RECORDS_DIFFER)]


@pytest.mark.parametrize("harm", ["payload = zeroblob(5)", "offset_ms = 9999999999", "codec = 77"])
async def test_a_damaged_copy_of_ours_accuses_nobody(
    buffer: Buffer, hub: ReconcileHub, port: int, tmp_path: Path, harm: str
) -> None:
    await fill(buffer, hub, 10)
    change(tmp_path, f"UPDATE log SET {harm} WHERE seq = 3")
    assert await compare(buffer, port) == {"streams": 1, "compared": 9, "damaged": 1}


async def test_what_neither_side_has_any_more_is_lost(
    buffer: Buffer, hub: ReconcileHub, port: int, tmp_path: Path
) -> None:
    await fill(buffer, hub, 10)
    hub.run("DELETE FROM record WHERE seq = 3")
    change(tmp_path, "DELETE FROM log WHERE seq <= 5")
    assert await compare(buffer, port) == {"streams": 1, "compared": 5, "lost": 1}


async def test_a_node_that_kept_nothing_still_learns_what_is_lost(
    buffer: Buffer, hub: ReconcileHub, port: int, tmp_path: Path
) -> None:
    await fill(buffer, hub, 10)
    hub.run("DELETE FROM record WHERE seq = 10")
    change(tmp_path, "DELETE FROM log")
    assert await compare(buffer, port) == {"streams": 1, "lost": 1}


async def test_every_byte_takes_its_turn(buffer: Buffer, hub: ReconcileHub, port: int) -> None:
    await fill(buffer, hub, 200)
    hub.run("DELETE FROM record WHERE seq = 3")
    pace = Unlimited(segment_bytes=500)
    await compare(buffer, port, pace=pace)
    assert pace.lost_bytes > 200 * 16


async def test_turns_of_a_call_that_is_not_made_are_given_back(buffer: Buffer, port: int) -> None:
    pace = Jammed()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await compare(buffer, port, pace=pace)
    assert pace.lost_bytes == 7


async def test_a_hub_that_cannot_be_reached_or_refuses_is_told_as_such(buffer: Buffer, port: int) -> None:
    with pytest.raises(HubRefuses) as refused:
        await compare(buffer, port, secret="wrong")
    assert refused.value.reason_code == Code.IDENTITY_REFUSED
    with pytest.raises(LinkDown):
        await compare(buffer, 1)


class Jammed(Unlimited):
    """Grants seven bytes and nothing more."""

    async def turn(self, most_bytes: int) -> int:
        if self.segment_bytes == 7:
            await asyncio.Event().wait()
        self.segment_bytes = 7
        return 7


def change(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "edge-test" / "vitals.db", timeout=10)
    with connection:
        connection.execute(statement)
    connection.close()

"""The node's audit trail on its disk: chained, sent, never given up, and every change of the file is found."""

import argparse
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from telemed import audit
from telemed.audit import Entry, Head
from telemed.audit_seal import open_seal
from telemed.audit_wire import STREAM, head_of, link_of
from telemed.topics import Up
from telemed.v1 import audit_pb2

from edge_node import audit_command
from edge_node.buffer import auditlog
from edge_node.buffer.store import Buffer
from edge_node.config import EdgeConfig
from edge_node.errors import ConfigRefused
from tests.fakes.tampering import Trail, tamper

ENTRIES = 25
DAY_NS = 86_400 * 10**9
EDGE = Trail("audit", "n", ("at_ns", "actor", "role", "action", "object", "result", "region", "site"), "audit_head")
HUB_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
pytestmark = pytest.mark.anyio


def entry(number: int) -> Entry:
    return Entry(number, "黄芪", "clinic", "live-view", f"Patient/{number}", "ok", "baoshan", "baoshan-clinic")


def config_of(folder: Path) -> EdgeConfig:
    node = SimpleNamespace(site="baoshan-clinic", node="edge-1")
    return cast("EdgeConfig", SimpleNamespace(buffer=SimpleNamespace(folder=folder), node=node))


def verified(folder: Path, anchors: Path | None = None) -> audit_command.Report:
    return audit_command.run(config_of(folder), argparse.Namespace(action="verify", anchors=anchors))


async def write(folder: Path) -> None:
    seal = open_seal(folder)
    with closing(Buffer.open(folder, group_commit_ms=0)) as buffer:
        for n in range(ENTRIES):
            await buffer.audit.append([entry(n)])
            if n % 9 == 4:
                assert await buffer.audit.sign(seal) is None
        assert await buffer.audit.sign(seal) is None


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Buffer]:
    with closing(Buffer.open(tmp_path, group_commit_ms=0)) as buffer:
        yield buffer


async def test_a_trail_as_it_was_written_is_sound(tmp_path: Path) -> None:
    await write(tmp_path)
    assert verified(tmp_path).lines == ["完整，共 25 条，签名到第 25 条 / sound, 25 entries, signed up to 25"]


async def test_an_empty_trail_is_sound(opened: Buffer, tmp_path: Path) -> None:
    assert verified(tmp_path).is_sound
    assert await opened.audit.sign(open_seal(tmp_path)) is None


@pytest.mark.parametrize("seed", range(6))
async def test_hundreds_of_random_tamperings_are_all_found(tmp_path: Path, seed: int) -> None:
    await write(tmp_path)
    file = tmp_path / "care.db"
    whole, draw, missed = file.read_bytes(), random.Random(seed), []
    for _ in range(50):
        file.write_bytes(whole)
        for ending in ("-wal", "-shm"):
            file.with_name(file.name + ending).unlink(missing_ok=True)
        way = tamper(file, EDGE, draw)
        if verified(tmp_path).is_sound:
            missed.append(way)
    assert missed == []


async def test_another_name_of_the_trail_in_one_row_is_found(tmp_path: Path) -> None:
    await write(tmp_path)
    for n in (3, ENTRIES):
        with closing(sqlite3.connect(tmp_path / "care.db")) as file, file:
            file.execute("DROP TRIGGER IF EXISTS a2")
            file.execute("UPDATE audit SET trail = ? WHERE n = ?", ("f" * 32, n))
        assert not verified(tmp_path).is_sound


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "UPDATE audit_head SET n = 1", "DELETE FROM audit_head"],
)
async def test_the_file_itself_refuses_a_change(tmp_path: Path, statement: str) -> None:
    await write(tmp_path)
    with closing(sqlite3.connect(tmp_path / "care.db")) as file, pytest.raises(sqlite3.IntegrityError):
        file.execute(statement)


async def test_entries_and_heads_travel_to_the_hub_as_they_stand(opened: Buffer, tmp_path: Path) -> None:
    await opened.audit.append([entry(1), entry(2)])
    await opened.audit.sign(open_seal(tmp_path))
    (key,) = opened.streams(Up.CARE)
    assert key.stream == STREAM
    messages = [audit_pb2.Audit.FromString(record.body()) for record in await opened.read_run(Up.CARE, key, 1, 9)]
    assert [message.WhichOneof("body") for message in messages] == ["entry", "entry", "head"]
    trail = messages[0].entry.trail
    links = audit.chain(trail, 0, audit.begin(trail), [entry(1), entry(2)])
    assert [link_of(message.entry) for message in messages[:2]] == links
    head = head_of(messages[2].head)
    assert (head.n, head.hash, head.is_genuine) == (2, links[1].hash, True)


async def test_the_trail_goes_on_after_a_restart_and_is_signed_only_when_it_grew(tmp_path: Path) -> None:
    await write(tmp_path)
    with closing(Buffer.open(tmp_path, group_commit_ms=0)) as buffer:
        assert await buffer.audit.sign(open_seal(tmp_path)) is None
        assert {key.epoch for key in buffer.streams(Up.CARE)}.isdisjoint(buffer.epochs)
        await buffer.audit.append([entry(99)])
    assert verified(tmp_path).is_sound


async def test_a_trail_that_was_cut_while_the_node_stood_still_is_told_in_the_trail_itself(tmp_path: Path) -> None:
    await write(tmp_path)
    with closing(sqlite3.connect(tmp_path / "care.db")) as file, file:
        for name in ("a1", "a4"):
            file.execute(f"DROP TRIGGER {name}")
        file.execute("DELETE FROM audit WHERE n > 20")
        file.execute("DELETE FROM audit_head")
    with closing(Buffer.open(tmp_path, group_commit_ms=0)) as buffer:
        await buffer.audit.append([entry(99)])
        fault = await buffer.audit.sign(open_seal(tmp_path))
        assert fault is not None
        assert fault.n == ENTRIES


async def test_heads_of_the_hub_are_kept_given_out_and_thinned(opened: Buffer, tmp_path: Path) -> None:
    links = audit.chain("a" * 32, 0, audit.begin("a" * 32), [entry(n) for n in range(200)])
    assert await opened.audit.newest_anchor() is None
    for link in links:
        head = audit.sign(HUB_KEY, "a" * 32, link.n, link.hash, link.n)
        await keep(opened, head, 10 * DAY_NS + link.n * 60 * 10**9)
    assert await opened.audit.newest_anchor() == head
    await keep(opened, head, 20 * DAY_NS)
    options = argparse.Namespace(action="anchors", out=tmp_path / "out")
    audit_command.run(config_of(tmp_path), options)
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "hub-baoshan-clinic-edge-1.jsonl"
    kept = [audit.head_of_line(each).n for each in path.read_text().splitlines()]
    # One of each hour, and the newest.
    assert kept == [1, 60, 120, 180, 200]


async def test_old_heads_of_the_hub_are_looked_through_once_an_hour(opened: Buffer) -> None:
    said: list[str] = []
    await opened.audit._file.write(lambda batch: batch.connection.set_trace_callback(said.append))
    for minute in range(120):
        head = audit.sign(HUB_KEY, "a" * 32, minute + 1, "0" * 64, minute)
        await keep(opened, head, 10 * DAY_NS + minute * 60 * 10**9)
    await opened.audit._file.write(lambda batch: batch.connection.set_trace_callback(None))
    assert sum(statement.startswith("INSERT INTO audit_head") for statement in said) == 120
    assert sum(statement.startswith("DELETE FROM audit_head") for statement in said) == 2


async def keep(buffer: Buffer, head: Head, at_ns: int) -> None:
    await buffer.audit._file.write(lambda batch: auditlog.keep_anchor(batch.connection, head, at_ns))


async def test_what_the_hub_kept_shows_a_trail_that_was_replaced_with_the_nodes_own_key(tmp_path: Path) -> None:
    await write(tmp_path)
    seal = open_seal(tmp_path)
    kept = seal.last()
    assert kept is not None
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    (anchors / "x.jsonl").write_text(audit.head_line(kept) + "\n")
    assert verified(tmp_path, anchors).is_sound
    (tmp_path / "care.db").unlink()
    with closing(Buffer.open(tmp_path, group_commit_ms=0)) as buffer:
        await buffer.audit.append([entry(1)])
        await buffer.audit.sign(seal)
    assert verified(tmp_path).is_sound
    assert not verified(tmp_path, anchors).is_sound


async def test_a_folder_without_usable_anchors_is_no_proof(opened: Buffer, tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="no file of anchors"):
        verified(tmp_path, tmp_path / "none")
    (tmp_path / "x.jsonl").write_text("nothing\n")
    with pytest.raises(ConfigRefused, match="no file of anchors"):
        verified(tmp_path, tmp_path)
    with pytest.raises(ConfigRefused, match="--out"):
        audit_command.run(config_of(tmp_path), argparse.Namespace(action="anchors", out=None))

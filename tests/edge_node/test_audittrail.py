"""The node's trail in use: starts and stops, what was given up, and a store that takes nothing for a while."""

import asyncio
import contextlib
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from telemed.audit import Entry, Head
from telemed.audit_seal import LAST, Seal, open_seal
from telemed.numbers import epoch_text
from telemed.shed import Reason
from telemed.topics import NodeAddress, Up

from edge_node import audittrail
from edge_node.audittrail import AuditTrail, seal_in
from edge_node.buffer import auditlog, outbox, tombstone
from edge_node.buffer.outbox import Gone, StreamKey
from edge_node.buffer.store import Buffer
from edge_node.buffer.tombstone import GivenUp
from edge_node.errors import BufferFailure, ConfigRefused
from edge_node.samples.alarm import Who
from edge_node.samples.measurement import Intake, NumericSet, Value

ADDRESS = NodeAddress("baoshan", "baoshan-clinic", "edge-1")
DOCTOR = Who("huangqi", "clinic")
pytestmark = pytest.mark.anyio


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[Buffer]:
    with closing(Buffer.open(tmp_path, group_commit_ms=0)) as opened:
        yield opened


def made(buffer: Buffer, folder: Path) -> AuditTrail:
    return AuditTrail(buffer, ADDRESS, open_seal(folder), lambda: 7)


def written(folder: Path) -> list[tuple[str, str, str, str]]:
    """What stands in the file, as (actor, action, object, result)."""
    with closing(sqlite3.connect(folder / "care.db")) as file:
        return file.execute("SELECT actor, action, object, result FROM audit ORDER BY n").fetchall()


async def test_an_entry_is_on_disk_when_note_returns_and_says_whose_place_it_is(buffer: Buffer, tmp_path: Path) -> None:
    await made(buffer, tmp_path).note(DOCTOR, "alarm-accept", "alarm/1")
    with closing(sqlite3.connect(tmp_path / "care.db")) as file:
        (link,) = auditlog.links(file, (auditlog.state(file) or ("",))[0])
    assert link.entry == Entry(7, "huangqi", "clinic", "alarm-accept", "alarm/1", "ok", "baoshan", "baoshan-clinic")


async def test_a_start_tells_of_what_stands_declared_and_an_end_is_signed(buffer: Buffer, tmp_path: Path) -> None:
    trail = made(buffer, tmp_path)
    key = StreamKey("mon-b01/wave", 255)
    await trail.began("start", [(key, (3, 9))])
    await trail.ended()
    node = "node/baoshan-clinic/edge-1"
    assert written(tmp_path) == [
        ("edge-1", "start", node, "ok"),
        ("edge-1", "shed", f"stream/mon-b01/wave/{255:016x}/3-9", "standing"),
        ("edge-1", "stop", node, "ok"),
    ]
    head = open_seal(tmp_path).last()
    assert head is not None
    assert head.n == 3


async def test_what_is_given_up_is_written_down_as_one_range_a_stream(buffer: Buffer, tmp_path: Path) -> None:
    trail = made(buffer, tmp_path)
    for n in range(1, 9):
        sample = NumericSet("mon-b01", n, n, (Value("hr", "70", "/min"),))
        await buffer.store_intake(Intake(sets=(sample,)))
    (key,) = buffer.streams(Up.VITALS)
    for runs in ([(1, 2)], [(5, 6)]):
        given_up = GivenUp(key, runs, Reason.DISK, 0)
        stamp = buffer.clock.stamp()
        await buffer._files["vitals.db"].write(lambda batch, g=given_up, s=stamp: tombstone.shed(batch, s, g))  # type: ignore[misc]
    assert buffer.declared() == [(key, (1, 6))]
    await trail.settle()
    assert written(tmp_path) == [("edge-1", "shed", f"stream/{key.stream}/{epoch_text(key.epoch)}/1-6", "no-room")]


async def test_damage_is_told_apart_from_a_lack_of_room(buffer: Buffer, tmp_path: Path) -> None:
    trail = made(buffer, tmp_path)
    trail.given_up(Gone(StreamKey("node/alarm", 1), [(4, 4)], 0))
    await trail.settle()
    assert [entry[3] for entry in written(tmp_path)] == ["damaged"]


async def test_care_goes_on_while_the_trail_cannot_be_written_and_nothing_of_it_is_lost(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trail = made(buffer, tmp_path)

    async def refuse(_entries: object) -> None:
        raise BufferFailure("disk")

    with monkeypatch.context() as broken:
        broken.setattr(buffer.audit, "append", refuse)
        for number in range(3):
            await trail.note(DOCTOR, "alarm-accept", f"alarm/{number}")
    assert written(tmp_path) == []
    await trail.settle()
    assert [entry[2] for entry in written(tmp_path)] == ["alarm/0", "alarm/1", "alarm/2"]
    assert capsys.readouterr().out.count("audit.not-stored") == 1


class Gate:
    """The store's `append`, whose commit goes through, but is not told of until it may."""

    def __init__(self, buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.failure: BufferFailure | None = None
        self._append = buffer.audit.append
        monkeypatch.setattr(buffer.audit, "append", self.append)

    async def append(self, entries: Sequence[Entry]) -> None:
        if self.failure is not None:
            raise self.failure
        await self._append(entries)
        self.began.set()
        await self.may_go_on.wait()


async def test_an_entry_whose_writer_is_cancelled_during_its_commit_is_there_once(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail, gate = made(buffer, tmp_path), Gate(buffer, monkeypatch)
    noting = asyncio.create_task(trail.note(DOCTOR, "alarm-accept", "alarm/1"))
    await gate.began.wait()
    noting.cancel()
    await asyncio.wait([noting])
    assert noting.cancelled()
    gate.may_go_on.set()
    await trail.ended()
    assert [entry[2] for entry in written(tmp_path)] == ["alarm/1", "node/baoshan-clinic/edge-1"]


async def test_an_entry_whose_writer_is_cancelled_before_its_commit_fails_is_written_the_next_time(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail, began, may_fail = made(buffer, tmp_path), asyncio.Event(), asyncio.Event()

    async def fail_late(_entries: object) -> None:
        began.set()
        await may_fail.wait()
        raise BufferFailure("disk")

    with monkeypatch.context() as broken:
        broken.setattr(buffer.audit, "append", fail_late)
        noting = asyncio.create_task(trail.note(DOCTOR, "alarm-accept", "alarm/1"))
        await began.wait()
        noting.cancel()
        await asyncio.wait([noting])
    may_fail.set()
    await trail.settle()
    assert [entry[2] for entry in written(tmp_path)] == ["alarm/1"]


async def test_an_entry_that_comes_while_a_full_queue_is_written_pushes_nothing_out(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audittrail, "WAITING_LIMIT", 3)
    trail, gate = made(buffer, tmp_path), Gate(buffer, monkeypatch)
    noting = asyncio.create_task(trail.note_all(DOCTOR, [("x", f"alarm/{number}", "ok") for number in range(3)]))
    await gate.began.wait()
    trail.note_soon(DOCTOR, "x", "alarm/3")
    gate.may_go_on.set()
    await noting
    await trail.settle()
    assert [entry[2] for entry in written(tmp_path)] == [f"alarm/{number}" for number in range(4)]


async def test_of_more_than_the_queue_holds_the_oldest_fall_and_their_number_is_told(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audittrail, "WAITING_LIMIT", 3)
    trail, gate = made(buffer, tmp_path), Gate(buffer, monkeypatch)
    gate.failure = BufferFailure("disk")
    gate.may_go_on.set()
    for number in range(5):
        await trail.note(DOCTOR, "x", f"alarm/{number}")
    gate.failure = None
    await trail.settle()
    assert [entry[2] for entry in written(tmp_path)] == ["alarm/2", "alarm/3", "alarm/4"]
    told = capsys.readouterr().out
    assert told.count("audit.entries-fall") == 1
    assert "fallen=2" in re.sub(r"\x1b\[\d*m", "", told)


async def test_a_fault_is_told_although_the_head_cannot_be_noted(
    buffer: Buffer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trail = made(buffer, tmp_path)
    await trail.note(DOCTOR, "alarm-accept", "alarm/1")
    (tmp_path / LAST).mkdir()
    with closing(sqlite3.connect(tmp_path / "care.db")) as file, file:
        file.execute("DROP TRIGGER a2")
        file.execute("UPDATE audit SET actor = 'nobody'")
    await trail.sign()
    told = capsys.readouterr().out
    assert "audit.head-not-noted" in told
    assert "audit.does-not-verify" in told


async def test_the_disk_is_waited_for_apart_from_the_event_loop_and_by_one_head_at_a_time(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[int] = []
    began, second_began = asyncio.Event(), threading.Event()
    loop, here = asyncio.get_running_loop(), threading.get_ident()

    def note(_seal: Seal, head: Head) -> None:
        assert threading.get_ident() != here
        if head.n == 1:
            loop.call_soon_threadsafe(began.set)
            assert not second_began.wait(0.3)
        second_began.set()
        noted.append(head.n)

    monkeypatch.setattr(Seal, "note", note)
    trail = made(buffer, tmp_path)
    await trail.note(DOCTOR, "x", "alarm/1")
    signing = asyncio.create_task(trail.sign())
    await began.wait()
    signing.cancel()
    await asyncio.wait([signing])
    await trail.ended()
    assert noted == [1, 2]


async def test_a_key_that_others_can_read_keeps_the_node_from_starting(tmp_path: Path) -> None:
    seal_in(tmp_path)
    (tmp_path / "audit.key").chmod(0o644)
    with pytest.raises(ConfigRefused, match="chmod 600"):
        seal_in(tmp_path)
    (tmp_path / "audit.key").chmod(0o600)
    (tmp_path / "audit.key").write_text("no key")
    with pytest.raises(ConfigRefused, match="no private key"):
        seal_in(tmp_path)


async def test_a_trail_is_salvaged_with_its_file(tmp_path: Path) -> None:
    with closing(Buffer.open(tmp_path, group_commit_ms=0)) as buffer:
        trail = made(buffer, tmp_path)
        for number in range(300):
            await trail.note(DOCTOR, "alarm-accept", f"alarm/{number}")
        await trail.ended()
    with (tmp_path / "care.db").open("r+b") as file:
        file.write(b"\xff" * 64)
    with closing(Buffer.open(tmp_path, group_commit_ms=0)) as buffer, contextlib.suppress(KeyError):
        await made(buffer, tmp_path).note(DOCTOR, "sign-in", "account/huangqi")
        assert outbox.newest_ns(buffer._files["care.db"]._writer) > 0
    found = written(tmp_path)
    assert (len(found), found[0][2], found[-1][1]) == (302, "alarm/0", "sign-in")

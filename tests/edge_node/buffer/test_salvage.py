"""Damaged files: found at start, what is sound is saved, the rest is declared, the file is kept (fault 6)."""

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from telemed.shed import Reason, stream_for
from telemed.topics import STORED, Up
from telemed.v1 import alarm_pb2, event_pb2, shed_pb2

from edge_node.buffer import maintenance, salvage
from edge_node.buffer.schema import ALARM, CARE, NAMES, VITALS
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.fakes.sealed_store import copy_keys

COUNT = 400
STREAMS = {ALARM: (Up.ALARM, "node/alarm"), CARE: (Up.CARE, "node/care"), VITALS: (Up.VITALS, "mon-b01/numeric")}
PAGE = 4096
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def filled(folder: Path) -> None:
    """Leave a store with as many records in each file, all in the files themselves."""
    buffer = Buffer.open(folder, group_commit_ms=0)
    await store(buffer, 0, COUNT)
    buffer.close()


async def store(buffer: Buffer, first: int, last: int) -> None:
    now_ns = time.time_ns()
    for number in range(first, last):
        value = Value("hr", str(60 + number % 50), "/min")
        await buffer.store_intake(Intake(sets=(NumericSet("mon-b01", now_ns, now_ns, (value,)),)))
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id=f"alarm-{number}" * 4, alarm_seq=number)])
        await buffer.propose(event_pb2.Event(event_id=f"event-{number}" * 4, aggregate_type="referral"))


async def accounted(buffer: Buffer, name: str) -> tuple[set[int], set[int]]:
    """Return which numbers of the file's old stream are stored, and which are declared damaged."""
    up, stream = STREAMS[name]
    stored, gone = set(), set()
    for key in buffer.streams(up):
        records = await buffer.read_run(up, key, 1, 10**6)
        if key.stream == stream:
            stored |= {record.seq for record in records}
        elif key.stream == stream_for(stream):
            for record in records:
                message = shed_pb2.Shed.FromString(record.body())
                assert (message.stream, message.reason) == (stream, Reason.DAMAGED)
                gone |= {n for run in message.ranges for n in range(run.first, run.last + 1)}
    return stored, gone


def smash_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 64)


def smash_pages(path: Path) -> None:
    pages = path.stat().st_size // PAGE
    with path.open("r+b") as file:
        for page in range(pages // 3, pages // 2):
            file.seek(page * PAGE)
            file.write(random.Random(page).randbytes(PAGE))


def cut_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3 // PAGE * PAGE + 100)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", [smash_pages, cut_off])
async def test_every_number_of_a_damaged_file_is_saved_or_declared(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    await filled(tmp_path)
    damage(tmp_path / name)
    buffer = Buffer.open(tmp_path, group_commit_ms=0)
    stored, gone = await accounted(buffer, name)

    assert stored
    assert not stored & gone
    last = max(stored | gone)
    assert stored | gone == set(range(1, last + 1))
    assert [file.partition(".damaged-")[0] for file in buffer.damaged] == [name]
    await store(buffer, COUNT, COUNT + 3)
    buffer.close()
    assert {report.check for report in maintenance.inspect(tmp_path)} == {"ok"}


@pytest.mark.parametrize("name", NAMES)
async def test_behind_a_damaged_head_everything_is_saved(tmp_path: Path, name: str) -> None:
    await filled(tmp_path)
    smash_head(tmp_path / name)
    buffer = Buffer.open(tmp_path, group_commit_ms=0)
    assert await accounted(buffer, name) == (set(range(1, COUNT + 1)), set())
    buffer.close()
    assert not (tmp_path / f"{name}{salvage.MENDED}").exists()


async def test_of_a_file_of_which_nothing_is_left_a_new_one_is_made(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / VITALS).write_bytes(b"not a database at all" * 500)
    buffer = Buffer.open(tmp_path, group_commit_ms=0)
    assert buffer.waiting()[Up.VITALS].records == 0
    assert buffer.waiting()[Up.ALARM].records == COUNT
    await store(buffer, 0, 1)
    buffer.close()


async def test_the_new_file_numbers_under_another_epoch_and_the_old_numbers_keep_theirs(tmp_path: Path) -> None:
    await filled(tmp_path)
    smash_pages(tmp_path / VITALS)
    before = Buffer.open(tmp_path / "other").streams(Up.VITALS)
    buffer = Buffer.open(tmp_path, group_commit_ms=0)
    await store(buffer, 0, 2)
    states = {state.is_closed: state for key, state in buffer.streams(Up.VITALS).items() if key.kind == "numeric"}
    buffer.close()
    assert not before
    assert states[False].next_seq == 3
    assert states[True].epoch != states[False].epoch


async def test_what_else_a_file_held_comes_along(tmp_path: Path) -> None:
    await filled(tmp_path)
    first = Buffer.open(tmp_path)
    row = event_pb2.OrderedEvent(site_seq=1, event=event_pb2.Event(event_id="e", aggregate_type="bed"))
    await first.apply_page(event_pb2.EventPage(events=[row]))
    await first.set_evaluated({"mon-b01": 5})
    first.close()
    for name in (ALARM, CARE):
        smash_head(tmp_path / name)
    again = Buffer.open(tmp_path)
    assert await again.event_cursor() == 1
    assert len(await again.pending_events()) == COUNT
    assert await again.evaluated_up_to("mon-b01") == 5
    again.close()


async def test_rows_whose_checksum_fails_are_not_saved_but_declared(tmp_path: Path) -> None:
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / VITALS) as worn:
        worn.execute("UPDATE log SET payload = x'00' WHERE seq BETWEEN 7 AND 9")
    worn.close()
    smash_head(tmp_path / VITALS)
    buffer = Buffer.open(tmp_path)
    stored, gone = await accounted(buffer, VITALS)
    buffer.close()
    assert gone == {7, 8, 9}
    assert stored == set(range(1, COUNT + 1)) - gone


async def test_a_row_that_the_disk_damaged_is_declared_and_never_sent(tmp_path: Path) -> None:
    await filled(tmp_path)
    for name in NAMES:
        with sqlite3.connect(tmp_path / name) as worn:
            worn.execute(
                "UPDATE log SET payload = CAST(payload || x'00' AS BLOB) WHERE seq BETWEEN 300 AND 302 AND kind <> 7"
            )
        worn.close()
    buffer = Buffer.open(tmp_path)
    for up, stream in STREAMS.values():
        key = next(key for key in buffer.streams(up) if key.stream == stream)
        assert [record.seq for record in await buffer.read_run(up, key, 298, 304)] == [298, 299, 303, 304]
    assert await buffer.scrub() == 9
    for name in NAMES:
        assert await accounted(buffer, name) == (set(range(1, COUNT + 1)) - {300, 301, 302}, {300, 301, 302})
    assert buffer.waiting()[Up.CARE].records == COUNT - 2
    assert await buffer.scrub() == 0
    buffer.close()


async def test_a_node_that_is_killed_while_it_salvages_goes_on_at_its_next_start(tmp_path: Path) -> None:
    await filled(tmp_path)
    smash_head(tmp_path / VITALS)
    Buffer.open(tmp_path).close()
    # Killed between the two names: the damaged file has its other name already, the new one not yet its own.
    (tmp_path / VITALS).rename(tmp_path / f"{VITALS}{salvage.FRESH}")
    buffer = Buffer.open(tmp_path)
    assert {up: buffer.waiting()[up].records for up in STORED}[Up.VITALS] == COUNT
    buffer.close()


async def test_a_half_filled_new_file_is_begun_again(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / f"{VITALS}{salvage.FRESH}").write_bytes(b"half")
    smash_head(tmp_path / VITALS)
    buffer = Buffer.open(tmp_path)
    assert buffer.waiting()[Up.VITALS].records == COUNT
    buffer.close()


async def test_a_damaged_write_ahead_log_costs_its_last_commits_alone(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path / "whole", group_commit_ms=0)
    await store(buffer, 0, 30)
    (tmp_path / "cut").mkdir()
    for path in (tmp_path / "whole").iterdir():
        if path.suffix != ".db-shm":
            (tmp_path / "cut" / path.name).write_bytes(path.read_bytes())
    copy_keys(tmp_path / "whole", tmp_path / "cut")
    buffer.close()
    wal = tmp_path / "cut" / f"{VITALS}-wal"
    with wal.open("r+b") as file:
        file.seek(wal.stat().st_size * 3 // 4)
        file.write(b"\xff" * 5000)

    again = Buffer.open(tmp_path / "cut")
    stored, gone = await accounted(again, VITALS)
    assert again.waiting()[Up.ALARM].records == 30
    again.close()
    assert stored == set(range(1, max(stored) + 1))
    assert 10 < len(stored) < 30
    assert gone == set()


async def test_behind_a_damaged_head_what_stands_in_the_log_alone_is_saved_too(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path / "lives", group_commit_ms=0)
    await store(buffer, 0, COUNT)
    buffer._files[VITALS]._empty_wal()
    await store(buffer, COUNT, COUNT + 2)
    shutil.copytree(tmp_path / "lives", tmp_path / "died")
    copy_keys(tmp_path / "lives", tmp_path / "died")
    buffer.close()
    smash_head(tmp_path / "died" / VITALS)

    again = Buffer.open(tmp_path / "died", group_commit_ms=0)
    assert await accounted(again, VITALS) == (set(range(1, COUNT + 3)), set())
    again.close()

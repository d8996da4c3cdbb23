"""What the store holds of patients cannot be read without its keys, and nothing is lost while they are missing."""

import os
import shutil
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from telemed import whole_files
from telemed.topics import STORED, Up
from telemed.v1 import alarm_pb2, event_pb2
from telemed.wire import Record

from edge_node.buffer.keyfiles import KeyFiles
from edge_node.buffer.keyring import Keyring, Place
from edge_node.buffer.outbox import StreamKey
from edge_node.buffer.ringfile import RingFile
from edge_node.buffer.schema import CARE, NAMES, VITALS
from edge_node.buffer.sealing import KEYS_ENDING, LOST, RING, SPARE, SPARE_KEYS, Keeping, Sealing
from edge_node.buffer.store import Buffer
from edge_node.errors import BufferFailure, KeyUnavailable
from edge_node.samples.measurement import Channel, Intake, NumericSet, Stored, Value, WaveformSet
from tests.fakes.sealed_store import copy_keys

NUMBER, WAVE, NAME, WORDS, RAW = "123.456", 7_654_321, "Grüneklee", "speaks of blue elephants", b"OBX|1|ST|silvermoon"
MARKS = {
    "numeric value": NUMBER.encode(),
    "trend": struct.pack(">d", float(NUMBER)),
    "wave label": b"label-of-the-wave",
    "name": NAME.encode(),
    "alarm": WORDS.encode(),
    "message": RAW,
}
MINUTE_NS = 60 * 10**9
ON, OFF = Keeping(), Keeping(is_on=False)
pytestmark = pytest.mark.anyio


@contextmanager
def opened(folder: Path, keeping: Keeping = ON) -> Iterator[Buffer]:
    with closing(Buffer.open(folder, group_commit_ms=0, keeping=keeping)) as buffer:
        yield buffer


def numerics(number: int = 0) -> Intake:
    now_ns = time.time_ns()
    taken = NumericSet("mon-b01", now_ns, now_ns, (Value("hr", NUMBER, "/min"),))
    digits = np.array([WAVE, -WAVE, WAVE], np.int32)
    wave = WaveformSet(
        "mon-b01", now_ns, now_ns, (Channel("ecg_II", 4.0, digits, 1.0, 0.0, "mV", "label-of-the-wave"),)
    )
    return Intake(sets=(taken,), waves=(wave,), dedup_key=f"message-{number}")


async def fill(buffer: Buffer, count: int = 3) -> None:
    """Store something of every kind."""
    for number in range(count):
        await buffer.store_intake(numerics(number))
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id=f"a{number}", alarm_seq=number, note=WORDS)])
        await buffer.propose(registered(f"proposed-{number}"))
    rows = [event_pb2.OrderedEvent(site_seq=n + 1, event=registered(f"ordered-{n}")) for n in range(count)]
    await buffer.apply_page(event_pb2.EventPage(events=rows))
    await buffer.store_intake(Intake(raw=RAW, raw_reason="message-unreadable"))
    await buffer.save()


def registered(event_id: str) -> event_pb2.Event:
    person = event_pb2.PersonRegistered(family_name=NAME)
    return event_pb2.Event(event_id=event_id, aggregate_type="person", aggregate_id="p", person_registered=person)


async def everything(buffer: Buffer) -> list[Record]:
    """Return every record of every stream that can be read from the files."""
    found: list[Record] = []
    for up in STORED:
        for state in buffer.streams(up).values():
            found += await buffer.read_run(up, state.key, 1, 10**6)
    return sorted(found, key=lambda record: (record.stream, record.epoch, record.seq))


def seen(folder: Path) -> set[str]:
    """Return which of the marks stand in any file of a store or of its keys."""
    folders = (folder, folder.with_name(folder.name + KEYS_ENDING))
    files = [path.read_bytes() for each in folders for path in each.rglob("*") if path.is_file()]
    return {name for name, mark in MARKS.items() if any(mark in content for content in files)}


def keys_of(folder: Path) -> Path:
    return folder.with_name(folder.name + KEYS_ENDING)


def lose_key(folder: Path) -> Path:
    """Take the key files away; return where they are."""
    return keys_of(folder).rename(folder.with_name("a-drawer"))


def put_back(folder: Path, drawer: Path) -> None:
    drawer.rename(keys_of(folder))


async def walk(buffer: Buffer) -> int:
    """Let the background do all that there is to do; return how many rows it sealed."""
    buffer.keys._resealer.walk_soon()
    count = await buffer.keys.reseal()
    while buffer.keys._resealer._due_s == 0.0:
        count += await buffer.keys.reseal()
    return count


async def test_no_file_of_a_store_says_anything_of_a_patient(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await fill(buffer)
        assert seen(folder) == set(), "while it is open, with its write-ahead logs"
    assert seen(folder) == set()


async def test_the_same_look_finds_all_of_it_where_encryption_is_off(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder, OFF) as buffer:
        await fill(buffer)
        assert seen(folder) == MARKS.keys() - {"trend"}
    assert not (folder / RING).exists()


async def test_what_was_sealed_is_read_back_to_the_byte_also_where_encryption_is_off_now(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
        records = await everything(buffer)
        at_hand = await buffer.read_run(Up.VITALS, key(records, "mon-b01/numeric"), 1, 3)
    assert all(record.crc >= 0 for record in records)
    for keeping in (ON, OFF):
        with opened(tmp_path / "store", keeping) as again:
            found = await everything(again)
            assert [record for record in found if record in records] == records
            assert set(at_hand) <= set(found)
            assert [event.event.person_registered.family_name for event in await again.ordered_events()] == [NAME] * 3
            assert len(await again.pending_events()) == 3
            assert [event.note for event in await again.alarm_events(0)] == [WORDS] * 3
            now_ns = time.time_ns()
            rows = await again.trends(["mon-b01"], now_ns - 9 * MINUTE_NS, now_ns, 3600)
            assert {(row.low, row.last) for row in rows} == {(float(NUMBER), float(NUMBER))}


def key(records: list[Record], stream: str) -> StreamKey:
    (found,) = {StreamKey(record.stream, record.epoch) for record in records if record.stream == stream}
    return found


async def test_a_message_that_comes_again_is_known_and_its_name_gives_nothing_away(tmp_path: Path) -> None:
    with opened(tmp_path / "open", OFF) as plain, opened(tmp_path / "store") as buffer:
        for each in (plain, buffer):
            assert await each.store_intake(numerics(1)) is Stored.NEW
            assert await each.store_intake(numerics(1)) is Stored.DUPLICATE
    names = []
    for folder in ("open", "store"):
        with closing(sqlite3.connect(tmp_path / folder / VITALS)) as file:
            names += file.execute("SELECT key FROM log WHERE key IS NOT NULL").fetchall()
    assert names[0] != names[1]


async def test_a_sealed_value_opens_in_no_other_row(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
        where = key(await everything(buffer), "mon-b01/numeric")
    with closing(sqlite3.connect(tmp_path / "store" / VITALS)) as file, file:
        file.execute(
            "UPDATE log SET payload = (SELECT payload FROM log WHERE stream = 'mon-b01/numeric' AND seq = 1) "
            "WHERE stream = 'mon-b01/numeric' AND seq = 2"
        )
    with closing(sqlite3.connect(tmp_path / "store" / CARE)) as file, file:
        file.execute("UPDATE event SET body = (SELECT body FROM event WHERE site_seq = 1) WHERE site_seq = 2")
    with opened(tmp_path / "store") as again:
        assert [record.seq for record in await again.read_run(Up.VITALS, where, 1, 3)] == [1, 3]
        assert await again.scrub() == 1
        assert [row.site_seq for row in await again.ordered_events()] == [1, 3]


async def test_without_its_key_a_store_keeps_what_it_has_untouched_and_takes_what_comes(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await fill(buffer)
        before = await everything(buffer)
        waiting = buffer.waiting()
    ring = (folder / RING).read_bytes()
    drawer = lose_key(folder)

    with opened(folder) as locked:
        assert "No such file" in locked.keys.sealing.reason
        assert await everything(locked) == []
        assert await locked.scrub() == 0, "what cannot be judged is not declared damaged"
        with pytest.raises(KeyUnavailable):  # nor compared with the hub, which would take it for damaged
            await locked.read_stored(Up.VITALS, key(before, "mon-b01/numeric"), 1, 9)
        assert locked.waiting()[Up.VITALS].records == waiting[Up.VITALS].records
        assert await locked.store_intake(numerics(9)) is Stored.NEW
        after = await everything(locked)
        assert [record.stream for record in after] == ["mon-b01/numeric", "mon-b01/wave"]
        await walk(locked)
    assert seen(folder) == set()
    assert (folder / RING).read_bytes() == ring
    assert not keys_of(folder).exists()

    put_back(folder, drawer)
    with opened(folder) as again:
        assert again.keys.sealing.reason == ""
        assert await everything(again) == sorted([*before, *after], key=lambda r: (r.stream, r.epoch, r.seq))
        await walk(again)
        assert not (folder / SPARE).exists()
        assert not list((folder / SPARE_KEYS).iterdir())
    with opened(folder) as last:
        assert len(await everything(last)) == len(before) + len(after)


async def test_a_key_that_is_another_one_or_cannot_be_read_is_no_key(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
    (path,) = keys_of(tmp_path / "store").iterdir()
    right = path.read_bytes()
    for wrong in (bytes(32), right[:31], b""):
        path.write_bytes(wrong)
        with opened(tmp_path / "store") as locked:
            assert locked.keys.sealing.reason
            assert await everything(locked) == []
        assert path.read_bytes() == wrong
    path.write_bytes(right)
    with opened(tmp_path / "store") as again:
        assert len(await everything(again)) > 6


async def test_events_that_are_locked_come_again_from_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    rows = [event_pb2.OrderedEvent(site_seq=n + 1, event=registered(f"ordered-{n}")) for n in range(5)]
    with opened(folder) as buffer:
        await fill(buffer, 0)
        await buffer.apply_page(event_pb2.EventPage(events=rows[:4]))
    drawer = lose_key(folder)
    with opened(folder) as locked:
        assert await locked.event_cursor() == 0
        assert await locked.ordered_events() == []
        await locked.apply_page(event_pb2.EventPage(events=rows[:2]))
        assert await locked.event_cursor() == 2
        assert await locked.ordered_events("person") == rows[:2]
        await locked.apply_page(event_pb2.EventPage(events=rows[2:]))
        assert await locked.ordered_events() == rows
    put_back(folder, drawer)
    with opened(folder) as again:
        assert await again.event_cursor() == 5
        assert await again.ordered_events() == rows


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"rubbish")])
async def test_one_damaged_copy_of_the_keyring_costs_nothing(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
        count = len(await everything(buffer))
    harm(tmp_path / "store" / RING)
    with opened(tmp_path / "store") as again:
        assert again.keys.sealing.reason == ""
        assert len(await everything(again)) == count


async def test_rows_of_a_keyring_that_is_gone_wait_for_it_whatever_is_begun_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await fill(buffer)
        waiting = buffer.waiting()[Up.VITALS].records
    for path in folder.glob(f"{RING}*"):
        path.unlink()
    for _ in range(2):
        with opened(folder) as begun_anew:
            assert begun_anew.keys.sealing.reason == LOST
            assert await begun_anew.scrub() == 0
            assert begun_anew.waiting()[Up.VITALS].records == waiting
            await begun_anew.store_intake(numerics(time.time_ns()))
            waiting += 1
            await walk(begun_anew)


async def test_a_store_of_before_is_sealed_in_the_background_and_stays_readable_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder, OFF) as plain:
        await fill(plain, 150)
        before = await everything(plain)
    assert "name" in seen(folder)

    with opened(folder) as buffer:
        sealed = [await buffer.keys._resealer._piece() for _ in range(6)]
        assert 0 < sum(sealed) < len(before)
        # A power cut: what the files hold at this moment, without what was only in memory.
        shutil.copytree(folder, tmp_path / "cut")
        copy_keys(folder, tmp_path / "cut")
        assert await buffer.store_intake(numerics(3)) is Stored.DUPLICATE
    with opened(tmp_path / "cut") as cut:
        assert await everything(cut) == before
        assert len(await cut.ordered_events()) == 150

    with opened(folder) as again:
        assert await walk(again) > 0
        assert await everything(again) == before
        assert await again.store_intake(numerics(3)) is Stored.DUPLICATE
        assert seen(folder) == set()
        assert await walk(again) == 0


async def test_trends_of_an_earlier_version_are_taken_over(tmp_path: Path) -> None:
    folder, minute = tmp_path / "store", time.time_ns() // MINUTE_NS - 5
    with opened(folder) as buffer:
        await fill(buffer, 0)
    rows = [("mon-b01", name, minute + n, 2, 60.0, 123.456, 70.0, 1) for n in range(3) for name in ("hr", "rr")]
    with closing(sqlite3.connect(folder / VITALS)) as file, file:
        file.executemany("INSERT INTO trend VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    assert seen(folder) == {"trend"}
    with opened(folder) as again:
        asked = (["mon-b01"], minute * MINUTE_NS, (minute + 4) * MINUTE_NS, 60)
        found = await again.trends(*asked)
        assert len(found) == 6
        await walk(again)
        assert await again.trends(*asked) == found
        assert seen(folder) == set()
    with closing(sqlite3.connect(folder / VITALS)) as file:
        assert file.execute("SELECT count(*) FROM trend").fetchone() == (0,)


async def test_changed_keys_leave_all_readable_and_the_old_ones_go(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await fill(buffer)
        before = await everything(buffer)
        (old_file,) = keys_of(folder).iterdir()
        old_keys = set(buffer.keys.sealing._ciphers)
        await buffer.keys.change()
        (new_file,) = keys_of(folder).iterdir()
        assert new_file != old_file
        assert await everything(buffer) == before, "at once"
        await buffer.store_intake(numerics(50))
    with opened(folder) as again:
        assert old_keys <= again.keys.sealing._ciphers.keys()
        assert await walk(again) > len(before)
        assert again.keys.sealing._ring is not None
        assert not old_keys & again.keys.sealing._ring.keys.keys()
    with opened(folder) as last:
        assert not old_keys & last.keys.sealing._ciphers.keys()
        assert [record for record in await everything(last) if record in before] == before


async def test_keys_are_changed_by_themselves_once_they_are_old(tmp_path: Path) -> None:
    with opened(tmp_path / "store", Keeping(days=365)) as buffer:
        await buffer.keys.renew()
        before = list(keys_of(tmp_path / "store").iterdir())
        assert buffer.keys.sealing._ring is not None
        buffer.keys.sealing._ring.made_ns -= 366 * 86_400 * 10**9
        await buffer.keys.renew()
        assert list(keys_of(tmp_path / "store").iterdir()) != before
        again = list(keys_of(tmp_path / "store").iterdir())
        await buffer.keys.renew()
        assert list(keys_of(tmp_path / "store").iterdir()) == again


async def test_a_node_that_is_killed_while_it_changes_keys_has_the_old_or_the_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await fill(buffer)
        before = await everything(buffer)
    write, destroy = whole_files.write_whole, whole_files.destroy
    for steps in range(5):
        left = [steps]

        def once(done: Callable[[], None], left: list[int] = left) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            done()

        with opened(folder) as buffer, monkeypatch.context() as patched:
            wrapped_by = name_of_key(buffer)
            patched.setattr(
                whole_files, "write_whole", lambda path, content, mode: once(lambda: write(path, content, mode))
            )
            patched.setattr(whole_files, "destroy", lambda path: once(lambda: destroy(path)))
            with suppress(KeyboardInterrupt):
                buffer.keys.sealing.rotate(time.time_ns())
        with opened(folder) as again:
            assert again.keys.sealing.reason == "", steps
            assert await everything(again) == before
            is_changed = name_of_key(again) != wrapped_by
            assert is_changed is (steps > 1)
            assert (keys_of(folder) / f"{wrapped_by}.key").exists() is not is_changed


def name_of_key(buffer: Buffer) -> str:
    assert buffer.keys.sealing._file is not None
    return buffer.keys.sealing._file.wrapped_by


async def test_keys_of_days_of_which_nothing_is_left_are_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        today_ns = time.time_ns()
        for days in (40, 39, 0):
            buffer.clock.wall = lambda days=days: today_ns - days * 86_400 * 10**9  # type: ignore[misc]
            at_ns = buffer.clock.now_ns()
            taken = NumericSet("mon-b01", at_ns, at_ns, (Value("hr", NUMBER, "/min"),))
            await buffer.store_intake(Intake(sets=(taken,)))
        assert buffer.keys.sealing._ring is not None
        days_held = {place.day for place in buffer.keys.sealing._ring.newest() if place.scope == "mon-b01"}
        assert len(days_held) == 3
        (numeric,) = [each for each in buffer.streams(Up.VITALS) if each.stream == "mon-b01/numeric"]
        await buffer._files[VITALS].write(
            lambda batch: batch.connection.execute("DELETE FROM log WHERE seq = 1").rowcount
        )
        await buffer._files[VITALS].write(lambda batch: batch.connection.execute("DELETE FROM minutes").rowcount)
        await walk(buffer)
        assert days_held - {place.day for place in buffer.keys.sealing._ring.newest()} == {
            today_ns // (86_400 * 10**9) - 40
        }
        assert [record.seq for record in await buffer.read_stored(Up.VITALS, numeric, 1, 9)] == [2, 3]


async def test_the_keys_of_a_new_day_are_written_down_once_for_all_who_sent_the_day_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write = whole_files.write_whole

    def noted(path: Path, content: bytes, mode: int) -> None:
        written.append(path)
        write(path, content, mode)

    monkeypatch.setattr(whole_files, "write_whole", noted)
    with opened(tmp_path / "store") as buffer:
        for day in (100, 101):
            del written[:]
            for device in ("a", "b", "c"):
                buffer.keys.sealing.seal(Place(device, day), b"x", "x")
            copies = len(set(written))
            assert (len(written), copies) == ((6, 2) if day == 100 else (2, 2))


async def test_where_no_key_can_be_written_down_another_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _content: bytes, _mode: int) -> None:
        raise OSError(28, "No space left on device")

    with opened(tmp_path / "store") as buffer:
        monkeypatch.setattr(whole_files, "write_whole", full)
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a", alarm_seq=1, note=WORDS)])
        assert [event.note for event in await buffer.alarm_events(0)] == [WORDS]
    monkeypatch.undo()
    assert seen(tmp_path / "store") == set()
    with opened(tmp_path / "store") as again:
        assert [event.note for event in await again.alarm_events(0)] == [WORDS]


async def test_a_key_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    with opened(tmp_path / "store"):
        (path,) = keys_of(tmp_path / "store").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    with opened(tmp_path / "store") as again:
        assert again.keys.sealing.reason == ""
    assert path.stat().st_mode & 0o777 == 0o600


async def test_where_no_key_file_can_be_made_the_node_goes_on_with_a_spare_one_until_it_can(tmp_path: Path) -> None:
    folder, medium = tmp_path / "store", tmp_path / "medium"
    medium.write_text("not mounted")
    keeping = Keeping(medium / "keys")
    with opened(folder, keeping) as buffer:
        assert "no key can be made" in buffer.keys.sealing.reason
        await fill(buffer)
        before = await everything(buffer)
    medium.unlink()
    for _ in range(2):
        with opened(folder, keeping) as again:
            assert again.keys.sealing.reason == ""
            assert [record for record in await everything(again) if record in before] == before
            await walk(again)
    assert not (folder / SPARE).exists()
    assert len(list((medium / "keys").iterdir())) == 1


def test_keys_are_beside_the_store_or_inside_it_where_nothing_may_be_written_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    assert ON.key_folder(folder) == tmp_path / "store-keys"
    assert Keeping(tmp_path / "usb").key_folder(folder) == tmp_path / "usb"
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert ON.key_folder(folder) == folder / "keys"
    (tmp_path / "store-keys").mkdir()
    assert ON.key_folder(folder) == tmp_path / "store-keys", "where they are already they stay"
    (folder / "keys").mkdir(parents=True)
    monkeypatch.undo()
    assert ON.key_folder(folder) == folder / "keys"


@pytest.mark.parametrize("name", NAMES)
async def test_a_damaged_file_without_its_key_keeps_what_may_be_sound(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await fill(buffer)
        before = await everything(buffer)
    drawer = lose_key(folder)
    with (folder / name).open("r+b") as file:
        file.write(b"\xff" * 64)
    with opened(folder) as locked:
        assert locked.damaged
    put_back(folder, drawer)
    with opened(folder) as again:
        found = await everything(again)
        assert [record for record in found if record in before] == before


async def test_keys_are_not_changed_where_nothing_would_be_sealed_anew(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
        before = await everything(buffer)
    with opened(tmp_path / "store", Keeping(is_on=False, days=0)) as off:
        for refused in (off.keys.change, off.keys.reseal_all):
            with pytest.raises(KeyUnavailable, match="not encrypted"):
                await refused()
        await off.keys.renew()
        off.keys.sealing.rotate(time.time_ns())
        await off.keys._resealer.whole_for_good()
    with opened(tmp_path / "store") as again:
        assert await everything(again) == before


async def test_a_walk_forgets_once_what_nothing_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
        await buffer.keys.change()
        gone = list[int]()
        forget = buffer.keys.sealing.forget_unused
        monkeypatch.setattr(buffer.keys.sealing, "forget_unused", lambda *args: gone.append(forget(*args)))
        await buffer.keys._resealer.whole_for_good()
        assert [count > 0 for count in gone] == [True]
        await buffer.keys.reseal_all()
        assert len(gone) == 2


async def test_changed_keys_leave_those_of_a_damaged_file_that_was_set_aside(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
        old_keys = set(buffer.keys.sealing._ciphers)
        buffer.damaged.append("vitals.db.damaged-20261126")
        await buffer.keys.change()
        await buffer.keys.reseal_all()
        assert buffer.keys.sealing._ring is not None
        assert old_keys <= buffer.keys.sealing._ring.keys.keys()


async def test_a_keyring_from_a_backup_opens_what_came_before_and_meanwhile(tmp_path: Path) -> None:
    folder, backup = tmp_path / "store", tmp_path / "backup"
    with opened(folder) as buffer:
        await fill(buffer)
        before = await everything(buffer)
    (folder / f"{RING}.copy").unlink()
    (folder / RING).rename(backup)
    for number in (50, 51):
        with opened(folder) as meanwhile:
            assert meanwhile.keys.sealing.reason == LOST
            await meanwhile.store_intake(numerics(number))
            after = await everything(meanwhile)
    assert not (folder / RING).exists()
    backup.rename(folder / RING)
    with opened(folder) as again:
        assert again.keys.sealing.reason == ""
        await walk(again)
        assert not (folder / SPARE).exists()
    with opened(folder) as last:
        assert await everything(last) == sorted([*before, *after], key=lambda r: (r.stream, r.epoch, r.seq))


async def test_a_start_that_was_broken_off_after_it_began_a_keyring_makes_nothing_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await fill(buffer)
    for path in folder.glob(f"{RING}*"):
        path.unlink()
    Sealing.open(folder, ON)
    with opened(folder) as again:
        assert again.keys.sealing.reason == LOST
        assert await again.scrub() == 0


async def test_one_row_whose_key_id_the_disk_has_changed_locks_no_store(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
    with closing(sqlite3.connect(tmp_path / "store" / VITALS)) as file, file:
        (payload,) = file.execute("SELECT payload FROM log WHERE id = 1").fetchone()
        file.execute("UPDATE log SET payload = ? WHERE id = 1", (payload[:4] + bytes((payload[4] ^ 1,)) + payload[5:],))
    with opened(tmp_path / "store") as again:
        assert again.keys.sealing.reason == ""
        assert await again.scrub() == 1


async def test_an_old_trend_that_the_disk_has_damaged_is_passed_over(tmp_path: Path) -> None:
    folder, minute = tmp_path / "store", time.time_ns() // MINUTE_NS - 5
    with opened(folder) as buffer:
        await fill(buffer, 0)
    rows = [("mon-b01", "hr", minute + n, 2, low, 123.456, 70.0, 1) for n, low in enumerate(("damaged", b"\0", 60.0))]
    with closing(sqlite3.connect(folder / VITALS)) as file, file:
        file.executemany("INSERT INTO trend VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    with opened(folder) as again:
        # Before they are moved and after; in one step together, so that they must be compared.
        for move in (walk, walk):
            found = await again.trends(["mon-b01"], minute * MINUTE_NS, (minute + 4) * MINUTE_NS, 300)
            assert {row.low for row in found} == {60.0}
            await move(again)
    with closing(sqlite3.connect(folder / VITALS)) as file:
        assert file.execute("SELECT count(*) FROM trend").fetchone() == (2,)


async def test_a_key_file_of_a_medium_that_knows_no_modes_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with opened(tmp_path / "store"):
        (path,) = keys_of(tmp_path / "store").iterdir()
    path.chmod(0o644)
    monkeypatch.setattr(Path, "chmod", refuse)
    with opened(tmp_path / "store") as again:
        assert again.keys.sealing.reason == ""


async def test_keys_that_cannot_be_changed_leave_no_key_file_and_are_tried_again_an_hour_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tries, write = tmp_path / "store", list[Path](), whole_files.write_whole

    def full(path: Path, content: bytes, mode: int) -> None:
        tries.append(path)
        if path.parent == folder:
            raise OSError(28, "No space left on device")
        write(path, content, mode)

    with opened(folder, Keeping(days=0)) as buffer:
        before = list(keys_of(folder).iterdir())
        monkeypatch.setattr(whole_files, "write_whole", full)
        with pytest.raises(BufferFailure):
            await buffer.keys.renew()
        assert list(keys_of(folder).iterdir()) == before
        count = len(tries)
        await buffer.keys.renew()
        assert len(tries) == count
        buffer.keys._renew_from_s -= 3600
        with pytest.raises(BufferFailure):
            await buffer.keys.renew()


async def test_a_change_of_which_one_copy_is_written_keeps_the_key_that_the_copy_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write = tmp_path / "store", whole_files.write_whole

    def half(path: Path, content: bytes, mode: int) -> None:
        if path.suffix == ".copy":
            raise OSError(28, "No space left on device")
        write(path, content, mode)

    with opened(folder) as buffer:
        await fill(buffer)
        before = await everything(buffer)
        with monkeypatch.context() as patched:
            patched.setattr(whole_files, "write_whole", half)
            with pytest.raises(BufferFailure):
                await buffer.keys.change()
    (folder / f"{RING}.copy").unlink()
    with opened(folder) as again:
        assert again.keys.sealing.reason == ""
        assert await everything(again) == before


async def test_no_key_is_made_where_the_medium_of_the_present_one_is_not_mounted(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        drawer = lose_key(folder)
        with pytest.raises(KeyUnavailable, match="No such file"):
            await buffer.keys.change()
        assert not keys_of(folder).exists()
    put_back(folder, drawer)
    with opened(folder) as again:
        assert again.keys.sealing.reason == ""


def test_a_keyring_that_cannot_be_deleted_keeps_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".copy":
            raise OSError(5, "Input/output error")
        unlink(path, missing_ok=missing_ok)

    file = RingFile(tmp_path / SPARE, KeyFiles(tmp_path / SPARE_KEYS))
    file.save(Keyring(1))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(OSError, match="Input"):
            file.delete()
    assert file.load().made_ns == 1
    file.delete()
    assert not file.exists()
    assert not list((tmp_path / SPARE_KEYS).iterdir())


async def test_a_damaged_file_without_its_keyring_keeps_what_may_be_sound(tmp_path: Path) -> None:
    folder, backup = tmp_path / "store", tmp_path / "backup"
    with opened(folder) as buffer:
        await fill(buffer)
        before = await everything(buffer)
    (folder / f"{RING}.copy").unlink()
    (folder / RING).rename(backup)
    with (folder / VITALS).open("r+b") as file:
        file.write(b"\xff" * 64)
    with opened(folder) as locked:
        assert locked.damaged
    backup.rename(folder / RING)
    with opened(folder) as again:
        found = await everything(again)
        assert [record for record in found if record in before] == before


async def test_a_spare_keyring_that_cannot_be_opened_is_set_aside_and_never_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as buffer:
        await fill(buffer, 1)
    drawer = lose_key(folder)
    with opened(folder) as spare:
        await fill(spare, 1)
    kept = {path.name: path.read_bytes() for path in folder.glob(f"{SPARE}*")}
    spare_drawer = (folder / SPARE_KEYS).rename(folder / "spare-drawer")
    with opened(folder) as third:
        await fill(third, 1)
        (name,) = third.keys.sealing.set_aside
        assert third.keys.sealing.reason
    assert {path.read_bytes() for path in folder.glob(f"{SPARE}.aside-*")} == set(kept.values())
    for path in spare_drawer.iterdir():
        path.rename(folder / SPARE_KEYS / path.name)
    put_back(folder, drawer)
    with opened(folder) as again:
        assert again.keys.sealing.reason == ""
        numbers = [record for record in await everything(again) if record.stream == "mon-b01/numeric"]
        assert len(numbers) == 3, "of before, and of both times without the key"
        await walk(again)
        assert not list(folder.glob(f"{SPARE}*")), name


def test_a_spare_keyring_that_cannot_be_deleted_does_not_leave_the_store_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_file: RingFile) -> None:
        raise PermissionError(13, "refused")

    (folder := tmp_path / "store").mkdir()
    Sealing.open(folder, ON)
    spare = RingFile(folder / SPARE, KeyFiles(folder / SPARE_KEYS))
    spare.save(Keyring(1))
    sealing = Sealing.open(folder, ON, needed={12_345})
    assert sealing.reason == LOST
    monkeypatch.setattr(RingFile, "delete", refused)
    with pytest.raises(PermissionError):
        sealing.forget_unused(set(), 0)
    assert sealing.reason == ""
    monkeypatch.undo()
    sealing.forget_unused(set(), 0)
    assert not spare.exists()

"""A person erased at the hub is gone from the node's file, from its memory and from its pages at the next sync."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard
from telemed import erasure
from telemed.topics import Up
from telemed.v1 import alarm_pb2, event_pb2

from edge_node.buffer.opening import may_open
from edge_node.buffer.schema import NAMES
from edge_node.buffer.sealing import Keeping, Sealing
from edge_node.buffer.shelves import SHELVES
from edge_node.buffer.store import Buffer
from edge_node.sitelog import SiteLog
from tests.telemed.test_erasure import WORD, log, ordered

pytestmark = pytest.mark.anyio


def gone(seq: int, person: str) -> event_pb2.OrderedEvent:
    return ordered(seq, "person", person, person_erased=event_pb2.PersonErased(reason="retention"))


def both() -> list[event_pb2.OrderedEvent]:
    """The events of two persons, in one order."""
    rows = [*log("p"), *log("q")]
    for seq, row in enumerate(rows, 1):
        row.site_seq, row.event.event_id = seq, f"e{seq}"
    return rows


async def test_no_word_is_left_in_the_file_and_the_other_person_is_whole(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    try:
        rows = both()
        await buffer.apply_page(event_pb2.EventPage(events=rows))
        await buffer.apply_page(event_pb2.EventPage(events=[gone(len(rows) + 1, "p")]))
        stored = await buffer.ordered_events()
        assert [row.site_seq for row in stored] == list(range(1, len(rows) + 2))
        holding = [row.site_seq for row in stored if WORD.encode() in row.SerializeToString()]
        assert holding == [7, 9, 10, 11, 12]
    finally:
        buffer.close()


async def test_an_erasure_that_the_hub_refused_takes_nothing_away(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    try:
        site, rows = SiteLog(buffer), both()
        refused = gone(len(rows) + 1, "p")
        refused.refused, refused.refusal = True, "refused-rights"
        await buffer.apply_page(event_pb2.EventPage(events=[*rows, refused]))
        site.take_ordered([*rows, refused])
        before = [row.SerializeToString() for row in rows]
        assert [row.SerializeToString() for row in (await buffer.ordered_events())[:-1]] == before
        assert set(site.roster.persons) == {"p", "q"}
    finally:
        buffer.close()


async def test_the_running_node_forgets_the_person_too(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    try:
        site = SiteLog(buffer)
        told: list[str] = []
        site.on_change.append(lambda events: told.extend(event.aggregate_type for event in events))
        rows = both()
        site.take_ordered(rows)
        assert set(site.roster.persons) == {"p", "q"}
        site.take_ordered([gone(len(rows) + 1, "p")])
        assert set(site.roster.persons) == {"q"}
        assert not [row for row in site.ordered("referral")[:2] if WORD.encode() in row.SerializeToString()]
        assert told[-1] == "person"
    finally:
        buffer.close()


def said(person: str) -> alarm_pb2.AlarmEvent:
    return alarm_pb2.AlarmEvent(alarm_id=f"a-{person}", alarm_seq=1, person_id=person, note=WORD, value="82")


def with_words_about_alarms() -> list[event_pb2.OrderedEvent]:
    """The events of two persons, and what the hub said to an alarm of each: 13 is about "p", 14 about "q"."""
    rows = both()
    for person in ("p", "q"):
        body = event_pb2.AlarmAction(action="resolve", text=WORD)
        rows.append(ordered(len(rows) + 1, "alarm", f"a-{person}", alarm_action=body))
    return rows


def erasing(seq: int) -> event_pb2.OrderedEvent:
    body = event_pb2.PersonErased(reason="retention", emptied=[1, 3, 4, 5, 6, 13])
    return ordered(seq, "person", "p", person_erased=body)


async def fill(buffer: Buffer) -> None:
    """Have words in every file: proposed here and come back, said at the bedside, and kept as it came."""
    rows = with_words_about_alarms()
    for row in rows:
        await buffer.propose(row.event)
    await buffer.append_alarms([said("p"), said("q")])
    await buffer.apply_page(event_pb2.EventPage(events=rows))


async def acknowledge(buffer: Buffer) -> None:
    for up in (Up.ALARM, Up.CARE):
        await buffer.acknowledge(up, {key: state.next_seq - 1 for key, state in buffer.streams(up).items()})


def words_in(folder: Path, sealing: Sealing) -> dict[str, int]:
    """File and table to how many rows hold the word, whether sealed or not."""
    found = {}
    for name in NAMES:
        with closing(sqlite3.connect(folder / name)) as opened:
            may_open(opened, sealing)
            tables = opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                about = {each.stored: each.about for each in SHELVES if each.table == table and each.file == name}
                columns = [row[1] for row in opened.execute(f"PRAGMA table_info({table})")]
                shown = ", ".join(f"opened({about[one]}, {one})" if one in about else f'"{one}"' for one in columns)
                rows = opened.execute(f"SELECT {shown} FROM {table}").fetchall()
                found[f"{name} {table}"] = sum(any(WORD.encode() in _bytes(value) for value in row) for row in rows)
    return {where: count for where, count in found.items() if count}


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode()
    # The checksum stands in front of what is sealed.
    packed = value.partition(zstandard.FRAME_HEADER)
    return zstandard.decompress(packed[1] + packed[2]) if packed[1] else value


def payloads(folder: Path) -> list[bytes]:
    """Every record of the alarms and of care, as it is stored: packed ones hold the word unseen."""
    found = []
    for name in ("care.db", "alarm.db"):
        with closing(sqlite3.connect(folder / name)) as opened:
            found += [bytes(row[0]) for row in opened.execute("SELECT payload FROM log WHERE kind IN (3, 4)")]
    # What says nothing but an id is a part of what stays.
    return [payload for payload in found if WORD.encode() in _bytes(payload)]


def holding(folder: Path, needles: list[bytes]) -> set[str]:
    """Files that hold any of these bytes."""
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return {name for name, content in contents.items() if any(needle in content for needle in needles)}


BEFORE = {"care.db event": 12, "care.db log": 12, "alarm.db log": 2}
AFTER = {"care.db event": 6, "care.db log": 6, "alarm.db log": 1}


@pytest.mark.parametrize("is_on", [True, False])
async def test_no_word_is_left_in_any_table_of_the_node_once_the_hub_has_it(tmp_path: Path, is_on: bool) -> None:
    store = tmp_path / "store"
    buffer = Buffer.open(store, keeping=Keeping(is_on=is_on))
    try:
        await fill(buffer)
        sealing = buffer.keys.sealing
        assert words_in(store, sealing) == BEFORE
        await buffer.apply_page(event_pb2.EventPage(events=[erasing(15)]))
        await buffer.sweep()
        # The hub does not have it yet: it is sent as it is, and emptied there.
        assert words_in(store, sealing) == {**BEFORE, "care.db event": 6}
        await acknowledge(buffer)
        await buffer.sweep()
        assert words_in(store, sealing) == AFTER
        assert await buffer.sweep() == 0
    finally:
        buffer.close()


async def test_a_restarted_node_goes_on_forgetting_and_numbers_stay_what_they_were(tmp_path: Path) -> None:
    store = tmp_path / "store"
    buffer = Buffer.open(store)
    try:
        await fill(buffer)
        await buffer.apply_page(event_pb2.EventPage(events=[erasing(15)]))
        await acknowledge(buffer)
    finally:
        buffer.close()
    again = Buffer.open(store)
    try:
        await again.sweep()
        assert words_in(store, again.keys.sealing) == AFTER
        states = [state for state in again.streams(Up.CARE).values() if state.next_seq > 1]
        assert [(state.next_seq, state.acked, state.waiting) for state in states] == [(15, 14, 0)]
        await again.make_room()
        await again.scrub()
        assert again.declared() == []
    finally:
        again.close()


async def test_where_nothing_is_sealed_no_byte_of_it_stays_in_the_files(tmp_path: Path) -> None:
    store = tmp_path / "store"
    buffer = Buffer.open(store, keeping=Keeping(is_on=False))
    try:
        await buffer.append_alarms([said("p")])
        rows = log("p")
        for row in rows:
            await buffer.propose(row.event)
        await buffer.apply_page(event_pb2.EventPage(events=rows))
        await acknowledge(buffer)
        needles = [WORD.encode(), *payloads(store)]
        assert holding(store, needles) >= {"care.db-wal", "alarm.db-wal"}
        await buffer.apply_page(event_pb2.EventPage(events=[erasing(len(rows) + 1)]))
        await buffer.sweep()
        assert holding(store, needles) == set()
    finally:
        buffer.close()


async def test_what_was_said_to_an_alarm_is_gone_from_memory_too(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    try:
        site = SiteLog(buffer)
        site.take_ordered(with_words_about_alarms())
        site.take_ordered([erasing(15)])
        left = [row.event.aggregate_id for row in site.ordered("alarm") if WORD.encode() in row.SerializeToString()]
        assert left == ["a-q"]
    finally:
        buffer.close()


async def test_however_many_persons_are_erased_the_log_is_looked_through_once_in_each_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = list[int]()

    def about(*args: Any) -> Iterator[event_pb2.OrderedEvent | None]:
        looks.append(1)
        return about_before(*args)

    about_before = erasure.about
    monkeypatch.setattr(erasure, "about", about)
    rows = both()
    page = [*rows, gone(len(rows) + 1, "p"), gone(len(rows) + 2, "q")]
    buffer = Buffer.open(tmp_path)
    try:
        await buffer.apply_page(event_pb2.EventPage(events=page))
        assert len(looks) == 1
        stored = await buffer.ordered_events()
        site = SiteLog(buffer)
        site.take_ordered(page)
        assert len(looks) == 2
        await buffer.sweep()
        assert len(looks) == 3
        for left in (stored, [row for kind in ("person", "referral", "consent") for row in site.ordered(kind)]):
            assert not [row for row in left if WORD.encode() in row.SerializeToString()]
    finally:
        buffer.close()

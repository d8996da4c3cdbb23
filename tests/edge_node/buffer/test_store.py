"""What the buffer promises to the stages that use it."""

import math
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from telemed.topics import Up
from telemed.v1 import alarm_pb2, event_pb2
from telemed.wire import Kind

from edge_node.buffer import history, maintenance
from edge_node.buffer.clock import boottime_ns
from edge_node.buffer.file import LogFile
from edge_node.buffer.opening import may_open
from edge_node.buffer.schema import CARE, FILES, VITALS
from edge_node.buffer.sealing import Keeping, Sealing
from edge_node.buffer.store import Buffer, Waiting
from edge_node.buffer.trend import unpacked
from edge_node.errors import BufferFailure, BufferFull, BufferNewer
from edge_node.samples.measurement import (
    Assignment,
    Channel,
    Intake,
    NumericSet,
    Origin,
    Quality,
    Stored,
    Value,
    WaveformSet,
)
from tests.fakes.outbox import key_of

MINUTE_NS = 60 * 10**9
pytestmark = pytest.mark.anyio


def numerics(device: str = "monitor-1", at_ns: int = 0, **values: str) -> NumericSet:
    at_ns = at_ns or time.time_ns()
    return NumericSet(device, at_ns, at_ns, tuple(Value(key, text, "1") for key, text in values.items()))


def waves(device: str = "monitor-1") -> WaveformSet:
    digits = np.array([5, -3, 2**31 - 1, -(2**31)], np.int32)
    return WaveformSet(device, 7, time.time_ns(), (Channel("ecg_II", 4.0, digits, 200.0, 0.0, "mV"),))


def limit(buffer: Buffer, most_bytes: int | None) -> None:
    """Let the file of measurements become so large, whatever room there really is."""
    buffer.room._limited_s = math.inf
    buffer._files[VITALS].most_pages_bytes = most_bytes


async def test_numbers_of_a_stream_are_without_gap_and_each_life_has_its_own(tmp_path: Path) -> None:
    first = Buffer.open(tmp_path)
    for _ in range(3):
        await first.store_intake(Intake(sets=(numerics(hr="70"),)))
    before = key_of(first, Up.VITALS, "monitor-1/numeric")
    first.close()

    again = Buffer.open(tmp_path)
    await again.store_intake(Intake(sets=(numerics(hr="71"),)))
    (after,) = set(again.streams(Up.VITALS)) - {before}
    records = [record for key in (before, after) for record in await again.read_run(Up.VITALS, key, 1, 99)]
    again.close()

    assert [(record.seq, record.epoch == before.epoch) for record in records] == [
        (1, True), (2, True), (3, True), (1, False),
    ]  # fmt: skip
    assert {record.kind for record in records} == {Kind.NUMERIC_SET}


async def test_a_message_seen_before_is_not_stored_twice(buffer: Buffer) -> None:
    intake = Intake(sets=(numerics(hr="70"),), waves=(waves(),), dedup_key="monitor^1^abc")

    assert await buffer.store_intake(intake) is Stored.NEW
    assert await buffer.store_intake(intake) is Stored.DUPLICATE
    assert buffer.waiting()[Up.VITALS].records == 1
    assert buffer.waiting()[Up.WAVES].records == 1


async def test_a_message_is_known_again_after_a_restart_whatever_it_brought(tmp_path: Path) -> None:
    brought = [
        Intake(sets=(numerics(hr="70"),), dedup_key="numerics"),
        Intake(waves=(waves(),), dedup_key="waves"),
        Intake(raw=b"MSH|...", raw_reason="device-unknown", dedup_key="refused"),
        Intake(dedup_key="empty"),
    ]
    first = Buffer.open(tmp_path)
    assert [await first.store_intake(each) for each in brought] == [Stored.NEW] * 4
    first.close()
    again = Buffer.open(tmp_path)
    assert [await again.store_intake(each) for each in brought] == [Stored.DUPLICATE] * 4
    assert await again.store_intake(Intake(sets=(numerics(hr="71"),))) is Stored.NEW
    again.close()


async def test_what_comes_in_is_read_back_as_it_was(buffer: Buffer) -> None:
    sample = numerics(hr="70", spo2="98.06")
    await buffer.store_intake(Intake(sets=(sample,)))

    assert await buffer.sets_since(sample.arrived_at_ns - 1) == [sample]
    assert await buffer.sets_since(sample.arrived_at_ns) == []


async def test_a_message_in_quarantine_is_kept_whole(buffer: Buffer, tmp_path: Path) -> None:
    await buffer.store_intake(Intake(raw=b"MSH|...", raw_reason="device-unknown", dedup_key="k"))

    report = {each.name: each for each in maintenance.inspect(tmp_path / "edge-test")}
    assert report["vitals.db"].rows["kept"] == 1
    assert report["vitals.db"].check == "ok"
    assert report["vitals.db"].rows["log"] == 0


async def test_trends_hold_low_high_and_last_of_a_step_and_leave_gaps(buffer: Buffer) -> None:
    start = 1_700_000_040 * 10**9 // (5 * MINUTE_NS) * 5 * MINUTE_NS
    for offset_s, text in ((0, "70"), (30, "90"), (65, "60"), (600, "75")):
        await buffer.store_intake(Intake(sets=(numerics(at_ns=start + offset_s * 10**9, hr=text),)))

    rows = await buffer.trends(["monitor-1", "manual-b01"], start, start + 20 * MINUTE_NS, 300)

    assert [(row.at_ns - start, row.low, row.high, row.last) for row in rows] == [
        (0, 60, 90, 60),
        (10 * MINUTE_NS, 75, 75, 75),
    ]


async def test_trends_that_a_killed_node_did_not_write_are_there_after_its_restart_and_none_twice(
    tmp_path: Path,
) -> None:
    start = 1_700_000_040 * 10**9 // MINUTE_NS * MINUTE_NS
    first = Buffer.open(tmp_path)
    await first.store_intake(Intake(sets=(numerics(at_ns=start, hr="70"),)))
    await first.save()
    await first.store_intake(Intake(sets=(numerics(at_ns=start + 10**9, hr="90"),)))
    first.close()
    for _ in range(2):
        again = Buffer.open(tmp_path)
        rows = await again.trends(["monitor-1"], start, start + MINUTE_NS, 60)
        assert [(row.low, row.high, row.last) for row in rows] == [(70, 90, 90)]
        again.close()
    sealing = Sealing.reading(tmp_path, Keeping())
    connection = sqlite3.connect(tmp_path / VITALS)
    may_open(connection, sealing)
    (row,) = connection.execute(history.SELECT_MINUTES, ("monitor-1", 0, 2**62)).fetchall()
    connection.close()
    assert unpacked(row[2])["hr"].n == 2


async def test_a_failed_commit_leaves_no_trend(buffer: Buffer) -> None:
    limit(buffer, 1)
    now_ns = time.time_ns()
    big = tuple(numerics(hr="70", x="9" * 5000) for _ in range(50))
    with pytest.raises(BufferFull):
        await buffer.store_intake(Intake(sets=big))
    limit(buffer, None)
    assert await buffer.trends(["monitor-1"], now_ns - MINUTE_NS, now_ns + MINUTE_NS, 60) == []


async def test_how_far_the_hub_is_survives_a_restart_once_it_is_written_down(tmp_path: Path) -> None:
    first = Buffer.open(tmp_path)
    await first.store_intake(Intake(sets=(numerics(hr="1"), numerics(hr="2"))))
    key = key_of(first, Up.VITALS, "monitor-1/numeric")
    await first.acknowledge(Up.VITALS, {key: 1})
    await first.save()
    first.close()
    again = Buffer.open(tmp_path)
    assert again.streams(Up.VITALS)[key].acked == 1
    assert again.waiting()[Up.VITALS].records == 1
    again.close()


async def test_doubtful_values_enter_no_trend(buffer: Buffer) -> None:
    now = time.time_ns()
    doubtful = Value("hr", "300", "/min", Quality.IMPLAUSIBLE)
    good = Value("hr", "70", "/min")
    coded = Value("acvpu", "A", "")
    for sample in (
        NumericSet("m", now, now, (doubtful, coded)),
        NumericSet("m", now, now, (good,), origin=Origin.TEST),
        NumericSet("m", now, now, (good,), assignment=Assignment.UNASSIGNED),
    ):
        await buffer.store_intake(Intake(sets=(sample,)))

    assert await buffer.trends(["m"], now - MINUTE_NS, now + MINUTE_NS, 60) == []


async def test_waiting_counts_what_the_hub_has_not_acknowledged(buffer: Buffer) -> None:
    first, second = numerics(hr="1"), numerics(hr="2")
    await buffer.store_intake(Intake(sets=(first, second)))
    assert buffer.waiting()[Up.VITALS] == Waiting(2, first.arrived_at_ns)

    await buffer.acknowledge(Up.VITALS, {key_of(buffer, Up.VITALS, "monitor-1/numeric"): 1})
    assert buffer.waiting()[Up.VITALS] == Waiting(1, second.arrived_at_ns)

    await buffer.acknowledge(Up.VITALS, {key_of(buffer, Up.VITALS, "monitor-1/numeric"): 2})
    assert buffer.waiting()[Up.VITALS] == Waiting(0, 0)


async def test_a_hub_that_lost_records_makes_them_wait_again(buffer: Buffer) -> None:
    await buffer.store_intake(Intake(sets=(numerics(hr="1"), numerics(hr="2"))))
    await buffer.acknowledge(Up.VITALS, {key_of(buffer, Up.VITALS, "monitor-1/numeric"): 2})
    await buffer.acknowledge(Up.VITALS, {key_of(buffer, Up.VITALS, "monitor-1/numeric"): 0})

    assert buffer.waiting()[Up.VITALS].records == 2


async def test_a_number_never_given_out_is_not_acknowledged(buffer: Buffer) -> None:
    await buffer.store_intake(Intake(sets=(numerics(hr="1"),)))
    await buffer.acknowledge(Up.VITALS, {key_of(buffer, Up.VITALS, "monitor-1/numeric"): 7})

    assert buffer.waiting()[Up.VITALS].records == 1


async def test_alarms_and_their_cursor_come_back(buffer: Buffer) -> None:
    started = time.time_ns()
    event = alarm_pb2.AlarmEvent(alarm_id="a", alarm_seq=1, phase=alarm_pb2.PHASE_START)
    await buffer.append_alarms([event], {"monitor-1": 5})
    await buffer.set_evaluated({"monitor-2": 6})

    assert await buffer.alarm_events(started - 1) == [event]
    assert await buffer.evaluated_up_to("monitor-1") == 5
    assert await buffer.evaluated_up_to("monitor-2") == 6
    assert await buffer.evaluated_up_to("unknown") == 0


def ordered(site_seq: int, event_id: str, *, refused: bool = False) -> event_pb2.OrderedEvent:
    event = event_pb2.Event(event_id=event_id, aggregate_type="bed", aggregate_id="B01")
    return event_pb2.OrderedEvent(site_seq=site_seq, event=event, refused=refused)


async def test_a_proposal_is_pending_until_the_hub_has_ordered_or_refused_it(buffer: Buffer) -> None:
    for event_id in ("one", "two", "two"):
        await buffer.propose(event_pb2.Event(event_id=event_id, aggregate_type="bed"))
    assert [event.event_id for event in await buffer.pending_events()] == ["one", "two"]
    assert buffer.waiting()[Up.CARE].records == 2

    await buffer.apply_page(event_pb2.EventPage(events=[ordered(1, "one"), ordered(2, "two", refused=True)]))

    assert await buffer.pending_events() == []
    assert await buffer.event_cursor() == 2
    assert [each.refused for each in await buffer.ordered_events("bed")] == [False, True]
    assert await buffer.ordered_events("referral") == []


async def test_events_are_applied_strictly_in_order_and_once(buffer: Buffer) -> None:
    page = event_pb2.EventPage(events=[ordered(2, "two"), ordered(1, "one"), ordered(4, "four")])

    assert [each.site_seq for each in await buffer.apply_page(page)] == [1, 2]
    assert await buffer.apply_page(page) == []
    rest = event_pb2.EventPage(events=[ordered(2, "two"), ordered(3, "three"), ordered(4, "four")])
    assert [each.site_seq for each in await buffer.apply_page(rest)] == [3, 4]


async def test_retention_deletes_acknowledged_rows_alone(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path, keep_sent_hours=24)
    old_ns = time.time_ns()
    for _ in range(3):
        await buffer.store_intake(Intake(sets=(numerics(at_ns=old_ns, hr="70"),)))
    await buffer.acknowledge(Up.VITALS, {key_of(buffer, Up.VITALS, "monitor-1/numeric"): 2})
    buffer._keep_sent_hours = -1
    await buffer.sweep()
    now_ns = boottime_ns()
    buffer.clock.steady = lambda: now_ns + 24 * 60 * MINUTE_NS
    await buffer.sweep()

    left = await buffer.read_run(Up.VITALS, key_of(buffer, Up.VITALS, "monitor-1/numeric"), 1, 9)
    buffer.close()
    assert [record.seq for record in left] == [3]


async def test_at_the_limit_measurements_are_refused_and_alarms_are_not(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path, limit_mib=64)
    buffer.room.limit_bytes = 1000
    with pytest.raises(BufferFull):
        await buffer.store_intake(Intake(sets=(numerics(hr="70"),)))
    await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
    buffer.close()


async def test_a_full_disk_is_told_and_the_buffer_goes_on_when_there_is_room(buffer: Buffer) -> None:
    limit(buffer, 1)
    big = tuple(numerics(hr=str(number) * 500) for number in range(200))
    with pytest.raises(BufferFull):
        await buffer.store_intake(Intake(sets=big, dedup_key="k"))
    assert buffer.waiting()[Up.VITALS].records == 0

    limit(buffer, None)
    assert await buffer.store_intake(Intake(sets=big, dedup_key="k")) is Stored.NEW
    records = await buffer.read_run(Up.VITALS, key_of(buffer, Up.VITALS, "monitor-1/numeric"), 1, 999)
    assert [record.seq for record in records] == list(range(1, 201))


async def test_a_failing_piece_of_work_takes_back_its_own_rows_alone(buffer: Buffer) -> None:
    with pytest.raises(ZeroDivisionError):
        await buffer._files[VITALS].write(lambda batch: 1 // 0)
    assert await buffer.store_intake(Intake(sets=(numerics(hr="70"),))) is Stored.NEW


async def test_a_file_of_newer_software_is_refused(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    await buffer._files[CARE].read(lambda connection: connection.execute("SELECT 1").fetchone())
    buffer.close()
    connection = sqlite3.connect(tmp_path / FILES[Up.CARE])
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / CARE).read_bytes()
    with pytest.raises(BufferNewer, match=r"care\.db.*升级回来.*newer.*version 99"):
        Buffer.open(tmp_path)
    assert (tmp_path / CARE).read_bytes() == before


async def test_storing_after_close_is_refused(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    buffer.close()
    buffer.close()
    with pytest.raises(BufferFailure):
        await buffer.store_intake(Intake(sets=(numerics(hr="70"),)))


async def test_the_pump_is_woken_after_the_commit(buffer: Buffer) -> None:
    told: list[tuple[Up, list[str]]] = []
    buffer.on_stored.append(lambda up, keys: told.append((up, [key.stream for key in keys])))
    await buffer.store_intake(Intake(sets=(numerics(hr="1"),), waves=(waves(),)))
    await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
    await buffer.propose(event_pb2.Event(event_id="e"))

    assert told == [
        (Up.VITALS, ["monitor-1/numeric"]),
        (Up.WAVES, ["monitor-1/wave"]),
        (Up.ALARM, ["node/alarm"]),
        (Up.CARE, ["node/care"]),
    ]


async def test_a_row_that_the_disk_damaged_does_not_keep_the_others_from_being_read(
    buffer: Buffer, tmp_path: Path
) -> None:
    for number in range(3):
        await buffer.store_intake(Intake(sets=(numerics(hr=str(70 + number)),)))
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id=f"a{number}", alarm_seq=1)])
    for up in (Up.VITALS, Up.ALARM):
        with sqlite3.connect(tmp_path / "edge-test" / FILES[up]) as worn:
            worn.execute("UPDATE log SET payload = x'ffff00ff', crc = 1 WHERE seq = 2")
        worn.close()
    assert [sample.values[0].value for sample in await buffer.sets_since(0)] == ["70", "72"]
    assert [event.alarm_id for event in await buffer.alarm_events(0)] == ["a0", "a2"]
    assert [sample.values[0].value for sample in await buffer.last_known(["monitor-1"], 0)][-1] == "72"


async def test_a_size_that_cannot_be_read_after_a_commit_does_not_end_the_writer(
    buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_file: LogFile) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(LogFile, "_measure", fail)
    for number in range(2):
        assert await buffer.store_intake(Intake(sets=(numerics(hr=str(70 + number)),))) is Stored.NEW

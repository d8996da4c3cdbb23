"""`cloud-hub retention`: a dry run changes nothing, and what is deleted is what the table says and no more."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Connection, insert, select
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2
from telemed.wire import Kind

from cloud_hub.__main__ import main
from cloud_hub.care.retention import NS_PER_DAY
from cloud_hub.config import load
from cloud_hub.store import alarms, persons, retained
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES, record, referral_head, samples_stream

NODE = NodeAddress("baoshan", "clinic", "edge-1")
NOW_NS = time.time_ns()
OLD_NS, YOUNG_NS, ALARM_NS = NOW_NS - 100 * NS_PER_DAY, NOW_NS - 80 * NS_PER_DAY, NOW_NS - 95 * NS_PER_DAY
MIN_NS = 60 * 10**9
WAVE, NUMBER = 1, 2


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "secrets.json").write_text(json.dumps({"hub": {"secret": "s"}}))
    (tmp_path / "hub.toml").write_text(
        'region = "baoshan"\nname_zh = "中心"\nname_en = "Hub"\n'
        '[store]\nsamples_url = "sqlite:///samples.db"\ncare_url = "sqlite:///care.db"\n'
        '[broker]\nsecrets_file = "secrets.json"\n'
    )
    config = load(tmp_path / "hub.toml")
    samples, care = (
        Database(config.store.samples_url, SAMPLES, "samples"),
        Database(config.store.care_url, CARE, "care"),
    )
    samples.migrate()
    care.migrate()
    samples.write_blocking(_samples)
    care.write_blocking(_care)
    samples.close()
    care.close()
    yield tmp_path
    structlog.reset_defaults()


def _samples(connection: Connection) -> None:
    for number, name in ((WAVE, "m/wave"), (NUMBER, "m/numeric")):
        stream = {"id": number, "region": NODE.region, "site": NODE.site, "node": NODE.node, "device": "m"}
        connection.execute(insert(samples_stream).values(**stream, name=name, first_seen_ns=1))
    times = [OLD_NS, OLD_NS + 1, ALARM_NS - 4 * MIN_NS, ALARM_NS + 4 * MIN_NS, ALARM_NS + 6 * MIN_NS, YOUNG_NS]
    rows = [_row(WAVE, seq, Kind.WAVEFORM_SET, at) for seq, at in enumerate(times, 1)]
    rows += [_row(NUMBER, seq, Kind.NUMERIC_SET, at) for seq, at in enumerate(times, 1)]
    connection.execute(insert(record), rows)


def _row(stream_id: int, seq: int, kind: Kind, at_ns: int) -> dict[str, object]:
    zeros = dict.fromkeys(
        ("edge_day", "codec", "crc", "mono_ns", "boot", "offset_ms", "offset_error_ms", "shift_ns"), 0
    )
    more = {"stream_id": stream_id, "seq": seq, "kind": kind, "measured_ns": at_ns, "payload": b"x" * 1000}
    return zeros | more | {"epoch": "0" * 16, "schema": 1, "wall_ns": at_ns, "received_ns": at_ns}


def _care(connection: Connection) -> None:
    step = alarm_pb2.AlarmEvent(
        alarm_id="a",
        alarm_seq=1,
        phase=alarm_pb2.PHASE_START,
        condition="x",
        onset_unix_ns=ALARM_NS,
        at_unix_ns=ALARM_NS,
    )
    alarms.take_step(connection, NODE, step, ALARM_NS)
    where = (NODE.region, NODE.site)
    for person, days, kind in (("gone", 40, "VISITOR"), ("new", 10, "VISITOR"), ("ill", 40, "ACUTE")):
        begin, end = NOW_NS - (days + 1) * NS_PER_DAY, NOW_NS - days * NS_PER_DAY
        body = event_pb2.BedAssigned(person_id=person, from_unix_ns=begin, episode_class=kind)
        persons.assign_bed(connection, where, person, body, person)
        persons.vacate_bed(connection, where, person, end)


def left(folder: Path, stream_id: int) -> list[int]:
    with closing(sqlite3.connect(folder / "samples.db")) as opened:
        rows = opened.execute("SELECT seq FROM record WHERE stream_id = ? ORDER BY seq", (stream_id,)).fetchall()
    return [seq for (seq,) in rows]


def ask(folder: Path, *more: str) -> None:
    main(["retention", *more, "--config", str(folder / "hub.toml")])


def trail(folder: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(folder / "care.db")) as opened:
        return opened.execute("SELECT action, object, result FROM audit").fetchall()


def test_a_dry_run_counts_and_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(folder)
    report = capsys.readouterr().out
    assert "dry run: nothing was changed" in report
    assert "table 2026-11.2," in report
    lines = {line.split()[0]: line for line in report.splitlines()[2::2]}
    assert "3 over their time" in lines["waves"]
    assert "1 over their time" in lines["visitors"]
    assert "0 over their time" in lines["measurements"]
    assert left(folder, WAVE) == [1, 2, 3, 4, 5, 6]
    assert trail(folder) == []


def test_old_waves_go_and_those_around_an_alarm_the_young_and_all_numbers_stay(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(folder, "--apply")
    assert "3 deleted" in capsys.readouterr().out
    assert left(folder, WAVE) == [3, 4, 6]
    assert left(folder, NUMBER) == [1, 2, 3, 4, 5, 6]
    assert trail(folder) == [("retention", "waves 3", "2026-11.2")]
    ask(folder, "--apply")
    assert left(folder, WAVE) == [3, 4, 6]


def test_waves_under_a_clock_that_is_not_known_yet_or_that_came_lately_stay(folder: Path) -> None:
    rows = [
        _row(WAVE, 7, Kind.WAVEFORM_SET, OLD_NS) | {"shift_ns": None},
        _row(WAVE, 8, Kind.WAVEFORM_SET, OLD_NS) | {"received_ns": YOUNG_NS},
        # Later than the strip of the alarm begins, and still long ago.
        _row(WAVE, 9, Kind.WAVEFORM_SET, OLD_NS) | {"received_ns": ALARM_NS + MIN_NS},
        _row(WAVE, 10, Kind.WAVEFORM_SET, YOUNG_NS),
    ]
    samples = Database(load(folder / "hub.toml").store.samples_url, SAMPLES, "samples")
    samples.write_blocking(lambda c: c.execute(insert(record), rows))
    unknown = _row(NUMBER, 7, Kind.NUMERIC_SET, OLD_NS) | {"shift_ns": None}
    samples.write_blocking(lambda c: c.execute(insert(record), [unknown]))
    assert samples.read_blocking(lambda c: retained.count_numbers(c, NODE.region, OLD_NS + 1)) == 1
    whole = (OLD_NS, OLD_NS + 1)
    assert samples.write_blocking(lambda c: retained.delete_measured(c, [NUMBER], whole)) == 1
    samples.close()
    assert left(folder, NUMBER) == [2, 3, 4, 5, 6, 7]
    ask(folder, "--apply")
    assert left(folder, WAVE) == [3, 4, 6, 7, 8, 10]


def test_many_go_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retained, "CHUNK", 2)
    ask(folder, "--apply")
    assert left(folder, WAVE) == [3, 4, 6]


def test_the_newest_arrival_stays_so_that_its_number_is_not_given_out_again(samples_db: Database) -> None:
    def work(connection: Connection) -> int:
        stream = {"id": WAVE, "region": "r", "site": "s", "node": "n", "device": "m", "name": "m/wave"}
        connection.execute(insert(samples_stream).values(**stream, first_seen_ns=1))
        # Whatever else stands in the stream is no wave, and is not deleted as one.
        kinds = (Kind.NUMERIC_SET, Kind.WAVEFORM_SET, Kind.WAVE_ENVELOPE, Kind.WAVEFORM_SET)
        connection.execute(insert(record), [_row(WAVE, seq, kind, 10 + seq) for seq, kind in enumerate(kinds)])
        return retained.delete_waves(connection, WAVE, (0, 100), 100)

    assert samples_db.write_blocking(work) == 2
    assert samples_db.read_blocking(lambda c: list(c.execute(select(record.c.seq)).scalars())) == [0, 3]


def test_what_is_over_its_time_is_counted_alike_on_both_databases(care_db: Database) -> None:
    care_db.write_blocking(_care)
    found = care_db.read_blocking(lambda c: retained.visitors_before(c, NODE.region, NOW_NS - 30 * NS_PER_DAY))
    assert found == ["gone"]
    care_db.write_blocking(
        lambda c: c.execute(
            insert(referral_head).values(
                region=NODE.region, site=NODE.site, referral_id="r", person_id="gone", state="CLOSED", updated_ns=1
            )
        )
    )
    assert care_db.read_blocking(lambda c: retained.visitors_before(c, NODE.region, NOW_NS)) == ["new"]
    assert care_db.read_blocking(lambda c: retained.count_alarms(c, NODE.region, NOW_NS)) == 1
    assert care_db.read_blocking(lambda c: retained.count_consults(c, NODE.region, NOW_NS)) == 0
    assert care_db.read_blocking(lambda c: retained.count_audit(c, NODE.region, NOW_NS)) == 0


def test_a_wrong_table_stops_before_anything_is_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "table.toml").write_text("version = 1")
    with pytest.raises(SystemExit):
        ask(folder, "--apply", "--table", str(folder / "table.toml"))
    assert "version" in capsys.readouterr().err
    assert left(folder, WAVE) == [1, 2, 3, 4, 5, 6]


def test_studies_that_are_old_and_visitors_with_images_are_counted_as_such(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(folder)
    assert "1 over their time" in next(line for line in capsys.readouterr().out.splitlines() if "visitors" in line)
    with closing(sqlite3.connect(folder / "care.db")) as opened, opened:
        (visitor,) = opened.execute("SELECT person_id FROM bed_stay WHERE episode_class = 'VISITOR'").fetchone()
        groups = [("baoshan", "clinic", group, visitor, 1, 1, None, None) for group in ("old", "young")]
        opened.executemany("INSERT INTO dicom_group VALUES (?, ?, ?, ?, ?, ?, ?, ?)", groups)
        for group, days in (("old", 5480), ("young", 5478)):
            row = (
                group,
                "baoshan",
                "clinic",
                group,
                "1.2",
                "",
                "",
                "[]",
                1,
                1,
                "{}",
                NOW_NS - days * NS_PER_DAY,
                None,
                None,
                None,
                None,
            )
            opened.execute(f"INSERT INTO dicom_study VALUES ({', '.join('?' * 16)})", row)
    ask(folder)
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2::2]}
    assert "1 over their time" in lines["images"]
    assert "0 over their time" in lines["visitors"]

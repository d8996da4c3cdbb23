"""`cloud-hub erase`: only whose time is over, all that was measured of them, and nobody else."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Connection, insert
from telemed.v1 import event_pb2
from telemed.wire import Kind

from cloud_hub.__main__ import main
from cloud_hub.care.places import Stay
from cloud_hub.care.retention import NS_PER_DAY, kept_until_ns
from cloud_hub.care.retention import load as load_table
from cloud_hub.config import load
from cloud_hub.store import persons
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES, record, samples_stream, trend

NOW_NS = time.time_ns()
BED, DEVICE = "B01", "m1"
STAYS = {
    "before": (60, 50, "CHRONIC"),
    "visitor": (50, 40, "VISITOR"),
    "after": (40, 35, "CHRONIC"),
    "here": (2, 0, "VISITOR"),
}
"""Person to days ago of coming and going in the one bed; 0 = is there."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "secrets.json").write_text(json.dumps({"hub": {"secret": "s"}}))
    (tmp_path / "hub.toml").write_text(
        'region = "baoshan"\nname_zh = "中心"\nname_en = "Hub"\n'
        '[store]\nsamples_url = "sqlite:///samples.db"\ncare_url = "sqlite:///care.db"\n'
        '[broker]\nsecrets_file = "secrets.json"\n'
    )
    config = load(tmp_path / "hub.toml")
    for url, metadata, name, work in (
        (config.store.care_url, CARE, "care", _care),
        (config.store.samples_url, SAMPLES, "samples", _samples),
    ):
        database = Database(url, metadata, name)
        database.migrate()
        database.write_blocking(work)
        database.close()
    yield tmp_path
    structlog.reset_defaults()


def ago(days: float) -> int:
    return NOW_NS - int(days * NS_PER_DAY)


def _care(connection: Connection) -> None:
    where = ("baoshan", "clinic")
    # The node told of its device long after it was hung up.
    persons.place_device(connection, where, DEVICE, event_pb2.DevicePlaced(bed=BED, node="edge-1"), ago(45))
    for person, (came, left, kind) in STAYS.items():
        persons.save_person(connection, where, person, event_pb2.PersonRegistered(family_name=person), ago(came))
        body = event_pb2.BedAssigned(person_id=person, from_unix_ns=ago(came), episode_class=kind)
        persons.assign_bed(connection, where, BED, body, person)
        if left:
            persons.vacate_bed(connection, where, BED, ago(left))


def _samples(connection: Connection) -> None:
    streams = {"id": 1, "region": "baoshan", "site": "clinic", "node": "edge-1", "device": DEVICE}
    connection.execute(insert(samples_stream).values(**streams, name=f"{DEVICE}/numeric", first_seen_ns=1))
    zeros = dict.fromkeys(
        ("edge_day", "codec", "crc", "mono_ns", "boot", "offset_ms", "offset_error_ms", "shift_ns"), 0
    )
    same = zeros | {"stream_id": 1, "kind": Kind.NUMERIC_SET, "epoch": "0" * 16, "schema": 1, "payload": b"x"}
    times = [ago(55), ago(49), ago(41), ago(38), ago(1)]
    rows = [same | {"seq": n, "measured_ns": at, "wall_ns": at, "received_ns": at} for n, at in enumerate(times, 1)]
    connection.execute(insert(record), rows)
    minutes = [{"stream_id": 1, "measure": "hr", "minute": at // (60 * 10**9)} for at in times]
    connection.execute(
        insert(trend), [{**one, "n": 1, "low": "1", "high": "1", "last": "1", "last_ns": 1} for one in minutes]
    )


def ask(folder: Path, person: str, *more: str) -> None:
    main(["erase", person, *more, "--config", str(folder / "hub.toml")])


def rows(folder: Path, file: str, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / file)) as opened:
        return opened.execute(query).fetchall()


def test_a_dry_run_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(folder, "visitor")
    assert "dry run: nothing was changed" in capsys.readouterr().out
    assert len(rows(folder, "samples.db", "SELECT seq FROM record")) == 5
    assert rows(folder, "care.db", "SELECT action FROM audit") == []


def test_a_visitor_is_erased_with_what_was_measured_while_they_lay_there_and_nothing_more(folder: Path) -> None:
    ask(folder, "visitor", "--apply")
    assert rows(folder, "samples.db", "SELECT seq FROM record ORDER BY seq") == [(1,), (4,), (5,)]
    assert len(rows(folder, "samples.db", "SELECT minute FROM trend")) == 3
    names = {row[0]: row[1] for row in rows(folder, "care.db", "SELECT person_id, family_name FROM person")}
    assert names == {"before": "before", "visitor": "", "after": "after", "here": "here"}
    assert rows(folder, "care.db", "SELECT action, object FROM audit") == [("person-erase", "Patient/visitor")]
    assert len(rows(folder, "care.db", "SELECT person_id FROM bed_stay")) == 4
    ask(folder, "visitor", "--apply")


@pytest.mark.parametrize(
    ("person", "reason"), [("here", "still cared for"), ("before", "must be kept until"), ("nobody", "no person")]
)
def test_whose_time_is_not_over_stays(
    folder: Path, person: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        ask(folder, person, "--apply")
    assert reason in capsys.readouterr().err
    assert len(rows(folder, "samples.db", "SELECT seq FROM record")) == 5


def test_a_visitor_who_was_referred_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(folder / "care.db")) as opened, opened:
        opened.execute("INSERT INTO referral_head VALUES ('baoshan', 'r', 'clinic', 'visitor', 'CLOSED', 1)")
    with pytest.raises(SystemExit):
        ask(folder, "visitor", "--apply")
    assert "must be kept until" in capsys.readouterr().err


def test_a_visitor_of_whom_an_image_came_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(folder / "care.db")) as opened, opened:
        of_group = "('baoshan', 'clinic', 'g', 'visitor', 1, 1, NULL, NULL)"
        opened.execute(f"INSERT INTO dicom_group VALUES {of_group}")
        study = f"('k', 'baoshan', 'clinic', 'g', '1.2', '', '', '[]', 1, 1, '{{}}', {ago(40)}, NULL, NULL, NULL, NULL)"
        opened.execute(f"INSERT INTO dicom_study VALUES {study}")
    with pytest.raises(SystemExit):
        ask(folder, "visitor", "--apply")
    assert "must be kept until" in capsys.readouterr().err


def test_a_record_is_kept_for_fifteen_years_and_a_visit_for_as_long_as_nodes_hold_their_copies() -> None:
    table = load_table()
    visit = Stay("s", "b", "p", 0, 10, "VISITOR")
    acute = Stay("s", "b", "p", 20, 30, "ACUTE")
    assert kept_until_ns(table, [visit], 0) == 10 + 31 * NS_PER_DAY
    # An urgent case is a record, however short the visit.
    assert kept_until_ns(table, [visit], 0, treated=(7, None)) == 10 + 5479 * NS_PER_DAY
    assert kept_until_ns(table, [visit], 0, treated=(70, None)) == 70 + 5479 * NS_PER_DAY
    # So is one of whom there are images.
    assert kept_until_ns(table, [visit], 0, treated=(None, 7)) == 10 + 5479 * NS_PER_DAY
    assert kept_until_ns(table, [visit], 0, treated=(None, 70)) == 70 + 5479 * NS_PER_DAY
    assert kept_until_ns(table, [visit, acute], 0) == 30 + 5479 * NS_PER_DAY
    assert kept_until_ns(table, [], 7) == 7 + 5479 * NS_PER_DAY
    assert kept_until_ns(table, [visit, Stay("s", "b", "p", 40, None, "VISITOR")], 0) is None

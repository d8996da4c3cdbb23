"""`cloud-hub labels export`: of those who agreed alone, without who and when, and noted before it is there."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from telemed.v1 import event_pb2

from cloud_hub.__main__ import main
from cloud_hub.care.finding_review import Report, Review, Said, Told, Verdict, Word
from cloud_hub.care.pseudonym import Project
from cloud_hub.store import consents, finding_reviews, studies
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.role_world import stores

__all__ = ["hashed", "stores"]
KEY = bytes(range(32))
SAID = Said("cerebral-microbleed", "lobar", (1.5, -2.25, 3.0), 3.0)
PLANTED = ("doctor-du", "own", "other", "2027", *world.STUDIES.values(), "1.2.9.7", "2.25.7", world.SITE)
"""Names, UIDs and the year, none of which may leave."""


def review(person: str, number: int, version: int, word: Word, username: str = "doctor-du") -> Review:
    site, _ = world.PLACES[person]
    key = studies.key_of(world.REGION, site, f"g-{person}", world.STUDIES[person])
    report = Report(key, "1.2.9.7", "f" * 64, "cmb", "0.1.0", "b" * 64, 2)
    told = Told(SAID, 0.84, f"{world.STUDIES[person]}.1", f"{world.STUDIES[person]}.1.1")
    name = f"{person}-{number}-{version}"
    return Review(name, report, f"2.25.7{number}", told, version, word, username, "physician", world.NOW_NS + version)


def agree(connection: Connection, person: str, purpose: str, *, withdrawn: bool = False) -> None:
    where = (world.REGION, world.PLACES[person][0])
    event = event_pb2.Event(at_unix_ns=world.NOW_NS)
    if withdrawn:
        event.consent_withdrawn.CopyFrom(event_pb2.ConsentWithdrawn(person_id=person, purpose=purpose))
    else:
        event.consent_given.CopyFrom(event_pb2.ConsentGiven(person_id=person, purpose=purpose))
    consents.note(connection, where, event, world.NOW_NS)


@pytest.fixture
def folder(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub whose `own` and `other` had findings judged; `own` agreed to research."""
    changed = Word(Verdict.EDITED, "", replace(SAID, region="deep"))
    said = [
        review("own", 1, 1, Word(Verdict.ACCEPTED)),
        review("own", 1, 2, changed, "doctor-qi"),
        review("own", 2, 1, Word(Verdict.REJECTED, "vessel")),
        review("own", 3, 1, Word(Verdict.ACCEPTED)),
        review("own", 3, 2, Word(Verdict.REOPENED)),
        review("other", 1, 1, Word(Verdict.ACCEPTED)),
    ]

    def work(connection: Connection) -> None:
        agree(connection, "own", "C7")
        for one in said:
            site = world.PLACES[one.review_id.partition("-")[0]][0]
            assert finding_reviews.add(connection, (world.REGION, site), one)

    stores.care.write_blocking(work)
    (tmp_path / "secrets.json").write_text(json.dumps({"hub": {"secret": "s"}}))
    (tmp_path / "hub.toml").write_text(
        f'region = "{world.REGION}"\nname_zh = "中心"\nname_en = "Hub"\n'
        '[store]\nsamples_url = "sqlite:///samples.db"\ncare_url = "sqlite:///care.db"\n'
        '[broker]\nsecrets_file = "secrets.json"\n[rpc]\nfolder = "blobs"\n'
    )
    (tmp_path / "key").write_bytes(KEY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(folder: Path, name: str = "labels.jsonl") -> list[dict[str, Any]]:
    options = ["--project", "cmb-1", "--key-file", str(folder / "key"), "--out", str(folder / name)]
    main(["labels", "export", "--config", str(folder / "hub.toml"), *options])
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


def trail(folder: Path) -> Sequence[tuple[str, str]]:
    with closing(sqlite3.connect(folder / "care.db")) as database:
        return list(database.execute("SELECT actor, object FROM audit WHERE action = 'labels-export' ORDER BY id"))


def test_what_stands_leaves_with_what_the_model_said_and_nothing_of_who_did_not_agree(folder: Path) -> None:
    found = {one["verdict"]: one for one in export(folder)}
    assert set(found) == {"edited", "rejected"}
    edited, rejected = found["edited"], found["rejected"]
    assert (edited["told"]["region"], edited["said"]["region"], rejected["reason"]) == ("lobar", "deep", "vessel")
    assert (edited["task"], edited["task_version"], edited["told"]["confidence"]) == ("cmb", "0.1.0", 0.84)
    assert [one["verdict"] for one in edited["earlier"]] == ["accepted"]
    assert edited["rater"] != edited["earlier"][0]["rater"] == rejected["rater"]


def test_images_are_named_as_the_projects_own_images_are(folder: Path) -> None:
    project, uid = Project("cmb-1", KEY), world.STUDIES["own"]
    for one in export(folder):
        assert (one["study_uid"], one["series_uid"]) == (project.uid(uid), project.uid(f"{uid}.1"))
        assert one["key_image_uid"] == project.uid(f"{uid}.1.1")
        assert one["person"] == project.code("person", "own")


def test_no_name_number_place_or_time_leaves(folder: Path) -> None:
    export(folder)
    text = (folder / "labels.jsonl").read_text(encoding="utf-8")
    assert [word for word in PLANTED if f'"{word}' in text or f".{word}" in text] == []
    assert (folder / "labels.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("purpose", ["C7", "C2"])
def test_who_took_it_back_or_is_shown_to_nobody_outside_is_not_in_the_next_set(
    purpose: str, folder: Path, stores: Stores
) -> None:
    assert len(export(folder)) == 2
    stores.care.write_blocking(lambda c: agree(c, "own", purpose, withdrawn=True))
    assert export(folder, "next.jsonl") == []


def test_the_trail_names_the_set_and_whose_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(folder)
    sha256 = capsys.readouterr().out.split()[0]
    assert trail(folder) == [("command-line", f"labels/{sha256}"), ("command-line", "Patient/own")]


def test_nothing_leaves_that_the_trail_does_not_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("cloud_hub.store.accounts.audit_trail.append", broken)
    with pytest.raises(SystemExit):
        export(folder)
    assert not (folder / "labels.jsonl").exists()


def test_a_file_that_is_there_and_a_key_that_could_be_guessed_are_refused(folder: Path) -> None:
    export(folder)
    before = (folder / "labels.jsonl").read_bytes()
    with pytest.raises(SystemExit):
        export(folder)
    assert (folder / "labels.jsonl").read_bytes() == before
    (folder / "key").write_bytes(b"short")
    with pytest.raises(SystemExit):
        export(folder, "other.jsonl")
    assert not (folder / "other.jsonl").exists()

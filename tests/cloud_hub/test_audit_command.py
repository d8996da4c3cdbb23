"""`cloud-hub audit verify`: whatever is done to the file, it says so and where; and says nothing where all is well."""

import argparse
import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from telemed import audit
from telemed.audit import Entry, head_line
from telemed.audit_seal import open_seal
from telemed.audit_wire import entry_message, head_message
from telemed.topics import NodeAddress

from cloud_hub import audit_command
from cloud_hub.__main__ import main
from cloud_hub.access.audit_heads import AuditHeads
from cloud_hub.config import HubConfig, load
from cloud_hub.errors import BadRequest
from cloud_hub.store import audit_trail, edge_trails
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from tests.fakes.tampering import HUB, Trail, tamper

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-1")
EDGE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
EDGE_TRAIL = "e" * 32
ENTRIES, EDGE_ENTRIES = 30, 20
EDGE = Trail(
    "edge_audit",
    "n",
    ("at_ns", "actor", "role", "action", "object", "result", "entry_region", "entry_site"),
    "edge_head",
    where=f"trail = '{EDGE_TRAIL}'",
)


def entry(number: int) -> Entry:
    return Entry(number, "黄芪", "clinic", "patient-read", f"Patient/{number}", "ok", "baoshan", "baoshan-clinic")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a hub with a signed trail of its own and one of a node."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "secrets.json").write_text(json.dumps({"hub": {"secret": "s"}}))
    (folder / "hub.toml").write_text(
        'region = "baoshan"\nname_zh = "中心"\nname_en = "Hub"\n'
        '[store]\nsamples_url = "sqlite:///samples.db"\ncare_url = "sqlite:///care.db"\n'
        '[broker]\nsecrets_file = "secrets.json"\n'
    )
    config = load(folder / "hub.toml")
    database = Database(config.store.care_url, CARE, "care")
    database.migrate()
    heads = AuditHeads(database, "baoshan", open_seal(config.audit.folder), lambda: 7)
    links = audit.chain(EDGE_TRAIL, 0, audit.begin(EDGE_TRAIL), [entry(n) for n in range(EDGE_ENTRIES)])
    for n in range(ENTRIES):
        database.write_blocking(lambda c, n=n: audit_trail.append(c, [entry(n)]))  # type: ignore[misc]
        if n % 8 == 3:
            heads._note(heads._keep(*database.write_blocking(heads._sign)))
    for link in links:
        message = entry_message(EDGE_TRAIL, link)
        database.write_blocking(lambda c, m=message: edge_trails.take_entry(c, CLINIC, m, 1))  # type: ignore[misc]
    for n in (9, EDGE_ENTRIES):
        head = head_message(audit.sign(EDGE_KEY, EDGE_TRAIL, n, links[n - 1].hash, n))
        database.write_blocking(lambda c, h=head: edge_trails.take_head(c, CLINIC, h, 1))  # type: ignore[misc]
    heads._now_ns = lambda: 8
    heads._note(heads._keep(*database.write_blocking(heads._sign)))
    database.close()
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "hub"))


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def verified(folder: Path, anchors: Path | None = None) -> audit_command.Report:
    options = argparse.Namespace(action="verify", anchors=anchors)
    return audit_command.run(load(folder / "hub.toml"), options)


def config_of(folder: Path) -> HubConfig:
    return load(folder / "hub.toml")


def command_line(folder: Path, *more: str) -> int:
    try:
        main(["audit", *more, "--config", str(folder / "hub.toml")])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_what_was_written_is_sound_and_the_exit_status_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(folder, "verify") == 0
    hub, edge = capsys.readouterr().out.splitlines()
    assert hub == "hub: 完整，共 33 条，签名到第 33 条 / sound, 33 entries, signed up to 33"
    assert edge.startswith("baoshan-clinic/edge-1 eeeeeeee: 完整，共 20 条，签名到第 20 条")


def test_the_key_is_for_the_hub_alone(folder: Path) -> None:
    key = folder / "audit" / "audit.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    assert command_line(folder, "verify") == 2


@pytest.mark.parametrize("seed", range(6))
def test_hundreds_of_random_tamperings_with_the_hubs_trail_are_all_found(folder: Path, seed: int) -> None:
    _tamper_again_and_again(folder, HUB, random.Random(seed), 30)


@pytest.mark.parametrize("seed", range(6))
def test_hundreds_of_random_tamperings_with_a_nodes_trail_are_all_found(folder: Path, seed: int) -> None:
    _tamper_again_and_again(folder, EDGE, random.Random(100 + seed), 30)


def _tamper_again_and_again(folder: Path, trail: Trail, draw: random.Random, times: int) -> None:
    whole = (folder / "care.db").read_bytes()
    missed = []
    for _ in range(times):
        (folder / "care.db").write_bytes(whole)
        for ending in ("-wal", "-shm"):
            (folder / f"care.db{ending}").unlink(missing_ok=True)
        way = tamper(folder / "care.db", trail, draw)
        if verified(folder).is_sound:
            missed.append(way)
    assert missed == []


def test_the_first_entry_that_is_wrong_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(folder / "care.db")) as file, file:
        file.execute("DROP TRIGGER audit_no_update")
        file.execute("UPDATE audit SET actor = 'nobody' WHERE id IN (17, 23)")
    assert command_line(folder, "verify") == 1
    assert "不完整：第 17 条的内容被改过 / not sound: entry 17 was changed" in capsys.readouterr().out


def test_a_trail_that_vanished_from_the_table_of_trails_is_missed(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "care.db")) as file, file:
        file.execute("DELETE FROM edge_trail")
    assert not verified(folder).is_sound
    with closing(sqlite3.connect(folder / "care.db")) as file, file:
        file.execute("DROP TRIGGER edge_audit_no_delete")
        file.execute("DELETE FROM edge_audit")
    report = verified(folder)
    assert not report.is_sound
    assert any("cut off from entry 9 on" in line for line in report.lines)


def test_what_no_head_covers_yet_can_be_cut_unseen(folder: Path) -> None:
    config = config_of(folder)
    database = Database(config.store.care_url, CARE, "care")
    database.write_blocking(lambda c: audit_trail.append(c, [entry(99)]))
    state = database.read_blocking(audit_trail.state)
    database.close()
    with closing(sqlite3.connect(folder / "care.db")) as file, file:
        file.execute("DROP TRIGGER audit_no_delete")
        file.execute("DELETE FROM audit WHERE id = ?", (state.n,))
    # Whoever does not correct the note of the last entry is found out all the same.
    assert not verified(folder).is_sound
    with closing(sqlite3.connect(folder / "care.db")) as file, file:
        file.execute("UPDATE audit_chain SET n = id, hash = (SELECT hash FROM audit ORDER BY id DESC LIMIT 1)")
        file.execute("UPDATE audit_chain SET n = (SELECT max(id) FROM audit)")
    assert verified(folder).is_sound


def test_a_trail_replaced_with_the_hubs_own_key_is_found_by_what_a_node_kept(folder: Path, tmp_path: Path) -> None:
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    config = config_of(folder)
    database = Database(config.store.care_url, CARE, "care")
    kept = database.read_blocking(audit_trail.newest_head)
    assert kept is not None
    (anchors / "hub-edge-1.jsonl").write_text(head_line(kept) + "\n")
    assert verified(folder, anchors).is_sound
    _replace_with_own_key(folder, database, kept.trail)
    assert verified(folder).is_sound
    report = verified(folder, anchors)
    assert not report.is_sound
    assert "rewritten from entry" in report.lines[0]


def _replace_with_own_key(folder: Path, database: Database, trail: str) -> None:
    """Do what only somebody with the whole hub in hands can: another past, signed with the hub's own key."""
    seal = open_seal(folder / "audit")
    links = database.read_blocking(lambda c: list(audit_trail.links(c)))
    database.close()
    past = [replace(link.entry, actor="nobody" if link.n == 2 else link.entry.actor) for link in links]
    anew = audit.chain(trail, 0, audit.begin(trail), past)
    head = audit.sign(seal.key, trail, anew[-1].n, anew[-1].hash, 9)
    with closing(sqlite3.connect(folder / "care.db")) as file, file:
        for name in ("audit_no_update", "audit_head_no_delete"):
            file.execute(f"DROP TRIGGER {name}")
        for link in anew:
            values = (link.entry.actor, link.prev_hash, link.hash, link.n)
            file.execute("UPDATE audit SET actor = ?, prev_hash = ?, hash = ? WHERE id = ?", values)
        file.execute("DELETE FROM audit_head")
        file.execute(
            "INSERT INTO audit_head VALUES (?, ?, ?, ?, ?, ?)", (trail, head.n, 9, head.hash, head.key, head.signature)
        )
        file.execute("UPDATE audit_chain SET n = ?, hash = ?", (anew[-1].n, anew[-1].hash))
    seal.note(head)


def test_anchors_of_the_nodes_can_be_given_out_and_taken_in_again(folder: Path, tmp_path: Path) -> None:
    assert command_line(folder, "anchors", "--out", str(tmp_path / "out")) == 0
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "baoshan-clinic-edge-1-eeeeeeee.jsonl"
    assert len(path.read_text().splitlines()) == 2
    assert command_line(folder, "verify", "--anchors", str(tmp_path / "out")) == 0


@pytest.mark.parametrize("content", [None, "no line of ours\n", '{"trail": 1}\n'])
def test_a_folder_without_usable_anchors_is_no_proof(folder: Path, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(BadRequest):
        verified(folder, tmp_path)


def test_an_anchor_of_a_trail_that_is_nobodys_is_told(folder: Path, tmp_path: Path) -> None:
    elsewhere = audit.sign(EDGE_KEY, audit.new_trail(), 3, "0" * 64, 1)
    (tmp_path / "x.jsonl").write_text(head_line(elsewhere) + "\n")
    assert not verified(folder, tmp_path).is_sound

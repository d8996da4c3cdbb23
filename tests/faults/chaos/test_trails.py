"""I10 finds what is done to a trail of edge or hub, and nothing in what is right."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from telemed.audit import Entry
from telemed.audit_seal import open_seal
from telemed.topics import NodeAddress, Up
from telemed.v1 import audit_pb2

from cloud_hub.access.audit_heads import AuditHeads
from cloud_hub.desk.intake import Intake
from cloud_hub.store import audit_trail
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from edge_node.buffer.store import Buffer
from tests.faults.chaos import trails

ADDRESS = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
pytestmark = pytest.mark.anyio


def entry(number: int) -> Entry:
    return Entry(number, "huangqi", "clinic", "live-view", f"Patient/{number}", "ok", "baoshan", "baoshan-clinic")


@pytest.fixture
async def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A node and a hub that have said all to each other, with signed trails; both dead."""
    edge, hub = tmp_path / "edge", tmp_path / "hub"
    hub.mkdir()
    intake = Intake(lambda _taken: None)
    database = Database(f"sqlite:///{hub}/care.db", CARE, "care")
    database.migrate()
    heads = AuditHeads(database, "baoshan", open_seal(hub / "audit"), lambda: 7)
    with closing(Buffer.open(edge, group_commit_ms=0)) as buffer:
        await buffer.audit.append([entry(n) for n in range(6)])
        await buffer.audit.sign(open_seal(edge))
        (key,) = buffer.streams(Up.CARE)
        for record in await buffer.read_run(Up.CARE, key, 1, 99):
            message = audit_pb2.Audit.FromString(record.body())
            await database.write(lambda c, m=message: intake.take_audit(c, ADDRESS, m, 1))  # type: ignore[misc]
    await database.write(lambda c: audit_trail.append(c, [entry(n) for n in range(6)]))
    await heads.settle()
    database.close()
    return edge, hub


def found(folders: tuple[Path, Path], tmp_path: Path, *, may_lack_entries: bool = False) -> list[str]:
    return [str(one) for one in trails.unsound(*folders, tmp_path / "copy", may_lack_entries=may_lack_entries)]


async def test_trails_as_they_were_written_violate_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert found(folders, tmp_path) == []


@pytest.mark.parametrize(
    ("whose", "statements", "said"),
    [
        (1, ["DROP TRIGGER audit_no_update", "UPDATE audit SET actor = 'x' WHERE id = 3"], "hub: entry 3 was changed"),
        (1, ["DROP TRIGGER audit_no_delete", "DELETE FROM audit WHERE id > 4"], "hub: cut off from entry 5 on"),
        (
            1,
            ["DROP TRIGGER edge_audit_no_delete", "DELETE FROM edge_audit WHERE n = 2"],
            "at the hub: entry 2 is missing",
        ),
        (1, ["UPDATE edge_trail SET fault = 'audit-altered'"], "on arrival: audit-altered"),
        (1, ["UPDATE edge_trail SET n = 9"], "the hub has 9 of 6 entries"),
        (0, ["DROP TRIGGER a2", "UPDATE audit SET result = 'x' WHERE n = 5"], "own: entry 5 was changed"),
    ],
)
async def test_a_planted_bug_is_found(
    folders: tuple[Path, Path], tmp_path: Path, whose: int, statements: list[str], said: str
) -> None:
    with closing(sqlite3.connect(folders[whose] / "care.db")) as file, file:
        for statement in statements:
            file.execute(statement)
    assert [one.startswith("I10") and said in one for one in found(folders, tmp_path)] == [True]


async def test_a_node_whose_disk_was_damaged_may_lack_entries_and_the_hub_may_not(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    for folder, trigger in zip(folders, ("a1", "audit_no_delete"), strict=True):
        with closing(sqlite3.connect(folder / "care.db")) as file, file:
            file.execute(f"DROP TRIGGER {trigger}")
            file.execute("DELETE FROM audit WHERE rowid = 3")
        assert bool(found(folders, tmp_path, may_lack_entries=True)) == (trigger != "a1")

"""The durable queue and its spool: what is queued is there after anything, and nothing is deleted that is needed."""

import os
import sqlite3
import time
from pathlib import Path

import pytest
from telemed.transfer import CHUNK_BYTES, FileKind, chunk_hash

from edge_node.disk_share import KEEP_COPIES_BELOW
from edge_node.errors import BufferFailure, BufferFull, FileUnusable
from edge_node.one_writer import Synchronous
from edge_node.uplink.transfer import intake, ledger, manifest, room, rows
from edge_node.uplink.transfer.ledger import Ledger
from edge_node.uplink.transfer.parcel import Labels, Parcel
from edge_node.uplink.transfer.spool import Spool
from edge_node.uplink.transfer.states import State, Step
from tests.fakes.transfer_node import STUDY, write_file

SIZE_BYTES = 2 * CHUNK_BYTES + 77


class Desk:
    """A queue and a spool in a folder."""

    def __init__(self, folder: Path, synchronous: Synchronous = "FULL") -> None:
        self.folder = folder
        self.ledger = Ledger(folder, synchronous)
        self.spool = intake.open_spool(folder)

    def queue(self, path: Path, labels: Labels = STUDY) -> str:
        return intake.queue_file(self.spool, self.ledger, path, labels, self.spool.take_copy)

    def parcel(self, parcel_id: str) -> Parcel:
        return next(each for each in self.ledger.read_blocking(rows.parcels) if each.parcel_id == parcel_id)

    def step(self, parcel_id: str, what: Step, code: str = "", resume_ns: int = 0) -> bool:
        return self.ledger.write_blocking(lambda c: rows.step(c, parcel_id, what, code, resume_ns))

    def sweep(self, copies_since_ns: int = 0) -> int:
        return intake.sweep(self.spool, self.ledger, copies_since_ns)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "buffer")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_file(tmp_path / "ct.dcm", SIZE_BYTES)


def test_what_is_queued_is_there_after_a_restart(desk: Desk, source: Path) -> None:
    labels = Labels(FileKind.EXAM, "步态", "g1", is_preview=True, priority=0, is_urgent=True)
    parcel_id = desk.queue(source, labels)
    content = source.read_bytes()
    source.unlink()
    desk.ledger.close()
    again = Desk(desk.folder)
    parcel = again.parcel(parcel_id)
    assert (parcel.labels, parcel.state, parcel.size_bytes) == (labels, State.WAITING, SIZE_BYTES)
    assert again.spool.waiting_path(parcel.sha256).read_bytes() == content
    again.ledger.close()


def test_a_linked_file_takes_no_second_room_and_outlives_its_first_name(desk: Desk, source: Path) -> None:
    found = desk.spool.take_link(source)
    assert desk.spool.waiting_path(found.sha256).stat().st_ino == source.stat().st_ino
    again = desk.spool.take_link(source)
    source.unlink()
    assert desk.spool.waiting() == [found.sha256] == [again.sha256]
    assert list((desk.folder / "spool" / "incoming").iterdir()) == []


def test_a_file_on_another_disk_is_copied(desk: Desk, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def across(_self: Path, _target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", across)
    found = desk.spool.take_link(source)
    assert desk.spool.waiting_path(found.sha256).stat().st_ino != source.stat().st_ino


def test_a_symbolic_link_is_followed_to_its_file(desk: Desk, source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    found = desk.spool.take_link(tmp_path / "link")
    assert not desk.spool.waiting_path(found.sha256).is_symlink()


def test_a_copy_is_the_file_as_it_was_whatever_happens_to_it_later(desk: Desk, source: Path) -> None:
    parcel = desk.parcel(desk.queue(source))
    with source.open("r+b") as file:
        file.write(b"changed")
    hashes = desk.ledger.read_blocking(lambda c: rows.chunk_hashes(c, parcel.parcel_id))
    for index in range(3):
        data = desk.spool.read_if_right(parcel.sha256, index, SIZE_BYTES, chunk_hash(hashes, index))
        assert data is not None


def test_a_file_that_was_changed_after_it_was_linked_is_noticed(desk: Desk, source: Path) -> None:
    found = desk.spool.take_link(source)
    with source.open("r+b") as file:
        file.seek(CHUNK_BYTES)
        file.write(b"changed")
    right = [
        desk.spool.read_if_right(found.sha256, index, SIZE_BYTES, chunk_hash(found.chunk_hashes, index)) is not None
        for index in range(3)
    ]
    assert right == [True, False, True]
    assert desk.spool.read_if_right("ff" * 32, 0, SIZE_BYTES, bytes(32)) is None


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b""), lambda path: path.mkdir(), lambda _path: None])
def test_what_cannot_be_sent_is_refused_and_leaves_nothing(desk: Desk, tmp_path: Path, make: object) -> None:
    path = tmp_path / "wrong"
    make(path)  # type: ignore[operator]
    with pytest.raises(FileUnusable):
        desk.queue(path)
    assert desk.spool.waiting() == []
    assert list((desk.folder / "spool" / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    "labels",
    [
        Labels(FileKind.STUDY, ""),
        Labels(FileKind.STUDY, "a" * 201),
        Labels(FileKind.STUDY, "a\nb"),
        Labels(FileKind.STUDY, "a", "g" * 65),
        Labels(FileKind.STUDY, "a", priority=10),
    ],
)
def test_labels_that_the_hub_would_not_understand_are_refused(desk: Desk, source: Path, labels: Labels) -> None:
    with pytest.raises(FileUnusable):
        desk.queue(source, labels)


def test_a_disk_that_is_nearly_full_takes_no_file(desk: Desk, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "used_share", lambda _self, _more=0: 0.951)
    with pytest.raises(BufferFull):
        desk.queue(source)


def test_a_disk_that_fails_takes_no_file(desk: Desk, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BufferFull, match="No space"):
        desk.queue(source)
    assert desk.ledger.read_blocking(rows.parcels) == []


def test_the_same_file_in_the_same_group_is_queued_once(desk: Desk, source: Path) -> None:
    first = desk.queue(source)
    assert desk.queue(source, Labels(FileKind.STUDY, "CT head", is_urgent=True)) == first
    assert desk.parcel(first).labels.is_urgent
    assert desk.queue(source, Labels(FileKind.STUDY, "CT head", "other group")) != first


def test_a_refused_file_is_tried_again_when_it_is_queued_again_and_a_cancelled_one_begins_anew(
    desk: Desk, source: Path
) -> None:
    first = desk.queue(source)
    assert desk.step(first, Step.REFUSE, "chunk-corrupt")
    assert desk.parcel(first).code == "chunk-corrupt"
    assert desk.queue(source) == first
    assert (desk.parcel(first).state, desk.parcel(first).code) == (State.WAITING, "")
    assert desk.step(first, Step.CANCEL)
    assert desk.queue(source) != first


def test_a_step_that_is_not_allowed_changes_nothing(desk: Desk, source: Path) -> None:
    parcel_id = desk.queue(source)
    desk.step(parcel_id, Step.ARRIVED)
    before = desk.parcel(parcel_id)
    assert not desk.step(parcel_id, Step.REFUSE, "x")
    assert not desk.step("unknown", Step.CANCEL)
    assert desk.parcel(parcel_id) == before


def test_nothing_is_being_sent_after_a_restart(desk: Desk, source: Path) -> None:
    parcel_id = desk.queue(source)
    desk.step(parcel_id, Step.BEGIN)
    desk.ledger.write_blocking(rows.after_restart)
    assert desk.parcel(parcel_id).state is State.WAITING


def test_a_file_that_the_hub_lost_begins_from_nothing(desk: Desk, source: Path) -> None:
    parcel_id = desk.queue(source)
    desk.ledger.write_blocking(lambda c: rows.note_offered(c, parcel_id, "hub-1", 99))
    desk.step(parcel_id, Step.ARRIVED)
    assert desk.step(parcel_id, Step.LOST)
    parcel = desk.parcel(parcel_id)
    assert (parcel.state, parcel.durable_bytes, parcel.hub_id) == (State.WAITING, 0, "")


def test_what_was_spent_adds_up_by_day_and_kind(desk: Desk) -> None:
    for size_bytes in (5, 6):
        desk.ledger.write_blocking(lambda c, n=size_bytes: rows.spend(c, "2026-11-26", {FileKind.STUDY: n}))  # type: ignore[misc]
    desk.ledger.write_blocking(lambda c: rows.spend(c, "2026-11-27", {FileKind.STUDY: 1}))
    assert desk.ledger.read_blocking(lambda c: rows.spent(c, "2026-11-26")) == {FileKind.STUDY: 11}


def test_content_stays_while_it_is_needed_and_goes_after(desk: Desk, source: Path, tmp_path: Path) -> None:
    waits, done, refused, cancelled = (desk.queue(write_file(tmp_path / str(seed), 100, seed)) for seed in range(4))
    desk.step(done, Step.ARRIVED)
    desk.step(refused, Step.REFUSE)
    desk.step(cancelled, Step.CANCEL)
    assert desk.sweep() == 1
    kept = {desk.parcel(each).sha256 for each in (waits, done, refused)}
    assert set(desk.spool.waiting()) == kept
    assert desk.sweep(time.time_ns()) == 1
    assert set(desk.spool.waiting()) == kept - {desk.parcel(done).sha256}


def test_copies_go_at_once_where_the_disk_is_too_full_for_them(
    desk: Desk, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.step(desk.queue(source), Step.ARRIVED)
    monkeypatch.setattr(Spool, "used_share", lambda _self, _more=0: KEEP_COPIES_BELOW)
    assert desk.sweep() == 1


def test_nothing_is_deleted_while_somebody_adds_a_file(desk: Desk, source: Path) -> None:
    found = desk.spool.take_copy(source)  # in the spool, and no row says so yet
    with desk.spool.adding():
        assert desk.sweep() == 0
    assert desk.spool.waiting() == [found.sha256]
    assert desk.sweep() == 1


def test_a_second_process_sees_and_adds_while_the_first_has_the_queue_open(desk: Desk, source: Path) -> None:
    before = desk.ledger.read_blocking(rows.data_version)
    beside = Desk(desk.folder)
    parcel_id = beside.queue(source)
    beside.ledger.close()
    assert desk.parcel(parcel_id).state is State.WAITING
    assert desk.ledger.read_blocking(rows.data_version) != before
    seen = desk.ledger.read_blocking(rows.data_version)
    desk.step(parcel_id, Step.CANCEL)
    assert desk.ledger.read_blocking(rows.data_version) == seen


def test_commits_are_synced_and_in_wal(desk: Desk) -> None:
    settings = desk.ledger.read_blocking(
        lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
    )
    assert settings == [2, "wal"]


def test_work_that_fails_leaves_nothing_behind(desk: Desk, source: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        rows.spend(connection, "2026-11-26", {FileKind.STUDY: 1})
        raise LookupError("stopped half-way")

    with pytest.raises(LookupError):
        desk.ledger.write_blocking(half)
    with pytest.raises(BufferFailure):
        desk.ledger.write_blocking(lambda c: c.execute("INSERT INTO nowhere VALUES (1)"))
    assert desk.ledger.read_blocking(lambda c: rows.spent(c, "2026-11-26")) == {}


def test_a_queue_of_newer_software_is_not_touched(desk: Desk) -> None:
    desk.ledger.write_blocking(lambda c: c.execute("PRAGMA user_version = 99"))
    desk.ledger.close()
    with pytest.raises(BufferFailure, match="newer"):
        ledger.open_or_set_aside(desk.folder)


def test_a_damaged_queue_is_set_aside_and_its_content_queued_again(desk: Desk, source: Path) -> None:
    desk.queue(source)
    sha256 = desk.spool.waiting()[0]
    desk.ledger.close()
    for path in desk.folder.glob("transfer.db*"):
        path.write_bytes(b"not a database" * 1000)
    opened, is_new = ledger.open_or_set_aside(desk.folder)
    assert is_new
    assert intake.requeue(desk.spool, opened) == 1
    (parcel,) = opened.read_blocking(rows.unfinished)
    assert (parcel.sha256, parcel.labels.name) == (sha256, f"recovered {sha256[:8]}")
    assert list(desk.folder.glob("transfer.db.damaged-*"))
    opened.close()


def test_old_rows_go_and_unfinished_ones_stay(desk: Desk, tmp_path: Path) -> None:
    done, waits = (desk.queue(write_file(tmp_path / str(seed), 10, seed)) for seed in range(2))
    desk.step(done, Step.ARRIVED)
    later_ns = time.time_ns() + rows.KEEP_ROWS_NS + 10**9
    desk.ledger.write_blocking(lambda c: rows.delete_old(c, later_ns))
    assert [each.parcel_id for each in desk.ledger.read_blocking(rows.parcels)] == [waits]


def test_the_manifest_is_that_of_the_content(source: Path) -> None:
    found = manifest.of_file(source)
    assert (found.size_bytes, len(found.chunk_hashes)) == (SIZE_BYTES, 96)


def test_a_file_over_the_limit_is_refused_while_it_is_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "LARGEST_FILE_BYTES", CHUNK_BYTES)
    with pytest.raises(FileUnusable, match="limit"):
        manifest.of_file(source)


def test_how_full_the_disk_may_get() -> None:
    assert (room.keeps_copies(0.79), room.keeps_copies(0.8)) == (True, False)
    assert (room.may_fetch(0.79), room.may_fetch(0.8)) == (True, False)
    assert (room.may_take(0.94), room.may_take(0.95)) == (True, False)

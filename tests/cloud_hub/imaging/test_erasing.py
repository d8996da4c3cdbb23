"""Images of an erased person go from the index and from the disk; what another study needs stays."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.event import listen
from telemed.roles import Role
from telemed.study import StudyManifest
from telemed.v1 import event_pb2

from cloud_hub.access.rights import Principal
from cloud_hub.imaging.storing import Storing
from cloud_hub.store import erased_images, events, studies, transfers
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.erased_images import Group
from cloud_hub.store.events import Place
from cloud_hub.store.schema import blob, dicom_group, transfer
from cloud_hub.store.studies import Narrowing
from cloud_hub.store.transfers import ERASED, State, Transfer
from tests.cloud_hub.imaging.conftest import CLINIC, HOME
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import NOW_NS, ImagingHub

pytestmark = pytest.mark.anyio
WHERE = (CLINIC.region, CLINIC.site)
GROUP: Group = (*WHERE, "g1")


def erase(hub: ImagingHub, person_id: str) -> None:
    """Erase a person as the command does, without the pauses."""
    body = event_pb2.PersonErased(reason="retention", table_version="1")
    event = event_pb2.Event(event_id=f"e-{person_id}", aggregate_type="person", aggregate_id=person_id)
    event.person_erased.CopyFrom(body)
    hub.care.write_blocking(lambda c: events.append_hub_event(c, Place(*WHERE), event, NOW_NS))
    for group in hub.care.read_blocking(lambda c: erased_images.groups_of(c, WHERE, person_id)):
        hub.care.write_blocking(lambda c, g=group: erased_images.empty(c, g, NOW_NS))  # type: ignore[misc]
        drop(hub, group)


def drop(hub: ImagingHub, group: Group = GROUP) -> int:
    return hub.care.write_blocking(lambda c: erased_images.drop_files(c, group, hub.blobs)).deleted


def shown(hub: ImagingHub) -> list[str]:
    """UIDs of the studies that are in the index."""
    rows = hub.care.read_blocking(lambda c: list(studies.studies(c, CLINIC.region, Narrowing())))
    return sorted(one.study_uid for one in rows)


def lies(hub: ImagingHub, row: Transfer) -> bool:
    """Whether a file is on the disk; then the database knows it too."""
    known = hub.care.read_blocking(lambda c: c.execute(select(blob).where(blob.c.sha256 == row.facts.sha256)).first())
    is_there = hub.blobs.path(row.facts.sha256).exists()
    assert is_there == (known is not None)
    return is_there


async def two_persons(hub: ImagingHub) -> tuple[Transfer, Transfer, Transfer]:
    """One file of p1 alone, one that p2 has too, and one of p2 alone."""
    own = hub.arrive(CLINIC, dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.1"))
    both = hub.arrive(CLINIC, dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.2"))
    hub.arrive(CLINIC, dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.2"), "g2")
    theirs = hub.arrive(CLINIC, dicom_files.image("1.2.9", "1.2.9.1", "1.2.9.1.1"), "g2")
    hub.tell(CLINIC, "p1")
    hub.tell(CLINIC, "p2", "g2")
    await hub.indexer.read_all()
    return own, both, theirs


async def test_the_files_of_an_erased_person_go_and_what_another_study_needs_stays(hub: ImagingHub) -> None:
    own, both, theirs = await two_persons(hub)
    assert shown(hub) == ["1.2.1", "1.2.1", "1.2.9"]
    erase(hub, "p1")
    assert shown(hub) == ["1.2.1", "1.2.9"]
    assert [lies(hub, row) for row in (own, both, theirs)] == [False, True, True]
    assert [hub.outcome(row) for row in (own, theirs)] == [erased_images.OUTCOME, studies.INDEXED]
    # Nobody needs it once the other is erased too.
    erase(hub, "p2")
    assert [lies(hub, row) for row in (own, both, theirs)] == [False, False, False]


async def test_that_there_was_a_study_stays_without_a_name(hub: ImagingHub) -> None:
    hub.arrive(CLINIC, dicom_files.image(), name="Gu Yu CT.dcm")
    hub.tell(CLINIC, "p1")
    await hub.indexer.read_all()
    erase(hub, "p1")

    def left(connection: Connection) -> tuple[list[tuple[str, str, str]], int | None]:
        rows = connection.execute(select(transfer.c.name, transfer.c.state, transfer.c.code)).all()
        return [tuple(row) for row in rows], connection.execute(select(dicom_group.c.erased_ns)).scalar()

    assert hub.care.read_blocking(left) == ([("", State.COMPLETE, ERASED)] * 2, NOW_NS)


async def test_the_node_is_not_asked_for_it_again_and_another_study_of_it_is_received_anew(hub: ImagingHub) -> None:
    own, _, _ = await two_persons(hub)
    erase(hub, "p1")
    hashes = [own.facts.sha256]
    assert hub.care.read_blocking(lambda c: transfers.lost(c, CLINIC, hashes)) == []
    again = hub.care.write_blocking(lambda c: transfers.offer(c, CLINIC, own.facts, NOW_NS))
    assert again.state is State.COMPLETE
    other = replace(own.facts, group_id="g3")
    assert hub.care.write_blocking(lambda c: transfers.offer(c, CLINIC, other, NOW_NS)).state is State.RECEIVING
    # What is on its way is needed.
    hub.blobs.path(own.facts.sha256).write_bytes(b"x")
    assert drop(hub) == 0
    assert hub.blobs.path(own.facts.sha256).exists()


async def test_what_comes_later_of_an_erased_study_goes_as_it_comes(hub: ImagingHub) -> None:
    await two_persons(hub)
    erase(hub, "p1")
    late = hub.arrive(CLINIC, dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.3"))
    await hub.indexer.read_all()
    assert (hub.outcome(late), lies(hub, late), shown(hub)) == (erased_images.OUTCOME, False, ["1.2.1", "1.2.9"])


@pytest.mark.parametrize("is_manifest_first", [True, False])
async def test_a_new_study_of_an_erased_person_goes_as_soon_as_it_is_said_to_be_theirs(
    hub: ImagingHub, is_manifest_first: bool
) -> None:
    hub.register(CLINIC, "p1")
    erase(hub, "p1")
    manifest = StudyManifest("g7", "1.2.7", 1, "p1")
    if is_manifest_first:
        hub.send_manifest(CLINIC, manifest)
    row = hub.arrive(CLINIC, dicom_files.image("1.2.7", "1.2.7.1", "1.2.7.1.1"), "g7")
    await hub.indexer.read_all()
    if not is_manifest_first:
        assert (lies(hub, row), shown(hub)) == (True, ["1.2.7"])
        hub.send_manifest(CLINIC, manifest)
        await hub.indexer.read_all()
    assert (hub.outcome(row), lies(hub, row), shown(hub)) == (erased_images.OUTCOME, False, [])


async def test_another_site_cannot_have_files_erased_by_naming_the_person(hub: ImagingHub) -> None:
    await two_persons(hub)
    home = hub.arrive(HOME, dicom_files.image("1.2.5", "1.2.5.1", "1.2.5.1.1"), "g1")
    hub.send_manifest(HOME, StudyManifest("g1", "1.2.5", 1, "p1"))
    await hub.indexer.read_all()
    erase(hub, "p1")
    assert (lies(hub, home), "1.2.5" in shown(hub)) == (True, True)
    late = hub.arrive(HOME, dicom_files.image("1.2.5", "1.2.5.1", "1.2.5.1.2"), "g1")
    await hub.indexer.read_all()
    assert (hub.outcome(late), lies(hub, late)) == (studies.INDEXED, True)


async def test_an_erasure_that_broke_off_is_done_by_asking_again(hub: ImagingHub) -> None:
    own, _, _ = await two_persons(hub)
    hub.care.write_blocking(lambda c: erased_images.empty(c, GROUP, NOW_NS))
    assert lies(hub, own)
    # The file itself and the manifest.
    assert drop(hub) == 2
    assert not lies(hub, own)


async def test_many_files_go_in_pieces(hub: ImagingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erased_images, "CHUNK", 2)
    rows = [hub.arrive(CLINIC, f"file {number}".encode()) for number in range(5)]
    hub.tell(CLINIC, "p1")
    await hub.indexer.read_all()
    hub.care.write_blocking(lambda c: erased_images.empty(c, GROUP, NOW_NS))
    after: str | None = ""
    counts = []
    while after is not None:
        after, count = hub.care.write_blocking(lambda c, a=after: erased_images.drop_files(c, GROUP, hub.blobs, a))  # type: ignore[misc]
        counts.append(count)
    assert counts == [2, 2, 2, 0]
    assert not any(lies(hub, row) for row in rows)


@dataclass(slots=True)
class Pieces:
    """What was deleted from the disk, by the transaction that did it."""

    forgotten: list[list[str]] = field(default_factory=list)
    fails_at: int = 0
    """Which deletion fails, the first being 1; 0: none."""

    @property
    def all(self) -> list[str]:
        return [one for some in self.forgotten for one in some]


@pytest.fixture
def pieces(hub: ImagingHub, monkeypatch: pytest.MonkeyPatch) -> Pieces:
    """Files of two are deleted at once."""
    noted, forget = Pieces(), Blobs.forget

    def forget_noted(blobs: Blobs, sha256: str) -> bool:
        noted.forgotten[-1].append(sha256)
        if len(noted.all) == noted.fails_at:
            raise OSError("the disk is away")
        return forget(blobs, sha256)

    monkeypatch.setattr(Blobs, "forget", forget_noted)
    monkeypatch.setattr(erased_images, "CHUNK", 2)
    listen(hub.care._engine, "begin", lambda _: noted.forgotten.append([]))
    return noted


def five_of_nobody(hub: ImagingHub) -> list[Transfer]:
    """Files of a study that is yet to be said to be of somebody, who is erased; with its manifest."""
    hub.register(CLINIC, "p1")
    erase(hub, "p1")
    return [hub.arrive(CLINIC, f"file {number}".encode(), "g7") for number in range(5)]


def say_whose(hub: ImagingHub) -> Transfer:
    return hub.send_manifest(CLINIC, StudyManifest("g7", "1.2.7", 1, "p1"))


async def test_what_is_said_to_be_of_an_erased_person_goes_in_pieces_and_what_is_late_alone(
    hub: ImagingHub, pieces: Pieces
) -> None:
    rows = five_of_nobody(hub)
    await hub.indexer.read_all()
    rows.append(say_whose(hub))
    await hub.indexer.read_all()
    assert [len(some) for some in pieces.forgotten if some] == [2, 2, 2]
    assert {hub.outcome(row) for row in rows} == {erased_images.OUTCOME}
    assert not any(lies(hub, row) for row in rows)
    pieces.forgotten.clear()
    late = [hub.arrive(CLINIC, f"late {number}".encode(), "g7") for number in range(3)]
    await hub.indexer.read_all()
    assert sorted(pieces.all) == sorted(row.facts.sha256 for row in late)
    assert {hub.outcome(row) for row in late} == {erased_images.OUTCOME}
    assert not any(lies(hub, row) for row in late)


@pytest.mark.parametrize("fails_at", [1, 4, 6])
async def test_pieces_that_were_cut_short_are_gone_on_with(hub: ImagingHub, pieces: Pieces, fails_at: int) -> None:
    rows = [*five_of_nobody(hub), say_whose(hub)]
    pieces.fails_at = fails_at
    with pytest.raises(OSError, match="the disk is away"):
        await hub.indexer.read_all()
    await hub.indexer.read_all()
    assert {hub.outcome(row) for row in rows} == {erased_images.OUTCOME}
    assert not any(lies(hub, row) for row in rows)


async def test_nobody_is_taken_out_between_the_look_at_whose_a_file_is_and_its_commit(hub: ImagingHub) -> None:
    if not hub.care.is_postgres:
        pytest.skip("SQLite has one writer")
    hub.tell(CLINIC, "p1")
    hub.arrive(CLINIC, dicom_files.image())
    asked = list[str]()
    listen(hub.care._engine, "begin", lambda _: asked.append("BEGIN"))
    listen(hub.care._engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    await hub.indexer.read_all()
    clinic = Principal("clinic", Role.CLINIC, "", "", CLINIC.region, frozenset({CLINIC.site}))
    (stored,) = await Storing(hub.care, hub.images, clinic, "p1", "").run("x", body(), NOW_NS)
    assert not stored.failure
    begun = [after for before, after in pairwise(asked) if before == "BEGIN"]
    assert len(begun) == 3
    assert all("pg_advisory_xact_lock_shared" in first for first in begun), begun


async def body() -> AsyncIterator[bytes]:
    """One file in a multipart body."""
    yield b"--x\r\n\r\n" + dicom_files.image(instance="1.2.3.4.6") + b"\r\n--x--"

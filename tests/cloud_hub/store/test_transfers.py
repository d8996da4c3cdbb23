"""Rows of files under way and of what nodes may fetch, on both databases."""

from dataclasses import replace
from pathlib import Path

import pytest
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.transfer import CHUNK_BYTES, FileKind

from cloud_hub.store import releases, transfers
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.transfers import FileFacts, State, Transfer

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
SECOND = NodeAddress("baoshan", "baoshan-clinic", "edge-second")
HOME = NodeAddress("baoshan", "heming-home", "edge-home")
FACTS = FileFacts("ab" * 32, 3 * CHUNK_BYTES, "cd" * 32, FileKind.STUDY, "CT 头部", "g1", is_preview=True)
HASHES = bytes(96)


def offered(care: Database, address: NodeAddress = CLINIC, facts: FileFacts = FACTS, now_ns: int = 1) -> Transfer:
    return care.write_blocking(lambda c: transfers.offer(c, address, facts, now_ns))


def found(care: Database, row: Transfer) -> Transfer:
    again = care.read_blocking(lambda c: transfers.find(c, row.address, row.transfer_id))
    assert again is not None
    return again


def completed(care: Database, address: NodeAddress = CLINIC, facts: FileFacts = FACTS) -> Transfer:
    row = offered(care, address, facts)
    care.write_blocking(lambda c: transfers.keep_hashes(c, address, row.transfer_id, HASHES, 2))
    care.write_blocking(lambda c: transfers.complete(c, address, row.transfer_id, 3))
    return found(care, row)


def test_an_offered_file_is_as_it_was_said_to_be(care_db: Database) -> None:
    row = offered(care_db)
    assert (row.facts, row.address, row.state) == (FACTS, CLINIC, State.RECEIVING)
    assert list(row.chunks.missing()) == [0, 1, 2]


def test_offering_twice_is_one_file(care_db: Database) -> None:
    first = offered(care_db)
    care_db.write_blocking(lambda c: transfers.add_chunks(c, CLINIC, first.transfer_id, [1], 2))
    again = offered(care_db)
    assert again.transfer_id == first.transfer_id
    assert list(again.chunks.missing()) == [0, 2]


def test_chunks_add_up_whoever_notes_them(care_db: Database) -> None:
    row = offered(care_db)
    for chunks in ([0], [2, 0], [99]):
        care_db.write_blocking(lambda c, one=chunks: transfers.add_chunks(c, CLINIC, row.transfer_id, one, 2))  # type: ignore[misc]
    assert list(found(care_db, row).chunks.missing()) == [1]
    care_db.write_blocking(lambda c: transfers.drop_chunks(c, CLINIC, row.transfer_id, [2], 3))
    assert list(found(care_db, row).chunks.missing()) == [1, 2]


def test_no_other_node_finds_a_file_by_its_name(care_db: Database) -> None:
    row = offered(care_db)
    for stranger in (HOME, SECOND):
        assert care_db.read_blocking(lambda c, one=stranger: transfers.find(c, one, row.transfer_id)) is None  # type: ignore[misc]
        assert (
            care_db.write_blocking(lambda c, one=stranger: transfers.add_chunks(c, one, row.transfer_id, [0], 2))  # type: ignore[misc]
            is None
        )
        care_db.write_blocking(lambda c, one=stranger: transfers.refuse(c, one, row.transfer_id, "x", 2))  # type: ignore[misc]
        assert care_db.write_blocking(lambda c, one=stranger: transfers.withdraw(c, one, row.transfer_id, 2))  # type: ignore[misc]
    assert found(care_db, row).state is State.RECEIVING


def test_a_complete_file_stays_complete(care_db: Database) -> None:
    row = completed(care_db)
    assert (row.state, row.completed_ns, row.chunk_hashes) == (State.COMPLETE, 3, b"")
    assert not care_db.write_blocking(lambda c: transfers.withdraw(c, CLINIC, row.transfer_id, 4))
    assert care_db.write_blocking(lambda c: transfers.add_chunks(c, CLINIC, row.transfer_id, [0], 4)) is None
    care_db.write_blocking(lambda c: transfers.complete(c, CLINIC, row.transfer_id, 9))
    assert offered(care_db).completed_ns == 3


def test_what_the_site_has_is_complete_in_another_group_too(care_db: Database) -> None:
    completed(care_db)
    other = offered(care_db, facts=replace(FACTS, group_id="g2"), now_ns=7)
    assert (other.state, other.completed_ns) == (State.COMPLETE, 7)
    assert offered(care_db, SECOND).state is State.COMPLETE
    late = care_db.read_blocking(lambda c: transfers.completed(c, "baoshan", 4))
    assert [each.facts.group_id for each in late] == ["g2"]
    assert [
        each.address for each in care_db.read_blocking(lambda c: transfers.group(c, "baoshan", CLINIC.site, "g1"))
    ] == [
        CLINIC,
        SECOND,
    ]


def test_what_another_site_has_is_not_looked_at(care_db: Database) -> None:
    completed(care_db)
    assert offered(care_db, HOME).state is State.RECEIVING


def test_a_refused_or_withdrawn_file_begins_anew_when_offered_again(care_db: Database) -> None:
    row = offered(care_db)
    care_db.write_blocking(lambda c: transfers.refuse(c, CLINIC, row.transfer_id, Code.CHUNK_CORRUPT, 2))
    refused = found(care_db, row)
    assert (refused.state, refused.code, refused.have) == (State.REFUSED, "chunk-corrupt", b"")
    assert offered(care_db).state is State.RECEIVING
    assert care_db.write_blocking(lambda c: transfers.withdraw(c, CLINIC, row.transfer_id, 2))
    assert found(care_db, row).state is State.WITHDRAWN
    again = offered(care_db)
    assert (again.state, again.code) == (State.RECEIVING, "")


def test_a_file_that_is_cut_otherwise_begins_anew(care_db: Database) -> None:
    row = offered(care_db)
    care_db.write_blocking(lambda c: transfers.keep_hashes(c, CLINIC, row.transfer_id, HASHES, 2))
    care_db.write_blocking(lambda c: transfers.add_chunks(c, CLINIC, row.transfer_id, [0], 2))
    again = offered(care_db, facts=replace(FACTS, manifest_sha256="ef" * 32))
    assert (again.transfer_id, again.chunk_hashes, len(again.chunks)) == (row.transfer_id, b"", 0)


def test_damage_is_counted_by_chunk(care_db: Database) -> None:
    row = offered(care_db)
    counts = [
        care_db.write_blocking(lambda c, one=chunk: transfers.note_corrupt(c, CLINIC, row.transfer_id, one))  # type: ignore[misc]
        for chunk in (1, 2, 1)
    ]
    assert counts == [1, 1, 2]


def test_files_under_way_are_counted_and_old_ones_found(care_db: Database) -> None:
    offered(care_db, now_ns=5)
    completed(care_db, facts=replace(FACTS, sha256="11" * 32))
    late = offered(care_db, facts=replace(FACTS, sha256="22" * 32), now_ns=50)
    assert care_db.read_blocking(lambda c: transfers.open_count(c, CLINIC)) == 2
    assert care_db.read_blocking(lambda c: transfers.open_count(c, HOME)) == 0
    old = care_db.read_blocking(lambda c: transfers.abandoned(c, "baoshan", 50))
    assert [each.facts.sha256 for each in old] == [FACTS.sha256]
    assert late.transfer_id in care_db.read_blocking(transfers.receiving_ids)


def test_a_site_is_told_what_it_sent_and_the_hub_lost(care_db: Database) -> None:
    completed(care_db)
    asked = ["ff" * 32, FACTS.sha256]
    assert care_db.read_blocking(lambda c: transfers.lost(c, CLINIC, asked)) == ["ff" * 32]
    assert care_db.read_blocking(lambda c: transfers.lost(c, HOME, asked)) == asked


@pytest.mark.anyio
async def test_a_released_file_is_for_its_nodes_alone(care_db: Database, tmp_path: Path) -> None:
    blobs, source = Blobs(tmp_path / "blobs"), tmp_path / "bundle.zip"
    source.write_bytes(b"model" * 1000)
    what = (FileKind.BUNDLE, "stroke model 3")
    sha256 = await releases.publish(care_db, blobs, source, [CLINIC], what)
    assert await releases.publish(care_db, blobs, source, [CLINIC], what) == sha256
    assert blobs.path(sha256).read_bytes() == source.read_bytes()

    mine = await care_db.read(lambda c: releases.released_to(c, CLINIC))
    assert [(each.sha256, each.size_bytes, each.kind, each.name, each.held_ns) for each in mine] == [
        (sha256, 5000, FileKind.BUNDLE, "stroke model 3", 0)
    ]
    assert await care_db.read(lambda c: releases.find(c, HOME, sha256)) is None
    assert await care_db.read(lambda c: releases.find(c, SECOND, sha256)) is None


@pytest.mark.anyio
async def test_when_a_node_had_it_whole_is_kept_and_a_release_can_be_taken_back(
    care_db: Database, tmp_path: Path
) -> None:
    source = tmp_path / "bundle.zip"
    source.write_bytes(b"m")
    sha256 = await releases.publish(care_db, Blobs(tmp_path / "blobs"), source, [CLINIC], (FileKind.BUNDLE, "m"))
    for now_ns in (7, 8):
        await care_db.write(lambda c, at=now_ns: releases.note_held(c, CLINIC, [sha256, "ff" * 32], at))  # type: ignore[misc]
    (mine,) = await care_db.read(lambda c: releases.released_to(c, CLINIC))
    assert mine.held_ns == 7
    await care_db.write(lambda c: releases.take_back(c, CLINIC, sha256))
    assert await care_db.read(lambda c: releases.released_to(c, CLINIC)) == []

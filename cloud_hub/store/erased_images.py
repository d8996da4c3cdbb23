"""Taking the images of an erased person out: rows of the index, and files that nothing else needs.

Plain functions on a connection of the care store.  That there was a study stays: its group with whose it was, and of
each file number, size, hash and times, so that the node is not asked for it again.  What comes of it later goes too.
"""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update
from telemed.transfer import FileKind

from cloud_hub.store import erasure
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.dialect import upsert
from cloud_hub.store.schema import (
    blob,
    dicom_file,
    dicom_group,
    dicom_instance,
    dicom_series,
    dicom_study,
    finding_review,
    person,
    release,
)
from cloud_hub.store.schema import transfer as table
from cloud_hub.store.transfers import ERASED, State

OUTCOME = "erased"
"""What becomes of a file whose person was erased."""
CHUNK = 100
"""Files deleted in one transaction."""
Group = tuple[str, str, str]
"""Region, site and group of files."""


class Dropped(NamedTuple):
    """What a look at some files of a group came to."""

    after: str | None
    """Where to go on; None = at the end."""
    deleted: int


def groups_of(connection: Connection, where: tuple[str, str], person_id: str) -> list[Group]:
    """Return the groups of a site that are studies of a person, erased ones too."""
    c = dicom_group.c
    query = select(c.group_id).where(c.region == where[0], c.site == where[1], c.person_id == person_id)
    return [(*where, group_id) for group_id in connection.execute(query.order_by(c.group_id)).scalars()]


def is_due(connection: Connection, group: Group) -> bool:
    """True where a group must be emptied: it was before, or its person was erased."""
    found = connection.execute(select(dicom_group).where(_told(group))).one_or_none()
    if found is None:
        return False
    if found.erased_ns is not None:
        return True
    # Of its own site: no other site's manifest can have a file deleted, or be deleted, by naming somebody.
    c = person.c
    known = select(c.person_id).where(c.region == group[0], c.site == group[1], c.person_id == found.person_id)
    is_known = connection.execute(known).first() is not None
    return is_known and erasure.is_any_erased(connection, group[0], {found.person_id})


def empty(connection: Connection, group: Group, now_ns: int) -> dict[str, str]:
    """Take a group out of the index for good; return the files that go now: number and hash.  Harmless twice."""
    c = dicom_study.c
    mine = and_(c.region == group[0], c.site == group[1], c.group_id == group[2])
    for below in (dicom_instance, dicom_series, finding_review):
        connection.execute(delete(below).where(below.c.study_key.in_(select(c.study_key).where(mine))))
    connection.execute(delete(dicom_study).where(mine))
    going = _files(group), table.c.state == State.COMPLETE, table.c.code != ERASED
    ids = select(table.c.transfer_id, table.c.sha256).where(*going)
    found = {one.transfer_id: one.sha256 for one in connection.execute(ids)}
    # A name may be one that somebody gave it.
    connection.execute(update(table).where(*going).values(name="", code=ERASED))
    names = ("transfer_id", "region", "site", "outcome", "read_ns")
    upsert(connection, dicom_file, names, [(one, *group[:2], OUTCOME, now_ns) for one in found], names[:1])
    first = (_told(group), dicom_group.c.erased_ns.is_(None))
    connection.execute(update(dicom_group).where(*first).values(erased_ns=now_ns))
    return found


def contents(connection: Connection, group: Group) -> set[str]:
    """Return the hashes of all files of an emptied group, of those that are gone too."""
    return set(connection.execute(select(table.c.sha256).where(_files(group), table.c.code == ERASED)).scalars())


def drop_files(connection: Connection, group: Group, blobs: Blobs, after: str = "") -> Dropped:
    """Delete at most `CHUNK` files of an emptied group from the disk, but for those that something else needs.

    Within the transaction, so that none is taken up meanwhile; harmless twice, and after a crash to be asked again.

    Args:
        connection: the care store, in a transaction.
        group: that was emptied.
        blobs: the folder of files.
        after: the file that was looked at last.

    Raises:
        OSError: one cannot be deleted.
    """
    c = table.c
    query = select(c.sha256).where(_files(group), c.code == ERASED, c.sha256 > after).distinct()
    hashes = list(connection.execute(query.order_by(c.sha256).limit(CHUNK)).scalars())
    return Dropped(hashes[-1] if len(hashes) == CHUNK else None, drop(connection, blobs, hashes))


def drop(connection: Connection, blobs: Blobs, hashes: Collection[str]) -> int:
    """Delete contents from the disk, but for those that something needs; return how many.  As `drop_files` does."""
    going = set(hashes) - _needed(connection, hashes)
    connection.execute(delete(blob).where(blob.c.sha256.in_(going)))
    return sum(blobs.forget(sha256) for sha256 in going)


def _needed(connection: Connection, hashes: Collection[str]) -> set[str]:
    """Return those of the contents that another file is, is becoming, or that are released to a node."""
    found = set[str]()
    is_file = or_(table.c.state == State.RECEIVING, and_(table.c.state == State.COMPLETE, table.c.code != ERASED))
    for sha256 in hashes:
        files = select(table.c.sha256).where(table.c.sha256 == sha256, is_file)
        released = select(release.c.sha256).where(release.c.sha256 == sha256)
        if any(connection.execute(query.limit(1)).first() is not None for query in (files, released)):
            found.add(sha256)
    return found


def _told(group: Group) -> ColumnElement[bool]:
    c = dicom_group.c
    return and_(c.region == group[0], c.site == group[1], c.group_id == group[2])


def _files(group: Group) -> ColumnElement[bool]:
    c = table.c
    return and_(c.region == group[0], c.site == group[1], c.group_id == group[2], c.kind == FileKind.STUDY)

"""The index of images that sites sent: plain functions on a connection of the care store.

A study stands here as one site filed it (its group); whose it is says the group's manifest.  Nothing here judges who
may see it: `cloud_hub.access.images` does.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, or_, select, tuple_, update
from telemed.study import KEY_IMAGE_NAMES, OBJECT_NAME
from telemed.transfer import FileKind

from cloud_hub.errors import BadRequest
from cloud_hub.store import dialect
from cloud_hub.store.dialect import insert_new, upsert
from cloud_hub.store.schema import dicom_file, dicom_group, dicom_instance, dicom_series, dicom_study, person, transfer
from cloud_hub.store.transfers import State, Transfer, transfer_of

INDEXED, MANIFEST, KEY_IMAGE, MISSING = "indexed", "manifest", "key-image", "missing"
HUB_NODE = "hub"
"""Node under which lies what was stored at the hub itself."""
AT_ONCE = 500
TOO_BROAD, DAY = "narrow the search, by date for instance", "StudyDate"
_FAR_BACK = "0000"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index takes from one file."""

    study_uid: str
    series_uid: str
    sop_uid: str
    transfer_syntax_uid: str
    study_date: str
    study_time: str
    modality: str
    series_number: int
    instance_number: int
    frames: int
    flaw: str
    study: str
    """DICOM JSON of the study's level, as text; so are the two below."""
    series: str
    instance: str


@dataclass(frozen=True, slots=True)
class Reading:
    """That somebody has read a study."""

    username: str
    at_ns: int
    images: int
    """How many there were then."""


@dataclass(frozen=True, slots=True)
class Study:
    """A study as a site filed it."""

    study_key: str
    region: str
    site: str
    group_id: str
    study_uid: str
    person_id: str | None
    """Whose it is, of the persons of its site; empty where the site could not say.

    None where nobody knows yet: its manifest has not come, or names somebody whom the site has not told of.
    """
    study_date: str
    study_time: str
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int
    attributes: dict[str, Any]
    indexed_ns: int
    reading: Reading | None = None
    fetched_ns: int | None = None
    """When it was fetched from an archive; None where it came, or somebody has said since whether it is read."""

    @property
    def is_unread(self) -> bool:
        """True where nobody has read it, or more has come since; never where it was fetched, to compare with."""
        is_read = self.reading is not None and self.reading.images >= self.instance_count
        return not is_read and self.fetched_ns is None

    @property
    def owner(self) -> tuple[str, str]:
        """Whose it is; what is filed under nobody is no other study's, for it may be anybody's."""
        return (self.site, self.person_id) if self.person_id else ("", self.study_key)


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a study."""

    study_key: str
    series_uid: str
    modality: str
    series_number: int
    instance_count: int
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Instance:
    """One version of an image or another object."""

    study_key: str
    series_uid: str
    sop_uid: str
    sha256: str
    transfer_syntax_uid: str
    instance_number: int
    frames: int
    size_bytes: int
    version: int
    is_preview: bool
    flaw: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Announced:
    """A study as its manifest names it, of which no image has come."""

    study_uid: str
    study_date: str
    modalities: list[str]
    attributes: str
    """DICOM JSON."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What the database looks for; the caller judges what comes back again."""

    sites: frozenset[str] | None = None
    """None: all of the region."""
    persons: frozenset[str] | None = None
    study_keys: frozenset[str] | None = None
    study_uids: frozenset[str] | None = None
    series_uids: frozenset[str] | None = None
    """Studies that have one of these series."""
    sop_uids: frozenset[str] | None = None
    """Studies that have one of these instances."""
    filed_under: frozenset[str] | None = None
    """Studies whose manifest names one of these; empty among them: those that nobody could be named for."""
    is_unread: bool = False
    """True: those alone that are to be read."""
    with_announced: bool = False
    """True: those too of which nothing is here but what their manifest says."""
    dates: tuple[str, str] = ("", "")
    """First and last day, YYYYMMDD; empty: open."""
    walked_most: int = 0
    """So many studies may be looked at, open to who asks or not; 0: all."""

    @property
    def names_few(self) -> bool:
        """True where it names studies or persons, and not only where or of when they are."""
        return any(one is not None for one in (self.persons, self.study_keys, self.study_uids))


def key_of(region: str, site: str, group_id: str, study_uid: str) -> str:
    """Return the name of a filed study."""
    return hashlib.sha256("\n".join((region, site, group_id, study_uid)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Arrival:
    """How much of a group of files has come."""

    arrived: int
    """Whole files of images that the site sent."""
    expected: int | None
    """How many its manifest names; None where none said."""


def unread(connection: Connection, region: str, since_ns: int, limit: int) -> list[Transfer]:
    """Return files of studies that became complete since an instant and were not looked at, the earliest first."""
    seen = select(dicom_file.c.transfer_id).where(dicom_file.c.transfer_id == transfer.c.transfer_id).exists()
    is_study = and_(transfer.c.kind == FileKind.STUDY, transfer.c.state == State.COMPLETE, transfer.c.region == region)
    # What is complete changes no more, so that this index is one of completion too.
    is_late = transfer.c.updated_ns >= since_ns
    query = select(transfer).where(is_study, is_late, ~seen).order_by(transfer.c.completed_ns, transfer.c.transfer_id)
    return [transfer_of(row) for row in connection.execute(query.limit(limit))]


def forget_missing(connection: Connection) -> int:
    """Have files looked at again that were not on the disk when their turn came; return how many."""
    return connection.execute(dicom_file.delete().where(dicom_file.c.outcome == MISSING)).rowcount


def note(connection: Connection, row: Transfer, outcome: str, now_ns: int) -> bool:
    """Note that a file was looked at; False where it was noted before."""
    values = (row.transfer_id, row.address.region, row.address.site, outcome[:20], now_ns)
    return bool(insert_new(connection, dicom_file, [values], ["transfer_id"]))


def forget_note(connection: Connection, row: Transfer) -> None:
    """Have a file be unread again."""
    connection.execute(dicom_file.delete().where(dicom_file.c.transfer_id == row.transfer_id))


def outcome_of(connection: Connection, transfer_id: str) -> str | None:
    """Return what became of a file; None where it was not looked at."""
    return connection.execute(select(dicom_file.c.outcome).where(dicom_file.c.transfer_id == transfer_id)).scalar()


def tell_person(
    connection: Connection, row: Transfer, person_id: str, generation: int, objects: int | None = None
) -> bool:
    """Note whose the study of a group is, and of how many files it consists where that is told.

    Of two manifests the higher generation counts, then what came later; False where another one counts.
    """
    c, key = dicom_group.c, (row.address.region, row.address.site, row.facts.group_id)
    mine = and_(c.region == key[0], c.site == key[1], c.group_id == key[2])
    known = connection.execute(select(c.generation, c.told_ns).where(mine)).one_or_none()
    if known is not None and tuple(known) > (generation, row.completed_ns):
        return False
    names = ("region", "site", "group_id", "person_id", "generation", "told_ns", "objects")
    upsert(connection, dicom_group, names, [(*key, person_id, generation, row.completed_ns, objects)], names[:3])
    return True


def announce(connection: Connection, row: Transfer, study: Announced, now_ns: int) -> None:
    """List a study of which nothing has come but its manifest; what images say of it counts once there are some."""
    where = (row.address.region, row.address.site)
    key = key_of(*where, row.facts.group_id, study.study_uid)
    values: dialect.Row = (key, *where, row.facts.group_id, study.study_uid, study.study_date, "")
    values += (json.dumps(study.modalities), 0, 0, study.attributes, now_ns, None, None, None, None)
    if not insert_new(connection, dicom_study, [values], ["study_key"]):
        told: dict[str, object] = {"study_date": study.study_date, "modalities": json.dumps(study.modalities)}
        _correct_announced(connection, key, told | {"attributes": study.attributes, "indexed_ns": now_ns})


def _correct_announced(connection: Connection, key: str, values: dict[str, object]) -> None:
    """Say something else of a study of which no image has come."""
    c = dicom_study.c
    connection.execute(update(dicom_study).where(c.study_key == key, c.series_count == 0).values(values))


def key_images(connection: Connection, region: str, groups: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the hash of the key image of some groups, by site and group, of those that have one: the newest."""
    c, found = transfer.c, dict[tuple[str, str], str]()
    for site in {site for site, _ in groups}:
        for some in _slices(sorted(group_id for where, group_id in groups if where == site)):
            mine = and_(c.region == region, c.site == site, c.group_id.in_(some), c.name.in_(KEY_IMAGE_NAMES))
            there = and_(mine, c.kind == FileKind.STUDY, c.state == State.COMPLETE)
            query = select(c.group_id, c.sha256).where(there).order_by(c.completed_ns, c.transfer_id)
            found |= {(site, one.group_id): one.sha256 for one in connection.execute(query)}
    return found


def add(connection: Connection, row: Transfer, entry: Entry, now_ns: int, *, is_fetched: bool = False) -> int:
    """Take a file into the index; return its version: 1, or more where its UID has other content at this site.

    Args:
        connection: in a transaction.
        row: the file.
        entry: what a reader said of it.
        now_ns: when.
        is_fetched: from an archive: a study that begins with it is to be read by nobody.
    """
    where = (row.address.region, row.address.site)
    key = key_of(*where, row.facts.group_id, entry.study_uid)
    version = _version(connection, row, entry)
    values: dialect.Row = (key, entry.sop_uid, row.facts.sha256, *where, entry.series_uid, entry.transfer_syntax_uid)
    values += (entry.instance_number, entry.frames, row.facts.size_bytes, version, row.facts.is_preview)
    values += (entry.flaw, entry.instance, now_ns)
    insert_new(connection, dicom_instance, [values], ["study_key", "sop_uid", "sha256"])
    series = (key, entry.series_uid, *where, entry.modality, entry.series_number, 0, entry.series)
    insert_new(connection, dicom_series, [series], ["study_key", "series_uid"])
    study: dialect.Row = (key, *where, row.facts.group_id, entry.study_uid, entry.study_date, entry.study_time)
    study += ("[]", 0, 0, entry.study, now_ns, None, None, None, now_ns if is_fetched else None)
    if not insert_new(connection, dicom_study, [study], ["study_key"]):
        said: dict[str, object] = {
            "study_date": entry.study_date,
            "study_time": entry.study_time,
            "attributes": entry.study,
        }
        _correct_announced(connection, key, said)
    _count(connection, key, entry.series_uid, now_ns)
    return version


def studies(connection: Connection, region: str, narrowing: Narrowing) -> Iterator[Study]:
    """Yield studies, the newest day first; to be taken, or dropped, within the transaction.

    Raises:
        BadRequest: there are more than may be looked at.
    """
    c = dicom_study.c
    query = _with_persons().where(c.region == region, *_where(narrowing))
    query = query.order_by(_walked(c.study_date, narrowing).desc(), c.study_time.desc(), c.study_key)
    # Row by row, because whoever asks may see few of them and wants few of those.
    with connection.execute(query, execution_options={"yield_per": AT_ONCE}) as rows:
        for number, row in enumerate(rows, 1):
            if 0 < narrowing.walked_most < number:
                raise BadRequest(f"more than {narrowing.walked_most} studies to look through: {TOO_BROAD}", [DAY])
            yield _study(row)


def last_ns(connection: Connection, where: tuple[str, str], person_id: str) -> int | None:
    """Return when something was last added to a study of a person of a site; None where there is none."""
    c, group = dicom_study.c, dicom_group.c
    same = and_(group.region == c.region, group.site == c.site, group.group_id == c.group_id)
    query = select(func.max(c.indexed_ns)).join(dicom_group, same).where(group.person_id == person_id)
    found: int | None = connection.execute(query.where(c.region == where[0], c.site == where[1])).scalar()
    return found


def note_read(connection: Connection, study_key: str, reading: Reading | None) -> None:
    """Note who has read a study, None: that it is to be read again; from then on it is one like another."""
    values = ("read_by", "read_ns", "read_images")
    told = (None,) * 3 if reading is None else (reading.username, reading.at_ns, reading.images)
    changed = update(dicom_study).where(dicom_study.c.study_key == study_key)
    connection.execute(changed.values(dict(zip(values, told, strict=True)) | {"fetched_ns": None}))


def expect_reading(connection: Connection, study_key: str) -> None:
    """Have a study that was fetched be to be read like one that came."""
    connection.execute(update(dicom_study).where(dicom_study.c.study_key == study_key).values(fetched_ns=None))


def series_of(connection: Connection, study_keys: Collection[str]) -> list[Series]:
    """Return the series of some studies, in the order of their numbers."""
    found = list[Series]()
    for some in _slices(sorted(study_keys)):
        query = select(dicom_series).where(dicom_series.c.study_key.in_(some))
        found += [_series(row) for row in connection.execute(query)]
    return sorted(found, key=lambda one: (one.study_key, one.series_number, one.series_uid))


def instances_of(
    connection: Connection, study_keys: Collection[str], series_uid: str = "", sop_uid: str = ""
) -> list[Instance]:
    """Return all versions of the instances of some studies, in order; of one series or instance where one is named."""
    c, found = dicom_instance.c, list[Instance]()
    of_one: list[ColumnElement[bool]] = [c.series_uid == series_uid] if series_uid else []
    of_one += [c.sop_uid == sop_uid] if sop_uid else []
    for some in _slices(sorted(study_keys)):
        query = select(dicom_instance).where(c.study_key.in_(some), *of_one)
        found += [_instance(row) for row in connection.execute(query)]
    return sorted(found, key=lambda one: (one.series_uid, one.instance_number, one.sop_uid, one.version))


def counting(found: Collection[Instance]) -> list[Instance]:
    """Return one version of each instance of each study: no preview where there is the whole, and the earliest."""
    ranked = sorted(found, key=lambda one: (one.study_key, one.sop_uid, one.is_preview, one.version))
    best = [next(group) for _, group in groupby(ranked, key=lambda one: (one.study_key, one.sop_uid))]
    return sorted(best, key=lambda one: (one.series_uid, one.instance_number, one.sop_uid, one.version))


def arrivals(
    connection: Connection, region: str, groups: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Arrival]:
    """Return how much has come of some groups, by site and group; what was stored at the hub itself is not counted."""
    c, told, found = transfer.c, dicom_group.c, dict[tuple[str, str], Arrival]()
    for site in {site for site, _ in groups}:
        ids = sorted(group_id for where, group_id in groups if where == site)
        for some in _slices(ids):
            named = select(told.group_id, told.objects).where(told.region == region, told.site == site)
            expected = {row.group_id: row.objects for row in connection.execute(named.where(told.group_id.in_(some)))}
            of_site = and_(c.region == region, c.site == site, c.group_id.in_(some), c.node != HUB_NODE)
            is_image = and_(c.state == State.COMPLETE, c.name == OBJECT_NAME, c.is_preview.is_(False))
            count = select(c.group_id, func.count(c.sha256.distinct()).label("n")).where(of_site, is_image)
            arrived = {row.group_id: row.n for row in connection.execute(count.group_by(c.group_id))}
            found |= {(site, one): Arrival(arrived.get(one, 0), expected.get(one)) for one in some}
    return found


def _version(connection: Connection, row: Transfer, entry: Entry) -> int:
    """Return which version of its UID a file is; the same content in another group is the same version."""
    c = dicom_instance.c
    here = and_(c.region == row.address.region, c.site == row.address.site, c.sop_uid == entry.sop_uid)
    known = connection.execute(select(c.version).where(here, c.sha256 == row.facts.sha256).limit(1)).scalar()
    if known is not None:
        return int(known)
    # A preview is other content by design.
    others = select(func.max(c.version)).where(here, c.is_preview.is_(row.facts.is_preview))
    return int(connection.execute(others).scalar() or 0) + 1


def _count(connection: Connection, key: str, series_uid: str, now_ns: int) -> None:
    c = dicom_instance.c
    counted = and_(c.study_key == key, c.is_preview.is_(False))
    number = select(func.count(c.sop_uid.distinct()))
    of_series = int(connection.execute(number.where(counted, c.series_uid == series_uid)).scalar_one())
    mine = and_(dicom_series.c.study_key == key, dicom_series.c.series_uid == series_uid)
    connection.execute(update(dicom_series).where(mine).values(instance_count=of_series))
    rows = connection.execute(select(dicom_series.c.modality).where(dicom_series.c.study_key == key)).scalars().all()
    values = {
        "modalities": json.dumps(sorted({one for one in rows if one})),
        "series_count": len(rows),
        "instance_count": int(connection.execute(number.where(counted)).scalar_one()),
        "indexed_ns": now_ns,
    }
    connection.execute(update(dicom_study).where(dicom_study.c.study_key == key).values(values))


def _with_persons() -> Select[Any]:
    group, c, known = dicom_group.c, dicom_study.c, person.c
    same = and_(group.region == c.region, group.site == c.site, group.group_id == c.group_id)
    # A manifest opens no record of another site: whom its own site has not told of is nobody yet.
    is_known = and_(known.region == c.region, known.site == c.site, known.person_id == group.person_id)
    whose = case((group.person_id == "", ""), else_=known.person_id).label("person_id")
    joined = dicom_study.outerjoin(dicom_group, same).outerjoin(person, is_known)
    return select(dicom_study, whose).select_from(joined)


def _where(narrowing: Narrowing) -> list[ColumnElement[bool]]:
    c, found = dicom_study.c, list[ColumnElement[bool]]()
    site, day = (_walked(one, narrowing) for one in (c.site, c.study_date))
    columns = ((site, narrowing.sites), (c.study_key, narrowing.study_keys), (c.study_uid, narrowing.study_uids))
    found += [column.in_(sorted(values)) for column, values in columns if values is not None]
    if narrowing.persons is not None:
        found.append(_is_of(narrowing.persons))
    below = ((dicom_series, "series_uid", narrowing.series_uids), (dicom_instance, "sop_uid", narrowing.sop_uids))
    for table, name, values in below:
        if values is not None:
            has = and_(table.c.study_key == c.study_key, table.c[name].in_(sorted(values)))
            found.append(select(table.c.study_key).where(has).exists())
    if narrowing.filed_under is not None:
        found.append(dicom_group.c.person_id.in_(sorted(narrowing.filed_under)))
    found += [] if narrowing.with_announced else [c.series_count > 0]
    # In the very words of the index, or it is not taken.
    unread = [or_(c.read_images.is_(None), c.read_images < c.instance_count), c.fetched_ns.is_(None)]
    found += unread if narrowing.is_unread else []
    first, last = narrowing.dates
    found += [day >= (first or _FAR_BACK)] if first or last else []
    return found + ([day <= last] if last else [])


def _is_of(persons: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that a study is of one of some persons; from them to it, not through all of their site."""
    c, group, known = dicom_study.c, dicom_group.c, person.c
    same = and_(group.region == known.region, group.site == known.site, group.person_id == known.person_id)
    theirs = select(group.region, group.site, group.group_id).join_from(person, dicom_group, same)
    return tuple_(c.region, c.site, c.group_id).in_(theirs.where(known.person_id.in_(sorted(persons))))


def _walked(column: ColumnElement[str], narrowing: Narrowing) -> ColumnElement[str]:
    """Return a column so that it serves only where nothing better is named: SQLite would walk a region by its index."""
    return column.concat("") if narrowing.names_few else column


def _study(row: Row[Any]) -> Study:
    return Study(
        row.study_key,
        row.region,
        row.site,
        row.group_id,
        row.study_uid,
        row.person_id,
        row.study_date,
        row.study_time,
        tuple(json.loads(row.modalities)),
        row.series_count,
        row.instance_count,
        json.loads(row.attributes),
        row.indexed_ns,
        None if row.read_by is None else Reading(row.read_by, row.read_ns, row.read_images),
        row.fetched_ns,
    )


def _series(row: Row[Any]) -> Series:
    told = json.loads(row.attributes)
    return Series(row.study_key, row.series_uid, row.modality, row.series_number, row.instance_count, told)


def _instance(row: Row[Any]) -> Instance:
    return Instance(
        row.study_key,
        row.series_uid,
        row.sop_uid,
        row.sha256,
        row.transfer_syntax_uid,
        row.instance_number,
        row.frames,
        row.size_bytes,
        row.version,
        row.is_preview,
        row.flaw,
        json.loads(row.attributes),
    )


def _slices(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(keys), AT_ONCE):
        yield keys[at : at + AT_ONCE]

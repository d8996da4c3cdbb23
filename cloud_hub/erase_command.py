"""`cloud-hub erase PERSON [--apply]`: takes a person out of the hub and of their site, once their time is over.

Without `--apply` it says what would be done.  What was measured goes first, then who they were, in the transaction
of the event that tells the site, then what is kept of them in records as they came: what comes after that event is
emptied when it comes.  So what breaks off in the middle is found and done by asking again.  On SQLite the write-ahead
logs are emptied last.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection
from telemed.v1 import event_pb2
from telemed.wire import Record

from cloud_hub.care import retention
from cloud_hub.care.identifiers import uuid7
from cloud_hub.care.places import Place, Stay
from cloud_hub.config import HubConfig
from cloud_hub.errors import BadRequest, StoreFailure
from cloud_hub.store import (
    accounts,
    care_team,
    dialect,
    erased_images,
    erasure,
    events,
    persons,
    remains,
    retained,
    studies,
)
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.persons import Person
from cloud_hub.store.schema import CARE, SAMPLES

OPERATOR_NAME = "command-line"
PAUSE_S = 0.02
LOG_TRIES = 3
"""How often the write-ahead log is asked to be emptied: each time it waits for those who read meanwhile."""
MARGIN_NS = 86_400 * 10**9
"""How far clocks may have been apart where whom something is about is told by its time alone."""
Stretches = dict[tuple[str, str], list[tuple[int, int]]]
"""Device (node, device) to when it measured the person."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be taken out."""

    person: Person
    stays: tuple[Stay, ...]
    until_ns: int
    measured: Stretches


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be asked to the parser of `erase`."""
    parser.add_argument("person", help="id of the person")
    parser.add_argument("--apply", action="store_true", help="erase; without it only a report is made")
    parser.add_argument("--table", type=Path, default=retention.DEFAULT, help="another version of the table (TOML)")


def run(config: HubConfig, options: argparse.Namespace) -> list[str]:
    """Say what would be erased, or erase it; return the lines to print.

    Raises:
        BadRequest: no such person, one who is still cared for, or one whose record must still be kept.
        ConfigRefused: the table cannot be used.
        StoreFailure: a database or the folder of files cannot be used.
    """
    table = retention.load(options.table)
    care, samples = (
        Database(config.store.care_url, CARE, "care"),
        Database(config.store.samples_url, SAMPLES, "samples"),
    )
    try:
        care.migrate()
        samples.migrate()
        plan = care.read_blocking(lambda c: _plan(c, config.region, options.person, table))
        if not options.apply:
            return [*_lines(plan, table), "dry run: nothing was changed"]
        for database in (care, samples):
            database.write_blocking(dialect.overwrite_what_goes)
        deleted = _erase_measured(samples, plan)
        care.write_blocking(lambda c: _erase_person(c, plan, table.version))
        emptied, letters = _empty_remains(care, samples, plan)
        files = _erase_images(care, config.rpc.folder, plan)
        done = f"{deleted} records measured, {emptied} alarms and events, {letters} messages that could not be read"
        done += f", {files} files of images"
        kept = [_log_kept(database) for database in (care, samples) if not _has_empty_log(database)]
        return [*_lines(plan, table), f"erased: {done}; the site is told", *kept]
    finally:
        samples.close()
        care.close()


def _has_empty_log(database: Database) -> bool:
    return any(database.empty_log() for _ in range(LOG_TRIES))


def _log_kept(database: Database) -> str:
    return (
        f"the write-ahead log of {database.name} is being read and still holds what was erased: "
        "ask again, or stop the hub"
    )


def _plan(connection: Connection, region: str, person_id: str, table: retention.Table) -> Plan:
    person = persons.person(connection, region, person_id)
    if person is None:
        raise BadRequest(f"there is no person {person_id}", ["person"])
    stays = tuple(one for one in persons.stays(connection, region, {person.site}) if one.person_id == person_id)
    referred_ns = care_team.last_referral_ns(connection, region, person_id)
    imaged_ns = studies.last_ns(connection, (region, person.site), person_id)
    until_ns = retention.kept_until_ns(table, stays, 0 if stays else person.updated_ns, (referred_ns, imaged_ns))
    if until_ns is None or care_team.is_under_care(connection, region, person_id):
        raise BadRequest("this person is still cared for", ["person"])
    if until_ns > time.time_ns():
        raise BadRequest(f"this record must be kept until {_day(until_ns)} (table {table.version})", ["person"])
    places = persons.places(connection, region, {person.site})
    return Plan(person, stays, until_ns, _measured(stays, places))


def _measured(stays: tuple[Stay, ...], places: list[Place]) -> Stretches:
    """Return which device measured somebody when; its first known place also holds for the time before."""
    found: Stretches = {}
    seen: set[tuple[str, str]] = set()
    for place in places:
        device = (place.node, place.device)
        place_from_ns = place.from_ns if device in seen else 0
        seen.add(device)
        for stay in stays:
            end_ns = stay.to_ns or 0
            begin, end = max(stay.from_ns, place_from_ns), min(end_ns, place.to_ns or end_ns)
            if place.bed == stay.bed and begin < end:
                found.setdefault(device, []).append((begin, end))
    return found


def _erase_measured(samples: Database, plan: Plan) -> int:
    site, deleted = plan.person.site, 0
    streams = samples.read_blocking(lambda c: retained.streams_at(c, site, plan.measured.keys()))
    for device, ids in streams.items():
        for stretch in plan.measured[device]:
            while True:
                n = samples.write_blocking(
                    lambda c, i=ids, s=stretch: retained.delete_measured(c, i, s)  # type: ignore[misc]
                )
                deleted += n
                if n < retained.CHUNK:
                    break
                time.sleep(PAUSE_S)
            samples.write_blocking(lambda c, i=ids, s=stretch: retained.delete_trends(c, i, s))  # type: ignore[misc]
    return deleted


def _erase_person(connection: Connection, plan: Plan, version: str) -> None:
    dialect.hold_persons_alone(connection)
    person, now_ns = plan.person, time.time_ns()
    where = events.Place(person.region, person.site)
    event = event_pb2.Event(
        event_id=uuid7(now_ns),
        aggregate_type="person",
        aggregate_id=person.person_id,
        base_version=events.version(connection, where, "person", person.person_id),
        at_unix_ns=now_ns,
        person_erased=event_pb2.PersonErased(
            reason="retention",
            table_version=version,
            emptied=erasure.numbers_about(connection, (person.region, person.site), person.person_id),
        ),
    )
    events.append_hub_event(connection, where, event, now_ns)
    target = f"Patient/{person.person_id}"
    entry = AuditEntry(now_ns, OPERATOR_NAME, "system", "person-erase", target, "ok", person.region, person.site)
    accounts.write_audit(connection, entry)


def _empty_remains(care: Database, samples: Database, plan: Plan) -> tuple[int, int]:
    """Take a person out of what is kept as it came; return of how many records, and of how many dead letters."""
    where = (plan.person.region, plan.person.site)
    traces = care.read_blocking(lambda c: erasure.traces(c, where, plan.person.person_id))
    since_ns = care.read_blocking(lambda c: _came_ns(c, plan)) - MARGIN_NS
    look = partial(remains.empty_records, where=where, traces=traces, since_ns=since_ns)
    records, letters = _each(care, remains.FIRST_RECORD, look), 0
    others = (remains.is_care_of_others(traces), _is_of_another_time(plan.measured))
    for database, table, is_other in zip((care, samples), remains.LETTERS, others, strict=True):
        look = partial(remains.empty_letters, table=table, where=where, is_other=is_other, since_ns=since_ns)
        letters += _each(database, 0, look)
    return records, letters


def _erase_images(care: Database, folder: Path, plan: Plan) -> int:
    """Take a person's studies out of the index and off the disk; return how many files were deleted.

    Raises:
        StoreFailure: the folder of files cannot be used.
    """
    where = (plan.person.region, plan.person.site)
    groups, count = care.read_blocking(lambda c: erased_images.groups_of(c, where, plan.person.person_id)), 0
    if not groups:
        return count
    try:
        blobs = Blobs(folder)
        for group in groups:
            care.write_blocking(partial(erased_images.empty, group=group, now_ns=time.time_ns()))
            count += _drop_files(care, group, blobs)
    except OSError as error:
        raise StoreFailure(f"{folder}: {error.strerror}") from error
    return count


def _drop_files(care: Database, group: erased_images.Group, blobs: Blobs) -> int:
    dropped = erased_images.Dropped("", 0)
    count = 0
    while dropped.after is not None:
        look = partial(erased_images.drop_files, group=group, blobs=blobs, after=dropped.after)
        dropped = care.write_blocking(look)
        count += dropped.deleted
        time.sleep(PAUSE_S)
    return count


def _each(database: Database, first: object, look: Callable[..., remains.Looked]) -> int:
    """Look at all rows, in pieces between which the hub may write; return how many were emptied."""
    looked = remains.Looked(first, 0)
    emptied = 0
    while looked.after is not None:
        looked = database.write_blocking(partial(look, after=looked.after))
        emptied += looked.emptied
        time.sleep(PAUSE_S)
    return emptied


def _came_ns(connection: Connection, plan: Plan) -> int:
    """Return when the person came first, or was first heard of."""
    where = events.Place(plan.person.region, plan.person.site)
    heard = events.of_aggregate(connection, where, "person", plan.person.person_id)
    return min([stay.from_ns for stay in plan.stays] + [one.received_ns for one in heard], default=0)


def _is_of_another_time(measured: Stretches) -> remains.IsOther:
    def is_other(node: str, record: Record) -> bool:
        device, at_ns = record.stream.partition("/")[0], record.stamp.wall_ns
        near = (begin - MARGIN_NS <= at_ns < end + MARGIN_NS for begin, end in measured.get((node, device), ()))
        return not any(near)

    return is_other


def _lines(plan: Plan, table: retention.Table) -> list[str]:
    devices = sum(len(found) for found in plan.measured.values())
    return [
        f"{plan.person.person_id} at {plan.person.site}: kept until {_day(plan.until_ns)} (table {table.version})",
        f"{len(plan.stays)} stays, {devices} stretches of devices at their beds",
        "the audit trail stays; copies at the node and in backups end with their own times",
    ]


def _day(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).date().isoformat()

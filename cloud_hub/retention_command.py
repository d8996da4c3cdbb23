"""`cloud-hub retention [--apply]`: what is over its time, and deleting what the table says is to be deleted.

Without `--apply` nothing is changed.  May be run while the hub serves: it deletes in small pieces.  What was done is in
the audit trail, with the version of the table.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloud_hub.care import retention
from cloud_hub.care.retention import Row, Then, What
from cloud_hub.config import HubConfig
from cloud_hub.store import accounts, retained
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES

OPERATOR_NAME = "command-line"
PAUSE_S = 0.02
"""Between two pieces, so that the intake has its turns."""


@dataclass(frozen=True, slots=True)
class Due:
    """What of one kind is over its time."""

    row: Row
    count: int
    size_bytes: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Stores:
    """Both databases, and whose."""

    care: Database
    samples: Database
    region: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be asked to the parser of `retention`."""
    parser.add_argument("--apply", action="store_true", help="delete; without it only a report is made")
    parser.add_argument("--table", type=Path, default=retention.DEFAULT, help="another version of the table (TOML)")


def run(config: HubConfig, options: argparse.Namespace) -> list[str]:
    """Make the report, after deleting where that was asked for; return its lines.

    Raises:
        ConfigRefused: the table cannot be used.
        StoreFailure: a database cannot be used.
    """
    table = retention.load(options.table)
    stores = Stores(
        Database(config.store.care_url, CARE, "care"),
        Database(config.store.samples_url, SAMPLES, "samples"),
        config.region,
    )
    try:
        stores.care.migrate()
        stores.samples.migrate()
        now_ns = time.time_ns()
        found = [_look(stores, row, now_ns, apply=options.apply) for row in table.rows]
        if options.apply:
            _note(stores, table.version, found, now_ns)
        return list(_lines(table, found, applied=options.apply))
    finally:
        stores.samples.close()
        stores.care.close()


def _look(stores: Stores, row: Row, now_ns: int, *, apply: bool) -> Due:
    before_ns, region, care = retention.before_ns(row, now_ns), stores.region, stores.care
    match row.what:
        case What.WAVES:
            return _waves(stores, row, before_ns, apply=apply)
        case What.MEASUREMENTS:
            return Due(row, stores.samples.read_blocking(lambda c: retained.count_numbers(c, region, before_ns)))
        case What.VISITORS:
            return Due(row, len(care.read_blocking(lambda c: retained.visitors_before(c, region, before_ns))))
        case What.CONSULTS:
            return Due(row, care.read_blocking(lambda c: retained.count_consults(c, region, before_ns)))
        case What.IMAGES:
            return Due(row, care.read_blocking(lambda c: retained.count_studies(c, region, before_ns)))
        case What.ALARMS:
            return Due(row, care.read_blocking(lambda c: retained.count_alarms(c, region, before_ns)))
        case What.AUDIT:
            return Due(row, care.read_blocking(lambda c: retained.count_audit(c, region, before_ns)))


def _waves(stores: Stores, row: Row, before_ns: int, *, apply: bool) -> Due:
    region, until_ns = stores.region, before_ns + retention.AROUND_ALARM_NS
    kept = retention.strips(stores.care.read_blocking(lambda c: retained.alarms_before(c, region, until_ns)))
    count = size_bytes = deleted = 0
    for stream_id, site, node in stores.samples.read_blocking(lambda c: retained.wave_streams(c, region)):
        own = [strip for strip in kept if (strip.site, strip.node) == (site, node)]
        stretches = retention.gaps(own, before_ns)
        n, size = stores.samples.read_blocking(
            lambda c, i=stream_id, s=stretches: retained.count_waves(c, i, s, before_ns)  # type: ignore[misc]
        )
        count, size_bytes = count + n, size_bytes + size
        if apply and row.then is Then.DELETE:
            deleted += sum(_delete(stores.samples, stream_id, stretch, before_ns) for stretch in stretches)
    return Due(row, count, size_bytes, deleted)


def _delete(samples: Database, stream_id: int, stretch: retained.Stretch, before_ns: int) -> int:
    deleted = 0
    while True:
        n = samples.write_blocking(lambda c: retained.delete_waves(c, stream_id, stretch, before_ns))
        deleted += n
        if n < retained.CHUNK:
            return deleted
        time.sleep(PAUSE_S)


def _note(stores: Stores, version: str, found: list[Due], now_ns: int) -> None:
    entries = [
        AuditEntry(
            now_ns, OPERATOR_NAME, "system", "retention", f"{due.row.what} {due.deleted}", version, stores.region
        )
        for due in found
        if due.row.then is Then.DELETE
    ]
    stores.care.write_blocking(lambda c: accounts.write_audit(c, *entries))


def _lines(table: retention.Table, found: list[Due], *, applied: bool) -> Iterator[str]:
    approved = table.approved_by or "nobody yet"
    yield f"table {table.version}, in force {table.effective}, approved by {approved}"
    yield "deleted what is to be deleted" if applied else "dry run: nothing was changed"
    for due in found:
        size = f", {due.size_bytes / 2**20:.1f} MiB" if due.size_bytes else ""
        done = f", {due.deleted} deleted" if applied and due.row.then is Then.DELETE else ""
        yield f"{due.row.what:13} {due.row.keep_days:6} d  {due.row.then:7} {due.count} over their time{size}{done}"
        yield f"{'':13} {due.row.zh} / {due.row.en}"

"""What physicians said of the findings of models, as rows that are only added; plain functions on a connection."""

import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select

from cloud_hub.care.finding_review import Report, Review, Said, Told, Verdict, Word
from cloud_hub.store.dialect import insert_new
from cloud_hub.store.schema import finding_review as table

AT_ONCE = 200
Where = tuple[str, str]
"""Region and site."""


def add(connection: Connection, where: Where, review: Review) -> bool:
    """Keep what was said; False where another one of this version, or this name, is there."""
    report, word = review.report, review.word
    row = (
        review.review_id, *where, report.study_key, report.sop_uid, report.sha256, review.finding_uid, review.version,
        word.verdict.value, word.reason, "" if word.said is None else json.dumps(asdict(word.said)),
        json.dumps(asdict(review.told)), report.task, report.task_version, report.bundle_sha256, report.findings,
        review.username, review.role, review.at_ns,
    )  # fmt: skip
    return bool(insert_new(connection, table, [row], ["review_id"]))


def by_id(connection: Connection, review_id: str) -> Review | None:
    """Return what was said under a name."""
    row = connection.execute(select(table).where(table.c.review_id == review_id)).first()
    return None if row is None else _review(row)


def of_studies(connection: Connection, study_keys: Collection[str]) -> list[Review]:
    """Return all that was said of the findings of some studies, of each finding in its order."""
    keys, found = sorted(study_keys), list[Review]()
    for at in range(0, len(keys), AT_ONCE):
        query = select(table).where(table.c.study_key.in_(keys[at : at + AT_ONCE]))
        found += [_review(row) for row in connection.execute(query)]
    return sorted(found, key=lambda one: (one.report.study_key, one.report.sha256, one.finding_uid, one.version))


def studies_since(connection: Connection, region: str, since_ns: int) -> list[str]:
    """Return the keys of the studies of whose findings something was said since an instant."""
    mine = (table.c.region == region, table.c.at_ns >= since_ns)
    return list(connection.execute(select(table.c.study_key).where(*mine).distinct()).scalars())


def _review(row: Row[Any]) -> Review:
    told = json.loads(row.told)
    return Review(
        row.review_id,
        Report(
            row.study_key, row.sop_uid, row.sha256, row.task, row.task_version, row.bundle_sha256, row.findings
        ),
        row.finding_uid,
        Told(_said(told["said"]), told["confidence"], told["series_uid"], told["key_image_uid"]),
        row.version,
        Word(Verdict(row.verdict), row.reason, _said(json.loads(row.said)) if row.said else None),
        row.username,
        row.role,
        row.at_ns,
    )  # fmt: skip


def _said(told: dict[str, Any]) -> Said:
    x_mm, y_mm, z_mm = told["centre_mm"]
    return Said(told["code"], told["region"], (x_mm, y_mm, z_mm), told["diameter_mm"])

"""Saying of a model's finding whether it is one; with its audit entry in one transaction."""

from dataclasses import dataclass

from sqlalchemy import Connection

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.care import finding_review
from cloud_hub.care.finding_review import Report, Review, Told, Word
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.store import accounts, finding_reviews
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.dialect import hold_persons
from cloud_hub.store.studies import Narrowing, Study

ACTION = "study-finding-"
"""What the trail calls it, before the verdict."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to say."""

    review_id: str
    report: Report
    finding_uid: str
    told: Told
    word: Word
    version: int
    """That the page saw; 0: nothing was said yet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    reviews: list[Review]
    """All that is said of the finding now, the newest last."""
    is_taken: bool
    """False: somebody else was first, and their word stands."""


def open_study(connection: Connection, principal: Principal, study_key: str) -> Study:
    """Return a study of which this principal may say something.

    Raises:
        NotFound: no such study whose record is open to them; one behind a broken glass is not.
    """
    asked = Narrowing(study_keys=frozenset({study_key}))
    found = next(images.seen(connection, principal.for_changes(), asked), None)
    if found is None:
        raise NotFound("no such study within scope")
    return found


def review(connection: Connection, principal: Principal, asked: Asked, now_ns: int) -> Outcome:
    """Keep what somebody says of a finding, once however often it is sent.

    Raises:
        NotFound: no such study whose record is open to them.
        BadRequest: a field is not as the verdict needs it, or the name was used for something else.
    """
    hold_persons(connection)
    study = open_study(connection, principal, asked.report.study_key)
    same = finding_reviews.by_id(connection, asked.review_id)
    if same is not None:
        if not _is_same(same, principal, asked):
            raise BadRequest("this review_id was used for something else", ["review_id"])
        return Outcome(_said(connection, asked), is_taken=True)
    before = _said(connection, asked)
    if (before[-1].version if before else 0) != asked.version:
        return Outcome(before, is_taken=False)
    wrong = finding_review.lacking(asked.word, asked.told, before[-1] if before else None)
    if wrong:
        raise BadRequest(f"{asked.word.verdict} needs other fields", wrong)
    made = Review(
        asked.review_id, asked.report, asked.finding_uid, asked.told, asked.version + 1, asked.word,
        principal.username, principal.role, now_ns,
    )  # fmt: skip
    if not finding_reviews.add(connection, (study.region, study.site), made):
        return Outcome(_said(connection, asked), is_taken=False)
    target, result = images.audited(principal, study)
    action = f"{ACTION}{asked.word.verdict}"
    entry = AuditEntry(now_ns, principal.username, principal.role, action, target, result, study.region, study.site)
    accounts.write_audit(connection, entry)
    return Outcome([*before, made], is_taken=True)


def _is_same(kept: Review, principal: Principal, asked: Asked) -> bool:
    mine = (principal.username, asked.report, asked.finding_uid, asked.word, asked.version + 1)
    return (kept.username, kept.report, kept.finding_uid, kept.word, kept.version) == mine


def _said(connection: Connection, asked: Asked) -> list[Review]:
    every = finding_reviews.of_studies(connection, {asked.report.study_key})
    key = (asked.report.sha256, asked.finding_uid)
    return [one for one in every if (one.report.sha256, one.finding_uid) == key]

"""Rows of what was said of findings, on both databases: once, unchangeable, and gone with the person's images."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update
from telemed.topics import NodeAddress

from cloud_hub.care.finding_review import Report, Review, Said, Told, Verdict, Word
from cloud_hub.errors import StoreFailure
from cloud_hub.store import erased_images, finding_reviews, studies
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import finding_review
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import NOW_NS, ImagingHub

CLINIC = NodeAddress("baoshan", "clinic", "edge-clinic")
WHERE = (CLINIC.region, CLINIC.site)
KEY = studies.key_of(*WHERE, "g1", "1.2.3")
SAID = Said("cerebral-microbleed", "lobar", (1.5, -2.25, 3.0), 4.0)
REVIEW = Review(
    "r1", Report(KEY, "1.2.3.9", "f" * 64, "cmb", "0.1.0", "b" * 64, 2), "2.25.7", Told(SAID, 0.84, "1.2.3.4", ""), 1,
    Word(Verdict.EDITED, "", replace(SAID, region="deep")), "doctor", "physician", NOW_NS,
)  # fmt: skip


def kept(care: Database) -> list[Review]:
    return care.read_blocking(lambda c: finding_reviews.of_studies(c, {KEY}))


def add(care: Database, review: Review) -> bool:
    return care.write_blocking(lambda c: finding_reviews.add(c, WHERE, review))


def test_what_was_said_comes_back_as_it_was_said(care_db: Database) -> None:
    assert add(care_db, REVIEW)
    assert kept(care_db) == [REVIEW]
    assert care_db.read_blocking(lambda c: finding_reviews.by_id(c, "r1")) == REVIEW
    assert care_db.read_blocking(lambda c: finding_reviews.by_id(c, "r2")) is None


def test_one_name_and_one_version_is_kept_once(care_db: Database) -> None:
    rows = [REVIEW, REVIEW, replace(REVIEW, review_id="r2"), replace(REVIEW, review_id="r2", version=2)]
    assert [add(care_db, one) for one in rows] == [True, False, False, True]
    assert [one.version for one in kept(care_db)] == [1, 2]


def test_no_row_is_changed_by_anybody(care_db: Database) -> None:
    add(care_db, REVIEW)
    with pytest.raises(StoreFailure):
        care_db.write_blocking(lambda c: c.execute(update(finding_review).values(verdict="accepted")))
    assert kept(care_db) == [REVIEW]


@pytest.mark.anyio
async def test_what_was_said_goes_with_the_images_of_an_erased_person(care_db: Database, tmp_path: Path) -> None:
    hub = ImagingHub.over(care_db, tmp_path)
    hub.arrive(CLINIC, dicom_files.image())
    hub.tell(CLINIC, "p1")
    await hub.indexer.read_all()
    await hub.readers.close()
    other = replace(REVIEW, review_id="r9", report=replace(REVIEW.report, study_key="0" * 64))
    assert add(care_db, REVIEW)
    assert add(care_db, other)
    care_db.write_blocking(lambda c: erased_images.empty(c, (*WHERE, "g1"), NOW_NS))
    assert kept(care_db) == []
    assert care_db.read_blocking(lambda c: finding_reviews.of_studies(c, {"0" * 64})) == [other]

"""The catalogue: what is new, known or in conflict; what a study gathers; what outlives damage."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_node.errors import CatalogueFailure
from edge_node.imaging import entries, part10, recovery, rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.judged import Verdict
from edge_node.imaging.matching import SERIES, Query
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored
from edge_node.imaging.reading import read
from edge_node.imaging.schema import FILE
from edge_node.imaging.study import Study
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set

USUAL = Picture()
NOW_NS = 1_800_000_000 * 10**9


def stored(picture: Picture = USUAL, sha256: str = "a" * 64) -> Stored:
    found = read(data_set(picture), EXPLICIT, 1 << 20)
    return Stored(1, sha256, 1000, EXPLICIT, "CT-ROOM", found)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(tmp_path)
    yield opened
    opened.close()


def take(catalog: Catalog, *objects: Stored) -> list[Verdict]:
    return [catalog.write_blocking(lambda c, one=one: rows.take(c, one, NOW_NS)) for one in objects]  # type: ignore[misc]


def only_study(catalog: Catalog) -> Study:
    (found,) = catalog.read_blocking(rows.to_offer)
    return found


def test_the_same_object_twice_is_one_and_another_content_is_a_second_version(catalog: Catalog) -> None:
    first, other = stored(), stored(sha256="b" * 64)
    assert take(catalog, first, first, other, other, first) == [
        Verdict.NEW, Verdict.KNOWN, Verdict.CONFLICT, Verdict.CONFLICT_KNOWN, Verdict.KNOWN,
    ]  # fmt: skip
    study = only_study(catalog)
    versions = catalog.read_blocking(lambda c: rows.instances(c, study.study_id))
    assert [(each.version, each.sha256[0]) for each in versions] == [(1, "a"), (2, "b")]
    assert study.conflicts == 1


def test_objects_of_one_study_are_gathered_and_each_makes_it_newer(catalog: Catalog) -> None:
    take(catalog, stored(), stored(Picture(uid="1.9"), "b" * 64), stored(Picture(study="1.5", uid="1.7"), "c" * 64))
    generations = {study.study_uid: study.generation for study in catalog.read_blocking(rows.to_offer)}
    assert generations == {"1.2.3": 2, "1.5": 1}


def test_an_object_without_a_study_is_one_by_itself(catalog: Catalog) -> None:
    without = [replace(stored(Picture(uid=uid)), sha256=uid[-1] * 64) for uid in ("1.1", "1.2")]
    take(catalog, *(replace(each, content=replace(each.content, study_uid="")) for each in without))
    assert len(catalog.read_blocking(rows.to_offer)) == 2


def test_a_study_whose_objects_name_two_patients_is_mixed(catalog: Catalog) -> None:
    take(catalog, stored())
    assert not only_study(catalog).is_mixed
    take(catalog, stored(Picture(uid="1.9", patient="P-2"), "b" * 64))
    assert only_study(catalog).is_mixed
    take(catalog, stored(Picture(uid="1.10"), "c" * 64))
    assert only_study(catalog).is_mixed


def test_what_was_offered_is_not_due_and_what_came_meanwhile_is(catalog: Catalog) -> None:
    take(catalog, stored())
    study = only_study(catalog)
    take(catalog, stored(Picture(uid="1.9"), "b" * 64))
    catalog.write_blocking(lambda c: rows.note_offered(c, study.study_id, study.generation))
    assert only_study(catalog).generation == 2
    catalog.write_blocking(lambda c: rows.note_offered(c, study.study_id, 2))
    assert catalog.read_blocking(rows.to_offer) == []


def test_a_decision_whose_it_is_makes_a_study_newer(catalog: Catalog) -> None:
    take(catalog, stored())
    study = only_study(catalog)
    catalog.write_blocking(lambda c: rows.note_offered(c, study.study_id, 1))
    assert catalog.write_blocking(lambda c: rows.assign(c, study.study_id, "person-1", "clinic"))
    assert not catalog.write_blocking(lambda c: rows.assign(c, "no-such-study", "person-1", "clinic"))
    assert (only_study(catalog).person_id, only_study(catalog).assigned_by) == ("person-1", "clinic")
    assert catalog.read_blocking(rows.unassigned) == []


def test_studies_objects_conflicts_and_the_unassigned_are_counted(catalog: Catalog) -> None:
    assert catalog.read_blocking(rows.count_of) == {"studies": 0, "unassigned": 0, "conflicts": 0, "objects": 0}
    take(catalog, stored(), stored(sha256="b" * 64))
    assert catalog.read_blocking(rows.count_of) == {"studies": 1, "unassigned": 1, "conflicts": 1, "objects": 2}


def test_what_is_written_by_whomever_changes_the_version(catalog: Catalog, tmp_path: Path) -> None:
    first = catalog.read_blocking(rows.version)
    assert catalog.read_blocking(rows.version) == first
    take(catalog, stored())
    second = catalog.read_blocking(rows.version)
    assert second != first
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("UPDATE study SET description = 'x'")
    other.close()
    assert catalog.read_blocking(rows.version) != second


def test_a_newer_catalogue_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Catalog(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(CatalogueFailure, match="version 99 is newer"):
        Catalog(tmp_path)


def test_a_failing_transaction_stores_nothing(catalog: Catalog) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        rows.take(connection, stored(), NOW_NS)
        connection.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(CatalogueFailure):
        catalog.write_blocking(fails)
    assert catalog.read_blocking(rows.count_of)["objects"] == 0


def test_a_damaged_catalogue_is_set_aside_and_made_again_from_the_objects(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    for uid, patient in (("1.1", "P-1"), ("1.2", "P-1")):
        objects.put(part10.head(CT, uid, EXPLICIT), data_set(Picture(uid=uid, patient=patient)))
    (tmp_path / "objects" / "ab").mkdir(exist_ok=True)
    (tmp_path / "objects" / "ab" / ("ab" * 32)).write_bytes(b"rubbish")
    whole = part10.head(CT, "1.3", EXPLICIT) + data_set(Picture(uid="1.3"))
    (tmp_path / "objects" / "ab" / ("a" + "b" * 63)).write_bytes(whole[:-10])
    (tmp_path / FILE).write_bytes(b"no database " * 1000)
    catalog = Catalog(tmp_path)
    try:
        assert not catalog.read_blocking(rows.is_listed)
        assert recovery.list_again(objects, catalog, 1 << 20) == 2
        study = only_study(catalog)
        found = catalog.read_blocking(lambda c: rows.instances(c, study.study_id))
        assert [objects.path(each.sha256).exists() for each in found] == [True, True]
        assert len(list(tmp_path.glob("imaging.db.damaged-*"))) == 1
    finally:
        catalog.close()


def test_series_of_two_studies_are_two_though_they_bear_one_name_or_none(catalog: Catalog) -> None:
    for number, series in enumerate(("", "", "1.5", "1.5")):
        one = stored(Picture(uid=f"1.1.{number}", study=f"1.2.{number}"), f"{number}" * 64)
        take(catalog, replace(one, content=replace(one.content, series_uid=series)))
    asked = Query(SERIES, {"StudyInstanceUID": "1.2.0\\1.2.1\\1.2.2\\1.2.3"}, ())
    found = catalog.read_blocking(lambda c: list(entries.of_level(c, asked)))
    assert sorted(str(each["StudyInstanceUID"]) for each in found) == ["1.2.0", "1.2.1", "1.2.2", "1.2.3"]


def test_studies_come_page_by_page_the_newest_first(catalog: Catalog) -> None:
    for number, at_ns in enumerate((5, 7, 7, 7, 9)):
        one = stored(Picture(uid=f"1.1.{number}", study=f"1.2.{number}"), f"{number}" * 64)
        catalog.write_blocking(lambda c, one=one, at_ns=at_ns: rows.take(c, one, at_ns))  # type: ignore[misc]
    every = [each.study_id for each in catalog.read_blocking(rows.studies)]
    assert len(every) == 5
    seen, after = list[str](), ""
    while page := catalog.read_blocking(lambda c, after=after: rows.studies(c, 2, after)):  # type: ignore[misc]
        seen += [each.study_id for each in page]
        after = seen[-1]
    assert seen == every
    assert catalog.read_blocking(lambda c: rows.studies(c, 2, "no-such-study")) == []
    found = catalog.read_blocking(lambda c: rows.study(c, every[2]))
    assert found is not None
    assert found.study_id == every[2]
    assert catalog.read_blocking(lambda c: rows.study(c, "no-such-study")) is None

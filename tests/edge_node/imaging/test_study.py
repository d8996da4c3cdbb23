"""Whose a study is, when it is complete, and which image shows it."""

from dataclasses import replace

import pytest

from edge_node.imaging.study import Episode, Instance, Patient, Study, goes_ahead, is_complete, key_image, whose

GU = Episode("gu", frozenset({("BAOSHAN", "P-1")}), "1952-03-14", "female")
OTHER = Episode("other", frozenset({("BAOSHAN", "P-2"), ("NATIONAL", "X-9")}))
STUDY = Study("s", "1.2", Patient("P-1"), "", "", "", "", False, 0, 100, 1, 0, "")
IMAGE = Instance("1.1", "a" * 64, 1, "1.5", "1.2", "1.2.1", 10, "CT", "", "2", "1", 64, 64, 1, "")


@pytest.mark.parametrize(
    ("patient", "person"),
    [
        (Patient("P-1"), "gu"),
        (Patient("P-1", "BAOSHAN"), "gu"),
        (Patient("P-1", "ELSEWHERE"), ""),
        (Patient("P-1", "", "Somebody^Else"), "gu"),
        (Patient("P-1", "", "", "19520314", "F"), "gu"),
        (Patient("P-1", "", "", "19520315", "F"), ""),
        (Patient("P-1", "", "", "", "M"), ""),
        (Patient("P-1", "", "", "unknown", "O"), "gu"),
        (Patient("X-9"), "other"),
        (Patient("P-3"), ""),
        (Patient("p-1"), ""),
        (Patient(""), ""),
    ],
)
def test_a_study_is_of_whom_its_identifier_names_if_nothing_speaks_against_it(patient: Patient, person: str) -> None:
    assert whose(patient, [GU, OTHER]) == person


def test_an_identifier_of_two_people_names_neither() -> None:
    assert whose(Patient("P-1"), [GU, replace(OTHER, identifiers=frozenset({("OLD", "P-1")}))]) == ""
    assert whose(Patient(""), [Episode("nobody", frozenset({("BAOSHAN", "")}))]) == ""


def test_a_study_is_complete_when_nothing_came_for_a_while_and_something_is_new() -> None:
    assert not is_complete(STUDY, 100 + 29, 30)
    assert is_complete(STUDY, 100 + 30, 30)
    assert not is_complete(replace(STUDY, offered_generation=1), 1000, 30)


def test_the_key_image_is_the_middle_of_the_longest_series() -> None:
    scout = replace(IMAGE, series_uid="1.0", series_number="1")
    slices = [replace(IMAGE, sop_instance_uid=f"1.1.{n}", instance_number=str(n)) for n in (10, 2, 1, 9, 5)]
    found = key_image([scout, *slices])
    assert found is not None
    assert found.instance_number == "5"


@pytest.mark.parametrize("change", [{"fault": "cut"}, {"modality": "SEG"}, {"rows": 0}])
def test_what_cannot_be_shown_is_no_key_image(change: dict[str, str]) -> None:
    assert key_image([replace(IMAGE, **change)]) is None  # type: ignore[arg-type]
    assert key_image([]) is None


def test_reports_and_plain_pictures_go_ahead_of_images_unless_they_are_large() -> None:
    kinds = [("SR", 100_000), ("OT", 900_000), ("OT", 3 * 2**20), ("SEG", 1000), ("CT", 1000)]
    assert [goes_ahead(*kind) for kind in kinds] == [True, True, False, False, False]

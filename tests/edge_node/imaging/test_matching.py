"""What a query asks for and which entries it means, by the standard's rules of matching."""

import time
import warnings

import pytest
from pydicom import Dataset

from edge_node.imaging.matching import NotAnswerable, answer, matching, query_of

ENTRY: dict[str, object] = {
    "PatientID": "P-1",
    "PatientName": "Gu^Yu[1]",
    "StudyInstanceUID": "1.2.3",
    "StudyDate": "20261126",
    "ModalitiesInStudy": ["CT", "SR"],
    "NumberOfStudyRelatedInstances": 4,
}


def identifier(level: str = "STUDY", **keys: object) -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel = level
    with warnings.catch_warnings():
        # A wildcard is no UID, and is asked for all the same.
        warnings.simplefilter("ignore")
        for name, value in keys.items():
            setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("keys", "is_meant"),
    [
        ({}, True),
        ({"PatientID": ""}, True),
        ({"PatientID": "P-1"}, True),
        ({"PatientID": "P-11"}, False),
        ({"PatientID": "P"}, False),
        ({"PatientName": "gu*"}, True),
        ({"PatientName": "GU^Y?*"}, True),
        ({"PatientName": "gu^yu[1]"}, True),
        ({"PatientName": "*yu"}, False),
        ({"PatientName": "?u^yu[[]1]"}, False),
        ({"StudyInstanceUID": "1.2.3"}, True),
        ({"StudyInstanceUID": ["1.9", "1.2.3"]}, True),
        ({"StudyInstanceUID": "1.2"}, False),
        ({"StudyDate": "20261126"}, True),
        ({"StudyDate": "20261101-20261130"}, True),
        ({"StudyDate": "20261127-"}, False),
        ({"StudyDate": "-20261126"}, True),
        ({"ModalitiesInStudy": "CT"}, True),
        ({"ModalitiesInStudy": "MR"}, False),
        ({"NumberOfStudyRelatedInstances": "99"}, True),
    ],
)
def test_an_entry_is_meant_where_every_key_fits(keys: dict[str, object], is_meant: bool) -> None:
    query = query_of(identifier(**keys), is_move=False)  # type: ignore[arg-type]
    assert list(matching(query, [ENTRY])) == ([ENTRY] if is_meant else [])


def test_a_date_that_is_none_means_nothing() -> None:
    entry = {**ENTRY, "StudyDate": ""}
    assert list(matching(query_of(identifier(StudyDate="20261101-20261130"), is_move=False), [entry])) == []


def test_only_what_was_asked_for_is_answered_and_what_is_not_known_is_empty() -> None:
    asked = identifier(PatientID="", PatientBirthDate="", NumberOfStudyRelatedInstances=None, AccessionNumber="")
    told = answer(query_of(asked, is_move=False), ENTRY, "YUANZHEN")
    assert {element.keyword: str(element.value or "") for element in told} == {
        "SpecificCharacterSet": "ISO_IR 192",
        "QueryRetrieveLevel": "STUDY",
        "RetrieveAETitle": "YUANZHEN",
        "PatientID": "P-1",
        "PatientBirthDate": "",
        "NumberOfStudyRelatedInstances": "4",
    }


def test_what_a_modality_wrote_against_the_standard_is_told_as_it_is() -> None:
    entry = {**ENTRY, "StudyDate": "26 Nov", "PatientID": "x" * 100}
    told = answer(query_of(identifier(StudyDate="", PatientID=""), is_move=False), entry, "YUANZHEN")
    assert (told.StudyDate, told.PatientID) == ("26 Nov", "x" * 100)


@pytest.mark.parametrize(
    ("level", "keys", "is_move"),
    [
        ("", {}, False),
        ("PATIENT", {"PatientID": "P-1"}, False),
        ("SERIES", {}, False),
        ("IMAGE", {"SOPInstanceUID": "1.2"}, False),
        ("STUDY", {}, True),
        ("STUDY", {"StudyInstanceUID": "*"}, True),
        ("SERIES", {"StudyInstanceUID": "1.2"}, True),
        ("STUDY", {"StudyInstanceUID": [f"1.{number}" for number in range(1001)]}, True),
    ],
)
def test_what_does_not_say_enough_is_not_answered(level: str, keys: dict[str, object], is_move: bool) -> None:
    with pytest.raises(NotAnswerable):
        query_of(identifier(level, **keys), is_move=is_move)


def test_a_pattern_made_to_take_long_does_not() -> None:
    query = query_of(identifier(PatientName="*a" * 30 + "b"), is_move=False)
    began_s = time.process_time()
    assert list(matching(query, [{**ENTRY, "PatientName": "a" * 200}])) == []
    assert time.process_time() - began_s < 0.5

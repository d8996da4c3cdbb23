"""What people say of a file: whose it is is found by identifier alone, and what is not understood is refused."""

import datetime

import pytest
from telemed.v1 import event_pb2

from edge_node.importing import asking
from edge_node.importing.asking import Ask
from edge_node.importing.order import Subject
from edge_node.importing.reasons import NotImported, Reason
from edge_node.samples.roster import Person


def person(person_id: str, *identifiers: tuple[str, str], **facts: str) -> Person:
    told = [event_pb2.Identifier(system=system, value=value) for system, value in identifiers]
    usual = {"family_name": "谷", "given_name": "雨", "birth_date": "1952-03-14", "gender": "female"}
    return Person(person_id, event_pb2.PersonRegistered(**(usual | facts), identifiers=told))


PERSONS = [
    person("p-1", ("BAOSHAN", "P-1"), ("NATIONAL", "N-1")),
    person("p-2", ("BAOSHAN", "P-2"), ("ELSEWHERE", "P-3"), family_name="A^B=", given_name="", gender="unknown"),
    person("p-3", ("BAOSHAN", "P-3"), birth_date="1952"),
]


def test_what_the_roster_knows_is_what_is_written() -> None:
    assert asking.person(Ask(patient="N-1"), PERSONS) == ("p-1", Subject("N-1", "NATIONAL", "谷^雨", "19520314", "F"))
    assert asking.person(Ask(patient="P-2"), PERSONS) == ("p-2", Subject("P-2", "BAOSHAN", "A B", "19520314", ""))
    assert asking.person(Ask(patient="P-3", issuer="BAOSHAN"), PERSONS)[1].birth_date == ""


@pytest.mark.parametrize(
    ("patient", "issuer", "reason"),
    [
        ("P-9", "", Reason.PERSON_UNKNOWN),
        ("P-1", "NATIONAL", Reason.PERSON_UNKNOWN),
        ("谷雨", "", Reason.PERSON_UNKNOWN),
        ("P-3", "", Reason.PERSON_AMBIGUOUS),
    ],
)
def test_nobody_is_guessed_at(patient: str, issuer: str, reason: Reason) -> None:
    with pytest.raises(NotImported) as refusal:
        asking.person(Ask(patient=patient, issuer=issuer), PERSONS)
    assert refusal.value.reason is reason


def test_what_is_said_is_read_back_as_it_was_written() -> None:
    said = Ask(
        patient='P-"1', issuer="BAOSHAN", modality="MR", description="头颅\u3000\x85", date=datetime.date(2026, 11, 20),
        axes="LPS",
    )  # fmt: skip
    back = asking.load(asking.dump(said))
    assert back == said
    assert back.study_date == "20261120"
    assert asking.load(b"\xef\xbb\xbf" + asking.dump(Ask(patient="P-1"))) == Ask(patient="P-1"), "as Windows writes it"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"patient = 1",
        b"patient = ''",
        b"patient = 'P-1'\nname = 'x'",
        b"patient = 'P-1'\nmodality = 'PT'",
        b"patient = 'P-1'\naxes = 'LAS'",
        b"patient = 'P-1'\ndate = 'soon'",
        b'patient = "P-1\\t"',
        b"patient = 'P-1'\ndescription = 'head\\neck'",
        b'patient = "P-1"\nissuer = "A\\nB"',
        b"\xff\xfe",
        b"a = " + b"[" * 5000,
        b"patient = 'P-1'\n#" + b"x" * asking.LIMIT_BYTES,
    ],
)
def test_what_says_something_else_is_refused(raw: bytes) -> None:
    with pytest.raises(NotImported) as refusal:
        asking.load(raw)
    assert refusal.value.reason is Reason.SIDECAR_WRONG


def test_what_dicom_cannot_hold_is_told_in_plain_words() -> None:
    with pytest.raises(NotImported) as refusal:
        asking.load(b'patient = "P-1\\t"')
    assert refusal.value.detail == (
        "patient: DICOM holds at most 64 characters, without line ends, other control characters and backslashes"
    )

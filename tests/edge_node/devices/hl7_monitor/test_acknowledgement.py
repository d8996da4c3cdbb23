"""Every row of the acknowledgement table of clinical 3.2."""

from datetime import timedelta, timezone

import hl7
import pytest

from edge_node.devices.hl7_monitor import acknowledgement
from edge_node.devices.hl7_monitor.acknowledgement import Outcome, Reply
from edge_node.devices.hl7_monitor.frames import parse
from edge_node.devices.hl7_monitor.numerics import FieldError
from tests.edge_node.devices.hl7_monitor.conftest import EXAMPLE, EXAMPLE_SENT_NS

CHINA = timezone(timedelta(hours=8))
ROWS = [
    ("", "", ["AA"], ["AE"], ["AR"]),
    ("NE", "AL", ["AA"], ["AE"], ["AR"]),
    ("AL", "NE", ["CA"], ["CE"], ["CR"]),
    ("AL", "", ["CA"], ["CE"], ["CR"]),
    ("AL", "AL", ["CA", "AA"], ["CA", "AE"], ["CR"]),
    ("ER", "NE", [], ["CE"], ["CR"]),
    ("SU", "NE", ["CA"], [], []),
    ("NE", "ER", [], ["AE"], ["AR"]),
    ("NE", "SU", ["AA"], [], []),
    ("NE", "NE", [], [], []),
    ("", "NE", [], [], []),
]


@pytest.mark.parametrize(("accept", "application", "stored", "faulty", "refused"), ROWS)
def test_the_conditions_of_the_sender_decide_the_answers(
    accept: str, application: str, stored: list[str], faulty: list[str], refused: list[str]
) -> None:
    msh = parse(EXAMPLE.replace(b"|||NE|AL|", f"|||{accept}|{application}|".encode(), 1)).msh
    assert acknowledgement.codes(msh, Outcome.STORED) == stored
    assert acknowledgement.codes(msh, Outcome.FAULTY) == faulty
    assert acknowledgement.codes(msh, Outcome.REFUSED) == refused
    silent = not (stored or faulty or refused)
    assert acknowledgement.is_silent(msh) is silent


def test_the_answer_swaps_the_ends_echoes_the_id_and_names_the_field() -> None:
    error = FieldError("OBX", 6, 5, "102", "Data type error")
    text = acknowledgement.text_of(parse(EXAMPLE), Reply("AE", [error], "GW-1", EXAMPLE_SENT_NS, CHINA))
    lines = text.decode().split("\r")
    assert lines[0] == (
        "MSH|^~\\&|EDGE-GW|BAOSHAN-EDGE|QY-MON|BAOSHAN-CLINIC|20261120073015.250+0800||ACK^R01^ACK|GW-1|P|2.6"
        "|||||CHN|UNICODE UTF-8"
    )
    assert lines[1] == "MSA|AE|BS01-20261120-000417"
    assert lines[2].startswith("ERR||OBX^6^5|102^Data type error^HL70357|E")
    oracle = hl7.parse(text.decode())
    assert str(oracle.segment("MSA")[2]) == "BS01-20261120-000417"


def test_a_message_whose_head_cannot_be_read_is_answered_without_an_id() -> None:
    text = acknowledgement.text_of(None, Reply("AR", [], "GW-1", EXAMPLE_SENT_NS, CHINA)).decode()
    assert text.split("\r")[1] == "MSA|AR"
    assert text.startswith("MSH|^~\\&|EDGE-GW|YUANZHEN|||")


def test_other_separators_are_used_in_the_answer_too() -> None:
    odd = EXAMPLE.replace(b"|", b"!").replace(b"^~\\&", b"@~\\&", 1).replace(b"^", b"@")
    text = acknowledgement.text_of(parse(odd), Reply("AA", [], "GW-1", EXAMPLE_SENT_NS, CHINA)).decode()
    assert text.split("\r")[1] == "MSA!AA!BS01-20261120-000417"
    assert "!ACK@R01@ACK!" in text


def test_at_most_twenty_errors_are_told() -> None:
    errors = [FieldError("OBX", number, 5, "102", "Data type error") for number in range(50)]
    text = acknowledgement.text_of(parse(EXAMPLE), Reply("AE", errors, "GW-1", EXAMPLE_SENT_NS, CHINA)).decode()
    assert text.count("\rERR|") == 20

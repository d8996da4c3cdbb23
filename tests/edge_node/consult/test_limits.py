"""Row 34 of the bad-input table: what never reaches the media library."""

import json

import pytest

from edge_node.consult.limits import CANDIDATE_LIMIT, read_body, read_candidate, read_description
from edge_node.errors import SignalRefused

SDP = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"


@pytest.mark.parametrize("text", ["x" * 1_000_000, '{"sdp": "%s"}' % ("a" * 70_000), "[1]", "{", "[" * 60_000, "nul"])
def test_a_body_that_is_too_large_or_no_object_is_refused(text: str) -> None:
    with pytest.raises(SignalRefused):
        read_body(text)


def test_an_empty_body_is_an_empty_object() -> None:
    assert read_body("") == {}


def test_ten_thousand_candidates_are_refused() -> None:
    sdp = SDP + "a=candidate:1 1 UDP 1 10.0.0.1 9 typ host\n" * 10_000
    with pytest.raises(SignalRefused, match="candidates"):
        read_description({"sdp": sdp})


def test_candidates_up_to_the_limit_are_taken() -> None:
    sdp = SDP + "a=candidate:1 1 UDP 1 10.0.0.1 9 typ host\r\n" * CANDIDATE_LIMIT
    assert read_description({"sdp": sdp, "attempt": 3}) == (sdp, 3)


def test_many_media_sections_are_refused() -> None:
    with pytest.raises(SignalRefused, match="media"):
        read_description({"sdp": "v=0\r\n" + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 20})


@pytest.mark.parametrize("body", [{}, {"sdp": 1}, {"sdp": SDP, "attempt": "1"}, {"sdp": SDP, "attempt": 0}])
def test_a_description_without_its_parts_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(SignalRefused):
        read_description(body)


@pytest.mark.parametrize("body", [{}, {"candidate": "x"}, {"candidate": {"candidate": "x" * 5000}}])
def test_a_candidate_without_its_parts_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(SignalRefused):
        read_candidate(json.loads(json.dumps(body)))

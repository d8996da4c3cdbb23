"""HL7 v2 text: the same as the oracles hl7 and hl7apy read, and no input that makes it fall over."""

import asyncio
from datetime import UTC

import hl7
import hl7apy.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.config import Hl7Config
from edge_node.devices.hl7_monitor import frames
from edge_node.devices.hl7_monitor.acknowledgement import Outcome
from edge_node.devices.hl7_monitor.counters import Counters
from edge_node.devices.hl7_monitor.frames import CharsetRefused, Separators, Unreadable, escape, parse, unescape
from edge_node.devices.hl7_monitor.intake import Desk
from tests.edge_node.devices.hl7_monitor.conftest import DEVICE, EXAMPLE, EXAMPLE_TEXT, OCCUPANT, Store

PLAIN = Separators()


def test_every_field_of_the_example_is_what_the_oracle_hl7_reads() -> None:
    message, oracle = parse(EXAMPLE), hl7.parse(EXAMPLE_TEXT)
    assert len(message.segments) == len(oracle)
    for ours, theirs in zip(message.segments, oracle, strict=True):
        assert len(ours.fields) == len(theirs)
        for number in range(1, len(theirs)):
            assert ours.raw(number) == str(theirs[number])


def test_components_of_the_example_are_what_the_oracle_hl7apy_reads() -> None:
    oracle = hl7apy.parser.parse_message(EXAMPLE_TEXT, find_groups=False)
    message = parse(EXAMPLE)
    ours = [segment for segment in message.segments if segment.name == "OBX"]
    for theirs, segment in zip(oracle.obx, ours, strict=True):
        assert segment.component(3, 1) == theirs.obx_3.obx_3_1.value
        assert segment.component(3, 2) == theirs.obx_3.obx_3_2.value
        assert segment.raw(4) == theirs.obx_4.value
        assert segment.raw(14) == (theirs.obx_14.value or "")
    assert message.msh.component(3, 2) == oracle.msh.msh_3.msh_3_2.value


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"))))
def test_what_is_escaped_comes_back(text: str) -> None:
    sent = escape(text, PLAIN)
    assert not set("|^~&") & set(sent)
    assert unescape(sent, PLAIN) == text


@pytest.mark.parametrize(
    ("text", "read"),
    [(r"a\F\b", "a|b"), (r"a\X4142\b", "aABb"), (r"a\.br\b", "ab"), ("a\\b", "a\\b"), (r"\E\F\E\ ", r"\F\ ")],
)
def test_escapes_are_resolved(text: str, read: str) -> None:
    assert unescape(text, PLAIN) == read


@pytest.mark.parametrize("mark", list(".*+?()[]{}|^$-/!#"))
def test_an_escape_of_a_sign_that_means_something_to_a_pattern_is_that_sign_alone(mark: str) -> None:
    found = Separators(field="\x01", component="\x02", repetition="\x03", escape=mark, subcomponent="\x04")
    assert unescape(f"a{mark}F{mark}b{mark}X4142{mark}", found) == "a\x01bAB"
    assert unescape("aFb (F) aaa", found) == "aFb (F) aaa"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"MSH",
        b"PID|",
        b"MSH|^~\\\\&|x",
        b"MSH|^^\\&|",
        b"MSH|ab\\&|",
        b"MSHA^~\\&A",
        b"MSH|^~\\&|\rnot a segment\r",
    ],
)
def test_what_is_no_message_is_unreadable(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(payload)


def test_lf_and_crlf_end_segments_too() -> None:
    for end in (b"\n", b"\r\n"):
        assert len(parse(EXAMPLE.replace(b"\r", end)).segments) == 18


def test_gb18030_whose_bytes_hold_separators_is_split_after_decoding() -> None:
    name = "亅乗亊"  # second bytes of GB18030 may be 0x7C, the field separator
    assert b"|" in name.encode("gb18030") or b"^" in name.encode("gb18030")
    text = EXAMPLE_TEXT.replace("UNICODE UTF-8", "GB18030").replace("示例^患者", f"{name}^患者")
    pid = parse(text.encode("gb18030")).first("PID")
    assert pid is not None
    assert pid.component(5, 1) == name


@pytest.mark.parametrize("charset", ["ISO IR87", "UNICODE UTF-16", "ASCII", "GB18030x"])
def test_a_charset_that_is_not_taken_is_refused_unless_all_is_ascii(charset: str) -> None:
    with pytest.raises(CharsetRefused):
        parse(EXAMPLE_TEXT.replace("UNICODE UTF-8", charset).encode())
    plain = EXAMPLE_TEXT.replace("UNICODE UTF-8", charset).encode("ascii", "replace")
    assert parse(plain).codec == "ascii"


SIGNS = st.text(st.sampled_from("MSHPIDOBXRV|^~\\&\r\n0123456789.+-eNaT 示\x0b\x1b"), max_size=400)
SPOILT = st.builds(
    lambda at, cut, put: EXAMPLE[:at] + put + EXAMPLE[at + cut :],
    st.integers(0, len(EXAMPLE)),
    st.integers(0, 40),
    st.one_of(st.binary(max_size=20), SIGNS.map(lambda text: text.encode()[:60])),
)


def fate(payload: bytes) -> Outcome:
    desk = Desk(Hl7Config(), (DEVICE,), lambda _bed: OCCUPANT, UTC, Counters())
    store = Store()
    _, result = asyncio.run(desk.take(payload, 1_795_131_015_250_000_000, store.deliver))
    for part in store.sets:
        assert part.values
        assert -(2**63) < part.measured_at_ns < 2**63
    if result.outcome is Outcome.STORED:
        assert store.intakes
    return result.outcome


@settings(max_examples=300)
@given(st.one_of(SPOILT, st.binary(max_size=200), SIGNS.map(lambda text: b"MSH|^~\\&|" + text.encode())))
def test_no_message_however_spoilt_makes_the_receiver_fall_over(payload: bytes) -> None:
    assert fate(payload) in tuple(Outcome)


def test_the_header_of_a_message_in_a_wrong_charset_can_still_be_answered() -> None:
    head = frames.header_of(EXAMPLE_TEXT.encode("gb18030"))
    assert head is not None
    assert head.msh.component(10) == "BS01-20261120-000417"

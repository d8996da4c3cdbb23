"""What pages and programs send over HTTP and the live socket: JSON bodies, search parameters, signals."""

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from urllib.parse import parse_qsl

from aiortc.sdp import SessionDescription, candidate_from_sdp
from pydantic import TypeAdapter, ValidationError
from telemed import screen

from cloud_hub.consult.rooms import check_body
from cloud_hub.errors import BadRequest
from cloud_hub.fhir import parameters
from cloud_hub.web.limits import DEPTH_LIMIT, JsonRefused, check_json
from edge_node.bedside import jsonguard
from edge_node.consult import limits, pipe
from edge_node.consult.peer import UNREADABLE, CameraPeer, Sources
from edge_node.errors import SignalRefused
from tests.fuzz.target import Target

MESSAGE: TypeAdapter[screen.PageMessage] = TypeAdapter(screen.PageMessage)
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic:WMS *\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\na=mid:0\r\na=rtcp-mux\r\n"
    "a=rtpmap:97 VP8/90000\r\n"
    "a=rtcp-fb:97 nack\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=setup:actpass\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
    "a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host\r\na=end-of-candidates\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sctp-port:5000\r\n"
    "a=max-message-size:65536\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=setup:actpass\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
)
CANDIDATE = "1 1 udp 2130706431 127.0.0.1 40000 typ host"


def body(data: bytes) -> None:
    """Pass where both faces refuse a body by name, and what they let through is JSON within the limits."""
    try:
        check_json(data)
        _within_limits(json.loads(data))
    except JsonRefused:
        pass
    try:
        jsonguard.check(data)
        _within_limits(json.loads(data))
    except jsonguard.BadBody:
        pass


def _within_limits(value: object, depth: int = 0) -> None:
    assert depth <= DEPTH_LIMIT
    assert not isinstance(value, str) or "\0" not in value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        _within_limits(one, depth + 1)


def search(data: bytes) -> None:
    """Pass where a search is read, or refused as a bad request that names the parameter."""
    values = parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True)
    for resource, known in parameters.SEARCH.items():
        try:
            parameters.check(resource, values)
            assert 0 < parameters.count(values) <= parameters.COUNT_LIMIT
            for one in known:
                if one.type == "token":
                    parameters.tokens(values, one.name)
                elif one.type == "date":
                    from_ns, to_ns = parameters.bounds(parameters.spans(values, one.name, timedelta(hours=8)))
                    assert -(2**63) < from_ns < 2**63 > to_ns > -(2**63), "beyond what a database can compare"
            parameters.references(values, ("patient", "subject"), "Patient")
            parameters.number_cursor(values, 2)
        except BadRequest as refused:
            _says_why(refused.fields)


def signal(data: bytes) -> None:
    """Pass where a signal of a page is refused by name at socket, hub or node, or its parts can be read."""
    try:
        message = MESSAGE.validate_json(data)
    except ValidationError:
        return
    if not isinstance(message, screen.SignalMessage):
        return
    text = message.signal.body
    line = pipe.Step(message.signal.consult_id, message.signal.kind, text)
    assert pipe.unpack(pipe.pack(line)) == line
    try:
        check_body(text)
        said = limits.read_body(text)
        sdp, _attempt = limits.read_description(said)
        candidate, _attempt = limits.read_candidate(said)
    except (BadRequest, SignalRefused):
        return
    assert sdp.count("m=") >= 0
    assert len(str(candidate.get("candidate", ""))) <= limits.CANDIDATE_LIMIT_BYTES


def description(data: bytes) -> None:
    """Pass where a description and a candidate are read, or fail as the peer connection expects it of its library."""
    text = data.decode("utf-8", "replace")
    try:
        limits.read_description({"sdp": text})
    except SignalRefused:
        return
    with contextlib.suppress(*UNREADABLE):
        SessionDescription.parse(text)
    with contextlib.suppress(*UNREADABLE):
        candidate_from_sdp(text)


def offer(data: bytes) -> None:
    """Pass where an offer is answered, or refused in both languages, and candidates after it as well."""
    asyncio.run(_offered(data.decode("utf-8", "replace")))


async def _offered(text: str) -> None:
    peer = CameraPeer(Sources(None, None), [], "720p", lambda: None)
    try:
        answer: Mapping[str, object] = await peer.answer(text, 1)
        assert str(answer["sdp"]).startswith("v=0")
        await peer.take_candidate({"candidate": "candidate:" + text[:200], "sdpMid": "0"}, 1)
    except SignalRefused as refused:
        _says_why(refused.zh and refused.en)
    finally:
        await peer.close()


def _says_why(words: object) -> None:
    assert words, "a refusal without a reason"


def bodies() -> Iterable[bytes]:
    """Bodies within the limits, and just over them."""
    yield b'{"username": "a", "password": "b", "list": [1, 2.5e3, true, null, "\\u4e2d"]}'
    yield b'{"a": {"a": [{"b": -0.0}]}}'
    yield b"[" * 32 + b"]" * 32
    yield b'{"n": ' + b"9" * 40 + b"}"


def searches() -> Iterable[bytes]:
    """Searches as programs make them."""
    yield b"patient=Patient/p-1&code=http://loinc.org|8867-4,8480-6&date=ge2026-11-26T08:00:00%2B08:00&_count=50"
    yield b"name=a&birthdate=1952-03&_lastUpdated=gt2026&identifier=BAOSHAN|P-1&_cursor=MXwy"
    yield b"date=ne2026-02-29&date=lt9999-12-31&_count=200"


def signals() -> Iterable[bytes]:
    """An offer and a candidate as a page sends them."""
    one = {"consult_id": "c1", "from_peer": "hub", "to_peer": "camera", "kind": "offer", "bed_key": "s:B01"}
    said = {"sdp": SDP, "attempt": 1, "candidate": {"candidate": CANDIDATE, "sdpMid": "0"}}
    yield json.dumps({"type": "signal", "signal": {**one, "body": json.dumps(said)}}).encode()
    yield json.dumps({"type": "watch", "bed_keys": ["s:B01"]}).encode()


def descriptions() -> Iterable[bytes]:
    """What a browser offers, and a candidate."""
    yield SDP.encode()
    yield CANDIDATE.encode()


BODY = Target("json-body", "A body is refused by name at both faces, or is JSON within the limits.", body, bodies)
SEARCH = Target("fhir-search", "A search is read, or refused with the parameter.", search, searches)
SIGNAL = Target("signal", "A signal is refused by name, or its parts are within the limits.", signal, signals, 8192)
DESCRIPTION = Target(
    "sdp", "What the media library says of a description is what its caller expects.", description, descriptions, 8192
)
OFFER = Target("camera-offer", "An offer is answered or refused in words.", offer, lambda: [SDP.encode()], 8192)

"""What a peer may send in signalling, checked before any of it reaches the media library (reliability 4.4, row 34)."""

import json
from collections.abc import Mapping

from edge_node.errors import SignalRefused

BODY_LIMIT_BYTES = 64 * 1024
CANDIDATE_LIMIT = 64
"""Candidates of one media section, and as many again one by one after the description."""
MEDIA_LIMIT = 8
CANDIDATE_LIMIT_BYTES = 1024
ATTEMPT_LIMIT = 2**31


def read_body(text: str) -> Mapping[str, object]:
    """Return the body of a signal.

    Raises:
        SignalRefused: too large, or not a JSON object.
    """
    if len(text.encode()) > BODY_LIMIT_BYTES:
        raise SignalRefused("信令超过 64 KiB，已拒绝", "The signal is larger than 64 KiB and was refused")
    try:
        body = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise SignalRefused("信令无法读取", "The signal cannot be read") from error
    if not isinstance(body, dict):
        raise SignalRefused("信令无法读取", "The signal cannot be read")
    return body


def read_description(body: Mapping[str, object]) -> tuple[str, int]:
    """Return the SDP of an offer and the number of its attempt.

    Raises:
        SignalRefused: no SDP, or with more media sections or candidates than a consult needs.
    """
    sdp, attempt = body.get("sdp"), body.get("attempt", 1)
    if not isinstance(sdp, str) or not isinstance(attempt, int) or not 0 < attempt < ATTEMPT_LIMIT:
        raise SignalRefused("信令缺少会话描述", "The signal has no session description")
    sections = ("\n" + sdp).split("\nm=")
    if len(sections) - 1 > MEDIA_LIMIT:
        raise SignalRefused("会话描述的媒体过多", "The session description has too many media sections")
    if max(section.count("\na=candidate:") for section in sections) > CANDIDATE_LIMIT:
        raise SignalRefused("连接候选过多", "Too many connection candidates")
    return sdp, attempt


def read_candidate(body: Mapping[str, object]) -> tuple[dict[str, object], int]:
    """Return a candidate (as `RTCIceCandidateInit`) and the number of its attempt.

    Raises:
        SignalRefused: not a candidate, or an absurdly long one.
    """
    candidate, attempt = body.get("candidate"), body.get("attempt", 1)
    if not isinstance(candidate, dict) or not isinstance(attempt, int):
        raise SignalRefused("连接候选无法读取", "The connection candidate cannot be read")
    text = candidate.get("candidate", "")
    if not isinstance(text, str) or len(text) > CANDIDATE_LIMIT_BYTES:
        raise SignalRefused("连接候选无法读取", "The connection candidate cannot be read")
    return candidate, attempt

"""The alarms' datagram path between edge and hub: envelope, messages and proofs, without sockets or DTLS itself.

Layout of a datagram (one UDP payload, at most 1,200 bytes)::

    kind u8 | session 8 bytes | DTLS 1.2 records | zeros

Kind RECORDS carries DTLS both ways; kind UNKNOWN (hub to node, nothing follows the session) says that the hub
does not know this session: it was started again, or forgot.  The session is drawn by the node; it lets the hub find
a node behind a translated address that changed (what RFC 9146 does inside the record, which OpenSSL cannot).
Zeros behind the records make a question as long as its answer may become.

Inside the records, one message each: kind u8 | body.  A datagram may carry several: a node puts a ping before its
alarms, whose answer tells the round trip of that very datagram.

After the DTLS handshake, in which the hub's certificate is not looked up anywhere, the node proves that it holds its
secret and the hub proves the same, each over the channel binding: what stands in the middle has two bindings, and
neither proof fits the other.
"""

import hmac
from enum import IntEnum

from telemed.v1 import uplink_pb2

DATAGRAM_LIMIT_BYTES = 1200
"""Never more, so that no path fragments one (IPv6 carries 1,280)."""
SMALL_LIMIT_BYTES = 548
"""What is used instead where even that is too large for a path (RFC 791: every host takes 576)."""
QUESTION_BYTES = 600
"""A client hello that brings a cookie back is made this long: so no answer of the hub's is longer than its question."""
RECORDS = 0xA7
UNKNOWN = 0xA8
SESSION_BYTES = 8
ENVELOPE_BYTES = 1 + SESSION_BYTES
RECORD_HEAD_BYTES = 13
SEALED_BYTES = ENVELOPE_BYTES + RECORD_HEAD_BYTES + 8 + 16 + 1
"""What a message of one body costs beside its body: envelope, record, nonce, tag, kind."""
BODY_LIMIT_BYTES = DATAGRAM_LIMIT_BYTES - SEALED_BYTES
PROOF_BYTES = 32
TOKEN_BYTES = 8
MARK_BYTES = SEALED_BYTES - ENVELOPE_BYTES + TOKEN_BYTES
"""What a ping costs that goes along in a datagram with alarms."""
NODE_LIMIT_BYTES = 40

HANDSHAKE_RECORD = 22
DATA_RECORD = 23
_RECORD_KINDS = frozenset({20, 21, HANDSHAKE_RECORD, DATA_RECORD})
_VERSIONS = frozenset({b"\xfe\xff", b"\xfe\xfd"})
_CLIENT_HELLO = 1


class Message(IntEnum):
    """What a message inside the session is."""

    PROOF = 1  # node to hub: proof 32 bytes | name of the node
    WELCOME = 2  # hub to node: proof 32 bytes
    REFUSED = 3  # hub to node: empty; the proof or the name is wrong
    ALARMS = 4  # node to hub: wire container with records of class alarm
    RECEIPTS = 5  # hub to node: telemed.v1.Receipts
    PING = 6  # node to hub: token 8 bytes
    PONG = 7  # hub to node: the token of the ping


def envelope(session: bytes, records: bytes, question_bytes: int = 0) -> bytes:
    """Return a datagram, filled with zeros up to `question_bytes`."""
    return (bytes((RECORDS,)) + session + records).ljust(question_bytes, b"\0")


def unknown(session: bytes) -> bytes:
    """Return the datagram by which a hub says that it does not know a session."""
    return bytes((UNKNOWN,)) + session


def session_of(datagram: bytes) -> bytes:
    """Return the session that a datagram names; shorter than SESSION_BYTES if it is cut off."""
    return datagram[1:ENVELOPE_BYTES]


def records_of(datagram: bytes) -> bytes | None:
    """Return the DTLS records of a datagram without what fills it up; None if it is none of ours.

    Looks at fixed fields alone, before anything is looked up or decrypted.
    """
    if not ENVELOPE_BYTES + RECORD_HEAD_BYTES < len(datagram) <= DATAGRAM_LIMIT_BYTES or datagram[0] != RECORDS:
        return None
    at = ENVELOPE_BYTES
    while at + RECORD_HEAD_BYTES <= len(datagram) and datagram[at] in _RECORD_KINDS:
        if datagram[at + 1 : at + 3] not in _VERSIONS:
            return None
        at += RECORD_HEAD_BYTES + int.from_bytes(datagram[at + 11 : at + 13], "big")
    if at == ENVELOPE_BYTES or datagram.count(0, at) != len(datagram) - at:
        return None
    return datagram[ENVELOPE_BYTES:at]


def asks_for_session(records: bytes) -> bool:
    """Return whether these records can be the first of a handshake: an unencrypted client hello."""
    is_plain = records[0] == HANDSHAKE_RECORD and records[3:5] == b"\0\0"
    return is_plain and len(records) > RECORD_HEAD_BYTES and records[RECORD_HEAD_BYTES] == _CLIENT_HELLO


def node_proof(secret: str, node: str, binding: bytes) -> bytes:
    """Return what a node sends to show that it holds its secret on this very channel."""
    return _proof(secret, b"node", node, binding)


def hub_proof(secret: str, node: str, binding: bytes) -> bytes:
    """Return what the hub answers a node with to show the same."""
    return _proof(secret, b"hub", node, binding)


def covers(receipt: uplink_pb2.Receipt, seq: int) -> bool:
    """Return whether a receipt says that this number of its stream is stored."""
    if seq <= receipt.contig:
        return True
    return seq <= receipt.max and not any(gap.first <= seq <= gap.last for gap in receipt.gaps)


def _proof(secret: str, who: bytes, node: str, binding: bytes) -> bytes:
    said = b"\0".join((b"yuanzhen datagram 1", who, node.encode(), binding))
    return hmac.digest(secret.encode(), said, "sha256")

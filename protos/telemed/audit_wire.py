"""Entries and heads of an audit trail as the messages that carry them between edge and hub."""

import re

from telemed.audit import (
    ACTION_CHARS,
    ACTOR_CHARS,
    LARGEST,
    RESULT_CHARS,
    ROLE_CHARS,
    TARGET_CHARS,
    Entry,
    Head,
    Link,
)
from telemed.v1 import audit_pb2

STREAM = "node/audit"
"""The stream in which a node sends its trail up."""
PLACE_CHARS = 40
_TRAIL, _HASH, _SIGNATURE = (re.compile(rf"[0-9a-f]{{{count}}}") for count in (32, 64, 128))


def entry_message(trail: str, link: Link) -> audit_pb2.AuditEntry:
    """Return the message for one entry in its place."""
    entry = link.entry
    return audit_pb2.AuditEntry(
        trail=trail,
        n=link.n,
        at_unix_ns=entry.at_ns,
        actor=entry.actor,
        role=entry.role,
        action=entry.action,
        target=entry.target,
        result=entry.result,
        prev_hash=link.prev_hash,
        hash=link.hash,
        region=entry.region,
        site=entry.site,
    )


def link_of(message: audit_pb2.AuditEntry) -> Link:
    """Return what a message holds, as it came."""
    entry = Entry(
        message.at_unix_ns,
        message.actor,
        message.role,
        message.action,
        message.target,
        message.result,
        message.region,
        message.site,
    )
    return Link(message.n, entry, message.prev_hash, message.hash)


def head_message(head: Head) -> audit_pb2.AuditHead:
    """Return the message for a signed head."""
    return audit_pb2.AuditHead(
        trail=head.trail, n=head.n, hash=head.hash, at_unix_ns=head.at_ns, key=head.key, signature=head.signature
    )


def head_of(message: audit_pb2.AuditHead) -> Head:
    """Return the head that a message holds, as it came; whether it is genuine is for the caller to ask."""
    return Head(message.trail, message.n, message.hash, message.at_unix_ns, message.key, message.signature)


def is_fit(message: audit_pb2.Audit) -> bool:
    """Return whether a message can be kept; what it says may still be untrue."""
    if message.WhichOneof("body") == "head":
        return _is_fit_head(message.head)
    entry = message.entry
    words = (
        (entry.actor, ACTOR_CHARS),
        (entry.role, ROLE_CHARS),
        (entry.action, ACTION_CHARS),
        (entry.target, TARGET_CHARS),
        (entry.result, RESULT_CHARS),
        (entry.region, PLACE_CHARS),
        (entry.site, PLACE_CHARS),
    )
    is_named = _is_hex(_TRAIL, entry.trail) and _is_hex(_HASH, entry.prev_hash) and _is_hex(_HASH, entry.hash)
    is_placed = is_named and 1 <= entry.n <= LARGEST
    return is_placed and all(len(word) <= most and "\0" not in word for word, most in words)


def _is_fit_head(head: audit_pb2.AuditHead) -> bool:
    is_named = _is_hex(_TRAIL, head.trail) and _is_hex(_HASH, head.hash) and _is_hex(_HASH, head.key)
    return is_named and _is_hex(_SIGNATURE, head.signature) and 1 <= head.n <= LARGEST


def _is_hex(form: re.Pattern[str], text: str) -> bool:
    return form.fullmatch(text) is not None

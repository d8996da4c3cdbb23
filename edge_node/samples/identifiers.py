"""Ids that are made where a thing is born (decision 4): UUIDv7, so that they sort by time of birth."""

import secrets
import time
import uuid


def uuid7(now_ns: int | None = None) -> str:
    """Return a new UUIDv7 (RFC 9562) as text; `now_ns` is nanoseconds since the Unix epoch, default the present."""
    millis = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    value = (millis & (1 << 48) - 1) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def is_uuid7(text: str) -> bool:
    """True where `text` is a UUIDv7 in its usual form."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return False
    return value.version == 7 and str(value) == text.lower()

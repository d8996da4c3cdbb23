"""Identifiers of things born at the hub (decision 4)."""

import secrets
import uuid


def uuid7(unix_ns: int) -> str:
    """Return a new UUIDv7 (RFC 9562) for this instant; ids sort by the millisecond in which they were made."""
    value = (unix_ns // 10**6 & (1 << 48) - 1) << 80 | 0x7 << 76 | secrets.randbits(12) << 64
    return str(uuid.UUID(int=value | 0b10 << 62 | secrets.randbits(62)))

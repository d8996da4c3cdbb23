"""What a value looks like once it is sealed: AES-256-GCM, with the id of its key in front (pure but for the nonce).

Layout: 0x00 | key id u32 | nonce of 12 bytes | what is hidden | tag of 16 bytes.  Nothing of ours that is stored in the
open begins with a zero byte: a protobuf message has no field 0, a zstd frame begins with 0x28, JSON with a brace.  So a
value says by itself whether it is sealed, and one of earlier software is read as it always was.  Of messages that are
kept as they came, which may begin with anything, their row says it.
"""

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK = 0
_HEAD = struct.Struct(">BI")
PREFIX_BYTES = _HEAD.size
NONCE_BYTES, TAG_BYTES = 12, 16
OVERHEAD_BYTES = PREFIX_BYTES + NONCE_BYTES + TAG_BYTES


def is_sealed(stored: bytes) -> bool:
    """Return whether a stored value is hidden."""
    return stored[:1] == b"\0"


def key_id_of(stored: bytes) -> int | None:
    """Return the id of the key that opens a value, of which the first PREFIX_BYTES are enough; None: it is open."""
    if not is_sealed(stored):
        return None
    return int(_HEAD.unpack(stored[:PREFIX_BYTES])[1]) if len(stored) >= PREFIX_BYTES else 0


def seal(cipher: AESGCM, key_id: int, content: bytes, about: bytes) -> bytes:
    """Return a value sealed.

    Args:
        cipher: of the key.
        key_id: what the key is found by.
        content: what is to be hidden.
        about: what the value belongs to; it opens for nothing else.
    """
    # A random nonce repeats by chance after some 2**32 values; a key has those of one device and one day.
    nonce = os.urandom(NONCE_BYTES)
    return _HEAD.pack(MARK, key_id) + nonce + cipher.encrypt(nonce, content, about)


def unseal(cipher: AESGCM, stored: bytes, about: bytes) -> bytes | None:
    """Return what a sealed value hides; None where a byte of it was changed, or it belongs to something else."""
    nonce, hidden = stored[PREFIX_BYTES : PREFIX_BYTES + NONCE_BYTES], stored[PREFIX_BYTES + NONCE_BYTES :]
    try:
        return cipher.decrypt(nonce, hidden, about)
    except (InvalidTag, ValueError):  # the latter where hardly anything is left of it
        return None

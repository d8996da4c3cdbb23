"""The audit trail as edge and hub agree on it: what is hashed, how rows are chained, what a head signs (pure).

Format 1.  A trail is a chain of numbered entries 1, 2, 3 ... of one store, named by 128 random bits as 32 hex digits.
Everything is hashed with SHA-256 over bytes that begin with a domain of their own, so that no hash of one kind can
stand for another::

    text    length u32 | UTF-8
    begin   "yuanzhen/audit/begin/1" NUL | text trail                             the hash before entry 1
    entry   "yuanzhen/audit/entry/1" NUL | text trail | number u64 | previous hash, 32 bytes | at_ns i64
            | text actor | text role | text action | text target | text result | text region | text site
    head    "yuanzhen/audit/head/1" NUL | text trail | number u64 | hash, 32 bytes | at_ns i64 | public key, 32 bytes

All numbers are big-endian.  A head is signed with Ed25519.  Hashes, keys and signatures are stored and told as
lower-case hex.  `tests/telemed/audit_vectors.json` has examples that any other implementation must meet.
"""

import hashlib
import json
import secrets
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FORMAT = 1
HEAD_EVERY_S = 60.0
"""A trail that has grown is signed this often (reliability 4.2)."""
HASH_CHARS, TRAIL_CHARS = 64, 32
LARGEST = 2**63 - 1
"""Number and time of a head: what the databases of both sides can hold."""
ACTOR_CHARS, ROLE_CHARS, ACTION_CHARS, TARGET_CHARS, RESULT_CHARS = 64, 20, 40, 120, 40
_BEGIN = b"yuanzhen/audit/begin/1\0"
_ENTRY = b"yuanzhen/audit/entry/1\0"
_HEAD = b"yuanzhen/audit/head/1\0"
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")
_TIME = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what to what, and what came of it; only ids, never a name or a value of a patient."""

    at_ns: int
    """Nanoseconds since the Unix epoch, on the clock of who writes it."""
    actor: str
    """User name, node, or part of the program."""
    role: str
    action: str
    """Stable name, e.g. sign-in, patient-read, alarm-accept."""
    target: str
    """Id of the thing, e.g. Patient/<id>, alarm/<id>."""
    result: str
    """ok, or the code of a refusal."""
    region: str = ""
    site: str = ""

    def cut(self) -> "Entry":
        """Return the entry as it fits the columns; it is cut before it is hashed."""
        return Entry(
            self.at_ns,
            _clean(self.actor, ACTOR_CHARS),
            _clean(self.role, ROLE_CHARS),
            _clean(self.action, ACTION_CHARS),
            _clean(self.target, TARGET_CHARS),
            _clean(self.result, RESULT_CHARS),
            self.region,
            self.site,
        )


@dataclass(frozen=True, slots=True)
class Link:
    """An entry in its place."""

    n: int
    entry: Entry
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """How far a trail had come at a moment, signed by whoever keeps it."""

    trail: str
    n: int
    hash: str
    at_ns: int
    key: str
    """Public key, 64 hex digits."""
    signature: str
    """128 hex digits."""

    @property
    def is_genuine(self) -> bool:
        """Whether the signature is of this key and the numbers can be kept; whose key it is is for others to know."""
        try:
            if not (0 <= self.n <= LARGEST and 0 <= self.at_ns <= LARGEST):
                return False
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            key.verify(bytes.fromhex(self.signature), _statement(self.trail, self.n, self.hash, self.at_ns, self.key))
        except (InvalidSignature, ValueError, TypeError, AttributeError, struct.error):
            return False
        return True


def new_trail() -> str:
    """Return the name of a trail that begins now."""
    return secrets.token_hex(TRAIL_CHARS // 2)


def begin(trail: str) -> str:
    """Return the hash that stands before the first entry of a trail."""
    return hashlib.sha256(_BEGIN + _text(trail)).hexdigest()


def digest(trail: str, n: int, entry: Entry, prev_hash: str) -> str:
    """Return the hash of an entry in its place.

    Raises:
        ValueError: `prev_hash` is no hash, a number is out of its range, or a text cannot be encoded.
    """
    try:
        parts = [_ENTRY, _text(trail), _NUMBER.pack(n), bytes.fromhex(prev_hash), _TIME.pack(entry.at_ns)]
        words = (entry.actor, entry.role, entry.action, entry.target, entry.result, entry.region, entry.site)
        parts += [_text(word) for word in words]
    except (struct.error, AttributeError, TypeError) as error:
        raise ValueError("no entry of a trail") from error
    return hashlib.sha256(b"".join(parts)).hexdigest()


def chain(trail: str, n: int, prev_hash: str, entries: Iterable[Entry]) -> list[Link]:
    """Return entries as the links that come after number `n` with hash `prev_hash`."""
    links = []
    for entry in entries:
        n, cut = n + 1, entry.cut()
        links.append(Link(n, cut, prev_hash, digest(trail, n, cut, prev_hash)))
        prev_hash = links[-1].hash
    return links


def sign(key: Ed25519PrivateKey, trail: str, n: int, hash_: str, at_ns: int) -> Head:
    """Return the signed head of a trail whose last entry has this number and hash."""
    public = public_text(key)
    return Head(trail, n, hash_, at_ns, public, key.sign(_statement(trail, n, hash_, at_ns, public)).hex())


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public half of a key as heads name it."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def head_line(head: Head) -> str:
    """Return a head as one line of a file of anchors."""
    return json.dumps(asdict(head), sort_keys=True)


def head_of_line(line: str) -> Head:
    """Return the head that a line of a file of anchors holds.

    Raises:
        ValueError: the line holds none.
    """
    try:
        return Head(**json.loads(line))
    except TypeError as error:
        raise ValueError("no head of an audit trail") from error


def _statement(trail: str, n: int, hash_: str, at_ns: int, key: str) -> bytes:
    parts = (_HEAD, _text(trail), _NUMBER.pack(n), bytes.fromhex(hash_), _TIME.pack(at_ns), bytes.fromhex(key))
    return b"".join(parts)


def _text(word: str) -> bytes:
    raw = word.encode()
    return _LENGTH.pack(len(raw)) + raw


def _clean(word: str, most: int) -> str:
    """Cut a word, and take out what no database stores: NUL, and halves of characters."""
    return word[:most].replace("\0", "\ufffd").encode("utf-8", "replace").decode()

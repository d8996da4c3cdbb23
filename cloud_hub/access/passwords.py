"""Passwords: argon2id, always in a thread, never two answers of different length for known and unknown names."""

import asyncio
from functools import cache
from itertools import pairwise
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB, ROUNDS, LANES = 19 * 1024, 2, 1
"""argon2id parameters of reliability 4.2."""
LEAST_CHARACTERS = 12
LEAST_NAME, LONGEST_PATTERN = 4, 4
AT_ONCE = 2
"""Hashes computed at the same time; each takes a core for about 40 ms and 19 MiB."""

_HASHER = PasswordHasher(time_cost=ROUNDS, memory_cost=MEMORY_KIB, parallelism=LANES)


def check_new(password: str, username: str = "") -> None:
    """Pass where a password may be taken into use; pure.

    Length is what counts (no rules about kinds of letters): refused is what is short, in the list of passwords that
    were breached often, one pattern over and over, a run of neighbours, or mostly the account's own name.

    Raises:
        ValueError: the reason, in words for the person who chose it.
    """
    if len(password) < LEAST_CHARACTERS:
        raise ValueError(f"a password needs at least {LEAST_CHARACTERS} characters")
    plain = password.casefold()
    if plain in _breached() or plain.strip("0123456789!@#$.*-_ ") in _breached():
        raise ValueError("this password is in the list of breached passwords; choose another")
    if _repeats(plain) or _runs(plain):
        raise ValueError("this password is one pattern; choose another")
    name = username.casefold()
    if len(name) >= LEAST_NAME and name in plain and len(plain) - len(name) < LEAST_NAME:
        raise ValueError("this password is mostly the name of the account; choose another")


def hash_password(password: str, username: str = "") -> str:
    """Return the argon2id hash in PHC form; blocking, for programs without an event loop.

    Raises:
        ValueError: the password may not be taken into use (`check_new`).
    """
    check_new(password, username)
    return _HASHER.hash(password)


@cache
def _breached() -> frozenset[str]:
    text = Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line)


def _repeats(text: str) -> bool:
    """True where a text is a pattern of up to four letters, over and over."""
    return any(text == (text[:size] * len(text))[: len(text)] for size in range(1, LONGEST_PATTERN + 1))


def _runs(text: str) -> bool:
    """True where each letter follows the one before it in the alphabet or among the digits, up or down."""
    steps = {ord(later) - ord(earlier) for earlier, later in pairwise(text)}
    return steps in ({1}, {-1})


def is_right(password_hash: str, password: str) -> bool:
    """True where the password belongs to the hash; blocking, about 40 ms."""
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


class Verifier:
    """Checks passwords off the event loop, in equal time whether the name is known or not."""

    def __init__(self) -> None:
        self._nobody = _HASHER.hash("nobody has this password")
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def is_right(self, password_hash: str | None, password: str) -> bool:
        """True where the password belongs to the hash; None (nobody of that name) takes as long and is False."""
        async with self._turn:
            right = await asyncio.to_thread(is_right, password_hash or self._nobody, password)
        return right and password_hash is not None

"""Checking passwords: argon2id with one set of parameters on both sides, because the hub's hashes travel to the sites.

Always in a thread and only a few at once; never two answers of different length for known and unknown names.
"""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB, ROUNDS, LANES = 19 * 1024, 2, 1
"""argon2id parameters of reliability 4.2."""
AT_ONCE = 2
"""Hashes computed at the same time; each takes a core for about 40 ms and 19 MiB."""

HASHER = PasswordHasher(time_cost=ROUNDS, memory_cost=MEMORY_KIB, parallelism=LANES)


def is_right(password_hash: str, password: str) -> bool:
    """True where the password belongs to the hash; blocking, about 40 ms."""
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


class Verifier:
    """Checks passwords off the event loop, in equal time whether the name is known or not."""

    def __init__(self) -> None:
        self._nobody = HASHER.hash("nobody has this password")
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def is_right(self, password_hash: str | None, password: str) -> bool:
        """True where the password belongs to the hash; None (nobody of that name) takes as long and is False."""
        async with self._turn:
            right = await asyncio.to_thread(is_right, password_hash or self._nobody, password)
        return right and password_hash is not None

"""Checking passwords: as many at once as both sides allow, and nobody's password is nobody's."""

import asyncio
import threading

import pytest
from telemed import passwords
from telemed.passwords import AT_ONCE, HASHER, MEMORY_KIB, ROUNDS, Verifier

pytestmark = pytest.mark.anyio


async def test_the_right_password_is_right_and_no_other_nor_for_nobody() -> None:
    verifier, hashed = Verifier(), HASHER.hash("amber-birch-cedar")
    assert hashed.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={ROUNDS},p=1$")
    assert await verifier.is_right(hashed, "amber-birch-cedar")
    assert not await verifier.is_right(hashed, "amber-birch-ceder")
    assert not await verifier.is_right("not a hash", "amber-birch-cedar")
    assert not await verifier.is_right(None, "nobody has this password")


async def test_however_many_ask_few_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(AT_ONCE, timeout=5)

    def is_right(_stored: str, _password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(passwords, "is_right", is_right)
    verifier = Verifier()
    assert all(await asyncio.gather(*[verifier.is_right("x", "y") for _ in range(6 * AT_ONCE)]))
    assert most == AT_ONCE

"""Passwords that may be taken into use, and their hashes; `telemed.passwords` checks them."""

from functools import cache
from itertools import pairwise
from pathlib import Path

from telemed.passwords import HASHER

LEAST_CHARACTERS = 12
LEAST_NAME, LONGEST_PATTERN = 4, 4


def check_new(password: str, username: str = "") -> None:
    """Pass where a password may be taken into use; pure.

    Length is what counts (no rules about kinds of letters): refused is what is short, in the list of passwords that
    were breached often, one pattern over and over, a run of neighbours, or little beside the account's own name or
    words of the trade (`listed_words.txt`).

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
    if _is_of_the_trade(plain):
        raise ValueError("this password is mostly words that are guessed first here; choose another")


def hash_password(password: str, username: str = "") -> str:
    """Return the argon2id hash in PHC form; blocking, for programs without an event loop.

    Raises:
        ValueError: the password may not be taken into use (`check_new`).
    """
    check_new(password, username)
    return HASHER.hash(password)


@cache
def _breached() -> frozenset[str]:
    return frozenset(_lines("common_passwords.txt"))


@cache
def _listed() -> tuple[str, ...]:
    return tuple(sorted(_lines("listed_words.txt"), key=len, reverse=True))


def _lines(name: str) -> list[str]:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line]


def _is_of_the_trade(text: str) -> bool:
    """True where few letters are left beside words that anybody would try at a hospital."""
    rest = text
    for word in _listed():
        rest = rest.replace(word, "")
    return rest != text and sum(letter.isalpha() for letter in rest) < LEAST_NAME


def _repeats(text: str) -> bool:
    """True where a text is a pattern of up to four letters, over and over."""
    return any(text == (text[:size] * len(text))[: len(text)] for size in range(1, LONGEST_PATTERN + 1))


def _runs(text: str) -> bool:
    """True where each letter follows the one before it in the alphabet or among the digits, up or down."""
    steps = {ord(later) - ord(earlier) for earlier, later in pairwise(text)}
    return steps in ({1}, {-1})

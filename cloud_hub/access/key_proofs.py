"""Codes that stand for a key's answer just given: where a code of a second factor is asked for, such a one fits too."""

from collections import OrderedDict

from cloud_hub.access.tokens import digest, new_token

LIFETIME_NS = 120 * 1_000_000_000
REMEMBERED = 10_000
"""Codes and answers kept; only who proved a key makes one.  The oldest is forgotten first."""


class KeyProofs:
    """Gives out codes and takes each once, from the account that got it; kept in memory alone."""

    def __init__(self) -> None:
        self._ends: OrderedDict[tuple[str, str], int] = OrderedDict()

    def give(self, username: str, now_ns: int) -> str:
        """Return a code for an account whose key has answered."""
        code = new_token()
        self._remember((username, digest(code)), now_ns)
        return code

    def spend(self, username: str, code: str, now_ns: int) -> bool:
        """Take a code; False where it is none, another account's, used, or two minutes old."""
        return now_ns < self._ends.pop((username, digest(code)), 0)

    def is_first(self, challenge: str, now_ns: int) -> bool:
        """True where no answer to this challenge was taken before; one counts once."""
        key = ("", digest(challenge))
        if key in self._ends:
            return False
        self._remember(key, now_ns)
        return True

    def _remember(self, key: tuple[str, str], now_ns: int) -> None:
        self._ends[key] = now_ns + LIFETIME_NS
        while len(self._ends) > REMEMBERED:
            self._ends.popitem(last=False)

"""Which refused sign-ins, and tokens of devices, are written into the audit trail one by one (pure).

The trail is synced and never shed, so a stranger at the port must not decide how fast it grows.  Names that are known
here are counted apart, so that a crowd of fresh names does not hide what is tried on an account.
"""

STRANGERS_A_MINUTE, KNOWN_A_MINUTE = 10, 60
"""So many refusals of a minute are entries of their own."""
MINUTE_NS = 60 * 10**9
REFUSED, TOKEN_REFUSED, MANY = "sign-in-refused", "token-refused", "many-refused"


class Refusals:
    """Counts the refusals of each minute."""

    def __init__(self) -> None:
        self._minute = -1
        self._counts = {False: 0, True: 0}

    def result(self, now_ns: int, *, is_known: bool) -> str | None:
        """Return what the trail says of a refusal that comes now; None where this minute's crowd is told already.

        Args:
            now_ns: nanoseconds since the Unix epoch.
            is_known: an account of this site has the name that was tried.
        """
        minute = now_ns // MINUTE_NS
        if minute != self._minute:
            self._minute, self._counts = minute, {False: 0, True: 0}
        self._counts[is_known] += 1
        over = self._counts[is_known] - (KNOWN_A_MINUTE if is_known else STRANGERS_A_MINUTE)
        if over <= 0:
            return REFUSED
        return MANY if over == 1 else None

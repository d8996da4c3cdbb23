"""Which refused sign-ins are written into the audit trail one by one (pure).

The trail is synced and never given up, so a stranger must not decide how fast it grows.  What names an account is
counted apart, so that a crowd that names nobody does not hide what is tried on one.
"""

from dataclasses import replace

from cloud_hub.store.accounts import AuditEntry

STRANGERS_A_MINUTE, KNOWN_A_MINUTE = 10, 60
"""So many refusals of a minute are entries of their own."""
MINUTE_NS = 60 * 10**9
MANY = "many-refused"


class Refusals:
    """Counts the refusals of each minute."""

    def __init__(self) -> None:
        self._minute = -1
        self._counts = {False: 0, True: 0}

    def told(self, refusal: AuditEntry, *, is_known: bool) -> AuditEntry | None:
        """Return what is written of a refusal; None where this minute's crowd is told already.

        Args:
            refusal: as it would be written.
            is_known: it names an account of this hub.
        """
        minute = refusal.at_ns // MINUTE_NS
        if minute != self._minute:
            self._minute, self._counts = minute, {False: 0, True: 0}
        self._counts[is_known] += 1
        over = self._counts[is_known] - (KNOWN_A_MINUTE if is_known else STRANGERS_A_MINUTE)
        if over <= 0:
            return refusal
        return replace(refusal, actor="", role="", target="account", result=MANY) if over == 1 else None

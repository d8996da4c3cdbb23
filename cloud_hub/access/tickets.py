"""What somebody who is half way through signing in carries: a sealed ticket in a cookie, so that nothing is kept here.

Strangers may begin as often as they like: it costs the hub no memory and no row.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloud_hub.access.sealing import Seal
from cloud_hub.errors import StoreFailure

NS_PER_S = 1_000_000_000
LONGEST_TICKET = 4000
"""Characters; browsers keep no longer cookie."""


@dataclass(frozen=True, slots=True)
class Tickets:
    """Seals and opens tickets; one for one purpose is worth nothing for another."""

    seal: Seal
    now_ns: Callable[[], int]

    def write(self, purpose: str, fields: Mapping[str, str], lifetime_s: float) -> str:
        """Return a ticket that opens for so many seconds."""
        ends_ns = self.now_ns() + int(lifetime_s * NS_PER_S)
        body = json.dumps({"ends_ns": ends_ns, "fields": dict(fields)})
        return base64.urlsafe_b64encode(self.seal.close(body, _owner(purpose))).decode()

    def read(self, purpose: str, ticket: str) -> dict[str, str] | None:
        """Return what was written; None where it is no ticket of this hub for this purpose, or too old."""
        if not 0 < len(ticket) <= LONGEST_TICKET:
            return None
        try:
            sealed = base64.b64decode(ticket.encode(), altchars=b"-_", validate=True)
            body = json.loads(self.seal.open(sealed, _owner(purpose)))
        except (binascii.Error, UnicodeEncodeError, StoreFailure, ValueError):
            return None
        fields: dict[str, str] = body["fields"]
        return fields if self.now_ns() < body["ends_ns"] else None


def _owner(purpose: str) -> str:
    """Tickets lie under names that no account can have."""
    return f"\0{purpose}"

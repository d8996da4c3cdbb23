"""From what the broker reports of its clients to notices about nodes (bad inputs 17 and 18)."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable

from telemed.errors import Code
from telemed.topics import NodeAddress

from cloud_hub.broker_rights import Users

FLIPS_WITHIN_S = 60.0
"""A client whose connection is taken over twice within this is two machines, or a line that breaks all the time."""
REMEMBERED = 1000
_WHO = re.compile(r"\b(?:user|client)=([^\s.]+)(\S*)")
_CODES = {"topic-refused": Code.TOPIC_REFUSED, "connect-refused": Code.CONNECT_REFUSED}


class BrokerNotices:
    """Judges the lines of the embedded broker; strangers and the hub itself are passed over."""

    def __init__(
        self, users: Users, note: Callable[[NodeAddress, str], None], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Remember nothing yet.

        Args:
            users: of the secrets file; only their nodes are named.
            note: told the node and the code.
            now_s: a steady clock.
        """
        self._users, self._note, self._now_s = users, note, now_s
        self._taken_s: OrderedDict[str, float] = OrderedDict()

    def take(self, what: str, detail: str) -> None:
        """Judge one line, e.g. "topic-refused", "user=edge-clinic action=publish"."""
        found = _WHO.search(detail)
        user = self._users.by_name.get(found[1]) if found else None
        if found is None or user is None or user.node is None:
            return
        if what in _CODES:
            self._note(user.node, _CODES[what])
        elif what == "taken-over" and self._is_second_flip(found[1] + found[2]):
            self._note(user.node, Code.NODE_TAKEN_OVER)

    def _is_second_flip(self, client: str) -> bool:
        now_s, last_s = self._now_s(), self._taken_s.pop(client, None)
        self._taken_s[client] = now_s
        if len(self._taken_s) > REMEMBERED:
            self._taken_s.popitem(last=False)
        return last_s is not None and now_s - last_s <= FLIPS_WITHIN_S

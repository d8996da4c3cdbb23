"""A page's live socket, without the page."""

import json
import time
from typing import Any

from websockets.sync.client import ClientConnection, connect


class Screen:
    """A page's live socket: keeps what it was told."""

    def __init__(self, url: str, cookie: str) -> None:
        address = url.replace("http", "ws") + "/api/v1/live"
        self.socket: ClientConnection = connect(
            address, additional_headers={"Cookie": f"yz_session={cookie}", "Origin": url}
        )
        self.snapshot = self.next("snapshot")

    def next(self, kind: str, limit_s: float = 20) -> dict[str, Any]:
        """Return the next message of a kind."""
        return self.until(kind, lambda _message: True, limit_s)

    def until(self, kind: str, condition: Any, limit_s: float = 20) -> dict[str, Any]:
        """Return the next message of a kind for which the condition holds."""
        deadline = time.monotonic() + limit_s
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv(timeout=max(0.01, deadline - time.monotonic())))
            if message["type"] == kind and condition(message):
                return message

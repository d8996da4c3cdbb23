"""A page's live socket, without the page."""

import json
import time
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect


class Screen:
    """A page's live socket: keeps what it was told."""

    def __init__(self, client: httpx.Client) -> None:
        """Open the socket of the face at which `client` is signed in, with the cookies that it holds."""
        url = str(client.base_url).rstrip("/")
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        self.socket: ClientConnection = connect(
            url.replace("http", "ws") + "/api/v1/live", additional_headers={"Cookie": cookies, "Origin": url}
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

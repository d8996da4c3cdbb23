"""The HTTP server of the bedside page, inside the node's own event loop."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from edge_node.errors import ConfigRefused

HEADER_LIMIT_BYTES = 16 * 1024
SOCKET_MESSAGE_LIMIT_BYTES = 256 * 1024
STOP_LIMIT_S = 2


class PageServer(uvicorn.Server):
    """A server that leaves signals to the node and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the node's business: it stops all its parts together."""
        yield


def server(app: FastAPI, tls: ssl.SSLContext | None = None) -> PageServer:
    """Return a server for the page, with TLS or without, that leaves signals and logging alone."""
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,
        http="h11",
        h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
        ws="websockets-sansio",
        ws_max_size=SOCKET_MESSAGE_LIMIT_BYTES,
        timeout_graceful_shutdown=STOP_LIMIT_S,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    return PageServer(settings)


def open_port(host: str, port: int, key: str) -> socket.socket:
    """Return a listening socket; `key` names the setting in the refusal.

    Raises:
        ConfigRefused: the port is in use, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise ConfigRefused(f"{key}: port {port} on {host} cannot be opened: {error.strerror}") from error
    found.setblocking(False)
    return found

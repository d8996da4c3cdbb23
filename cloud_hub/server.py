"""The web server inside the hub's own event loop."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from cloud_hub.config import HttpsConfig, WebConfig
from cloud_hub.errors import ConfigRefused

STOP_WITHIN_S = 3
BACKLOG = 512
HEADER_LIMIT_BYTES = 16 * 1024
SOCKET_LIMIT_BYTES = 256 * 1024


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: the hub decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the hub."""
        yield

    def stop(self) -> None:
        """Ask the server to end; open sockets get STOP_WITHIN_S."""
        self.should_exit = True


def listen(config: WebConfig | HttpsConfig) -> socket.socket:
    """Return the listening socket.

    Raises:
        ConfigRefused: the port is in use, or the address is not ours.
    """
    key = "web.port" if isinstance(config, WebConfig) else "web.https.port"
    listener = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigRefused(
            f"{key}: {config.host}:{config.port} cannot be used: {error.strerror} (is another hub running?)"
        ) from error
    listener.setblocking(False)
    return listener


def make(app: FastAPI, tls: ssl.SSLContext | None = None) -> Server:
    """Return a server for this application, with TLS or without; `serve(sockets=[...])` runs it."""
    return Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # The peer's own address counts for failed sign-ins, never what a header claims.
            proxy_headers=False,
            http="h11",
            h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
            ws="websockets-sansio",
            ws_max_size=SOCKET_LIMIT_BYTES,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=STOP_WITHIN_S,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
    )

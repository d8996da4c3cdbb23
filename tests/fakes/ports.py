"""Ports for servers that tests start, and start again."""

import random
import socket

LOWEST, HIGHEST = 10_000, 32_000
"""Below what the kernel gives to outgoing connections: those would else take the port of a server that is down."""
TRIES = 1_000
_CHANCE = random.SystemRandom()
_GIVEN: set[int] = set()


def free_port() -> int:
    """Return a port of the loopback at which nobody listens, by TCP or UDP, and that was not given out before."""
    for _ in range(TRIES):
        port = _CHANCE.randint(LOWEST, HIGHEST)
        if port not in _GIVEN and _is_free(port):
            _GIVEN.add(port)
            return port
    raise RuntimeError("no port is free")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True

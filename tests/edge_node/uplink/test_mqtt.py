"""The socket of a connection to the broker: what the library leaves open is closed."""

import os
import select
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest

from edge_node.uplink.mqtt import TidySocket


@pytest.fixture
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.sslsocket_class = TidySocket
    return context


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end and theirs."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
        server.accept()[0] as theirs,
    ):
        yield ours, theirs


def reset(theirs: socket.socket, ours: socket.socket) -> None:
    """End the connection as a broker does that is killed, and wait until our end has seen it."""
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    assert select.select([ours], [], [], 5)[0]


def test_a_socket_whose_handshake_fails_is_closed(
    context: ssl.SSLContext, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    opened = context.wrap_socket(ours, do_handshake_on_connect=False)
    reset(theirs, opened)
    with pytest.raises(OSError, match=r"reset|not connected|closed"):
        opened.do_handshake()
    assert opened.fileno() == -1


def test_a_socket_whose_peer_goes_before_the_handshake_is_closed(
    context: ssl.SSLContext, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    number = ours.fileno()
    reset(theirs, ours)
    # The refusal holds the frames and with them the socket, so that no garbage collector closes it for us.
    with pytest.raises(ConnectionResetError) as refused:
        context.wrap_socket(ours, do_handshake_on_connect=False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    del refused

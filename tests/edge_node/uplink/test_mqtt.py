"""The socket of a connection to the broker: what the library leaves open is closed."""

import socket
import ssl
import struct
import threading

import pytest

from edge_node.uplink.mqtt import TidySocket


def test_a_socket_whose_handshake_fails_is_closed() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.sslsocket_class = TidySocket
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset() -> None:
            connection, _ = server.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        thread = threading.Thread(target=reset)
        thread.start()
        opened = context.wrap_socket(socket.create_connection(server.getsockname()), do_handshake_on_connect=False)
        thread.join()
        with pytest.raises(OSError, match=r"reset|not connected|closed"):
            opened.do_handshake()
        assert opened.fileno() == -1

"""A load of pre-encoded MQTT packets, sent as fast as the broker takes them: costs next to nothing itself."""

import socket
import struct
from collections.abc import Sequence
from itertools import count

WINDOW = 400
"""Packets under way until the broker has acknowledged some."""


def packets(topics_and_payloads: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """Return PUBLISH packets with QoS 1 (MQTT 3.1.1, 3.3)."""
    numbers = count(1)
    made = []
    for topic, payload in topics_and_payloads:
        name = topic.encode()
        body = struct.pack(">H", len(name)) + name + struct.pack(">H", (next(numbers) - 1) % 65535 + 1) + payload
        made.append(b"\x32" + _length(len(body)) + body)
    return made


def publish(port: int, user: str, secret: str, load: Sequence[bytes]) -> None:
    """Send all packets and return when the broker has acknowledged the last.

    Raises:
        ConnectionError: refused, or closed before the end.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(sign_in(f"{user}.bulk", user, secret))
        if _exactly(line, 4) != b"\x20\x02\x00\x00":
            raise ConnectionError("the broker refused the load's sign-in")
        acknowledged = sent = 0
        while acknowledged < len(load):
            room = load[sent : acknowledged + WINDOW]
            if room:
                line.sendall(b"".join(room))
                sent += len(room)
            answer = line.recv(64 * 1024)
            if not answer:
                raise ConnectionError("the broker closed the load's connection")
            # A PUBACK is four bytes; a part of one is completed by the next read.
            rest = len(answer) % 4
            if rest:
                answer += _exactly(line, 4 - rest)
            acknowledged += len(answer) // 4


def sign_in(client: str, user: str, secret: str) -> bytes:
    """Return a CONNECT packet with a clean session (MQTT 3.1.1, 3.1)."""
    body = b"\x00\x04MQTT\x04" + bytes([0b11000010]) + struct.pack(">H", 60)
    for text in (client, user, secret):
        body += struct.pack(">H", len(text.encode())) + text.encode()
    return b"\x10" + _length(len(body)) + body


def _length(value: int) -> bytes:
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _exactly(line: socket.socket, wanted: int) -> bytes:
    found = b""
    while len(found) < wanted:
        piece = line.recv(wanted - len(found))
        if not piece:
            raise ConnectionError("closed")
        found += piece
    return found

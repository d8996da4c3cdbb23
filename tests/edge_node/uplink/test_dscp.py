"""Marks on sockets: read back from the socket, by the receiver, and on the wire."""

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from edge_node.uplink.dscp import DSCP_OF_CLASS, DSCP_OF_SIGNALLING, Dscp, mark, marked

ROOT = Path(__file__).resolve().parents[3]
PORT = 40_123
FAMILIES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def _skip_without(family: socket.AddressFamily) -> socket.AddressFamily:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((FAMILIES[family], 0))
        return family
    pytest.skip("no IPv6 on loopback here")


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    return _skip_without(request.param)


def test_every_class_has_the_mark_of_the_specification() -> None:
    assert {number: int(dscp) for number, dscp in DSCP_OF_CLASS.items()} == {
        0: 46, 1: 26, 2: 46, 3: 18, 4: 34, 5: 10, 6: 10, 7: 1,
    }  # fmt: skip
    assert DSCP_OF_SIGNALLING == 24


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_mark_can_be_read_back(family: socket.AddressFamily, kind: socket.SocketKind) -> None:
    with socket.socket(family, kind) as opened:
        for dscp in Dscp:
            assert mark(opened, dscp)
            assert marked(opened) == dscp


def test_the_bits_of_congestion_notification_stay(family: socket.AddressFamily) -> None:
    option = (
        (socket.IPPROTO_IP, socket.IP_TOS) if family == socket.AF_INET else (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
    )
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(*option, 0b10)
        assert mark(opened, Dscp.EF)
        assert opened.getsockopt(*option) == 46 << 2 | 0b10


def test_a_socket_of_both_families_is_marked_for_both() -> None:
    with socket.socket(_skip_without(socket.AF_INET6), socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        assert mark(opened, Dscp.AF21)
        assert opened.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) >> 2 == Dscp.AF21
        assert _received(opened, socket.AF_INET, "::ffff:127.0.0.1") >> 2 == Dscp.AF21


def test_a_refusal_stops_nothing() -> None:
    with socket.socket(socket.AF_UNIX) as other:
        assert not mark(other, Dscp.EF)
    assert not mark(other, Dscp.EF)  # closed


@pytest.mark.parametrize("dscp", list(Dscp))
def test_the_receiver_sees_the_mark(family: socket.AddressFamily, dscp: Dscp) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        mark(sender, dscp)
        assert _received(sender, family, FAMILIES[family]) == dscp << 2


def _received(sender: socket.socket, family: socket.AddressFamily, address: str) -> int:
    """Return the traffic class that a datagram arrives with."""
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind((FAMILIES[family], 0))
        if family == socket.AF_INET:
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        else:
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        sender.sendto(b"x", (address, receiver.getsockname()[1]))
        _, notes, _, _ = receiver.recvmsg(1, 64)
    return int.from_bytes(notes[0][2], sys.byteorder)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_socket_of_an_event_loop_is_marked_too(new_loop: object) -> None:
    async def connect() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            opened = writer.get_extra_info("socket")
            assert mark(opened, Dscp.AF31)
            assert marked(opened) == Dscp.AF31
            writer.close()
            await writer.wait_closed()

    loop = new_loop()  # type: ignore[operator]
    try:
        loop.run_until_complete(connect())
    finally:
        loop.close()


@pytest.mark.slow
def test_the_mark_is_on_the_wire() -> None:
    """In a network of its own, where nothing but this test is on loopback, every TCP packet of the sender bears it."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace and a packet socket need root")
    program = ["unshare", "--net", sys.executable, __file__]
    try:
        done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed (Debian package util-linux)")
    if "Operation not permitted" in done.stderr:
        pytest.skip("no network namespace may be made here")
    assert done.returncode == 0, done.stderr
    seen = dict(line.split() for line in done.stdout.splitlines())
    assert seen == {dscp.name: str(int(dscp)) for dscp in Dscp}


def on_the_wire(dscp: Dscp) -> set[int]:
    """Return the marks of all packets that a marked TCP socket sends, from the first (SYN) on."""
    with socket.create_server(("127.0.0.1", PORT)) as server, _sniffing() as wire:
        with socket.socket() as sender:
            mark(sender, dscp)
            sender.connect(("127.0.0.1", PORT))
            sender.sendall(b"x" * 4000)
            accepted, _ = server.accept()
            with accepted:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                assert accepted.recv(4000)
        return set(_marks_to(wire, PORT))


@contextlib.contextmanager
def _sniffing() -> Iterator[socket.socket]:
    all_of_ip = 0x0800
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(all_of_ip)) as wire:
        wire.bind(("lo", all_of_ip))
        wire.settimeout(0.3)
        yield wire


def _marks_to(wire: socket.socket, port: int) -> Iterator[int]:
    with contextlib.suppress(TimeoutError):
        while True:
            packet = wire.recv(65_535)
            head = (packet[0] & 0x0F) * 4
            if packet[9] == socket.IPPROTO_TCP and struct.unpack_from(">H", packet, head + 2)[0] == port:
                yield packet[1] >> 2


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for each in Dscp:
        print(each.name, *on_the_wire(each))

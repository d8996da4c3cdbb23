"""DICOM written by hand for tests: data sets, a sender that shares no code with the receiver, and a listening relay."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
CT = "1.2.840.10008.5.1.4.1.1.2"
_APPLICATION = b"1.2.840.10008.3.1.1.1"
_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF"}
ASSOCIATE, ACCEPTED, REJECTED, DATA, RELEASE, RELEASED, ABORT = 1, 2, 3, 4, 5, 6, 7


def element(tag: int, representation: str, value: bytes, size_bytes: int | None = None) -> bytes:
    """One element of an explicit little endian data set; `size_bytes` is the length that it tells, if not the truth."""
    if len(value) % 2 and size_bytes is None:
        value += b"\0" if representation in ("UI", "OB") else b" "
    size_bytes = len(value) if size_bytes is None else size_bytes
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, representation.encode())
    if representation.encode() in _LONG:
        return head + struct.pack("<HL", 0, size_bytes) + value
    return head + struct.pack("<H", size_bytes) + value


def implicit(tag: int, value: bytes) -> bytes:
    """One element of an implicit little endian data set."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def item(content: bytes) -> bytes:
    """One item of told length."""
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content


def nested(depth: int, *, is_open: bool) -> bytes:
    """A sequence within a sequence within a sequence; open ones have no told length."""
    if is_open:
        begin = element(0x00081140, "SQ", b"", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
        end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
        return begin * depth + end * depth
    content = b""
    for _ in range(depth):
        content = element(0x00081140, "SQ", item(content))
    return content


@dataclass(frozen=True, slots=True)
class Picture:
    """What a made image says of itself."""

    uid: str = "1.2.3.4.1"
    study: str = "1.2.3"
    series: str = "1.2.3.4"
    patient: str = "P-1"
    rows: int = 4
    columns: int = 4
    pixels: bytes = bytes(range(32))
    before: bytes = b""
    """Elements between study and pixels."""
    modality: str = "CT"
    number: int = 1
    sop_class: str = CT


def data_set(picture: Picture) -> bytes:
    """A small 16-bit image, explicit little endian."""
    return b"".join(
        (
            element(0x00080016, "UI", picture.sop_class.encode()),
            element(0x00080018, "UI", picture.uid.encode()),
            element(0x00080060, "CS", picture.modality.encode()),
            picture.before,
            element(0x00100010, "PN", b"Gu^Yu"),
            element(0x00100020, "LO", picture.patient.encode()),
            element(0x0020000D, "UI", picture.study.encode()),
            element(0x0020000E, "UI", picture.series.encode()),
            element(0x00200013, "IS", str(picture.number).encode()),
            element(0x00280002, "US", struct.pack("<H", 1)),
            element(0x00280004, "CS", b"MONOCHROME2"),
            element(0x00280010, "US", struct.pack("<H", picture.rows)),
            element(0x00280011, "US", struct.pack("<H", picture.columns)),
            element(0x00280100, "US", struct.pack("<H", 16)),
            element(0x00280101, "US", struct.pack("<H", 16)),
            element(0x00280102, "US", struct.pack("<H", 15)),
            element(0x00280103, "US", struct.pack("<H", 0)),
            element(0x7FE00010, "OW", picture.pixels),
        )
    )


def pdu(kind: int, content: bytes, size_bytes: int | None = None) -> bytes:
    """One PDU; `size_bytes` is what it says of its length, if not the truth."""
    return struct.pack(">BxL", kind, len(content) if size_bytes is None else size_bytes) + content


def _sub_item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


@dataclass(slots=True)
class BareScu:
    """A sender of one association, on a socket of its own."""

    line: socket.socket
    number: int = 0

    @classmethod
    def at(cls, port: int, host: str = "127.0.0.1") -> "BareScu":
        """Connect from an address."""
        return cls(socket.create_connection(("127.0.0.1", port), timeout=15, source_address=(host, 0)))

    def __enter__(self) -> "BareScu":
        return self

    def __exit__(self, *_: object) -> None:
        self.line.close()

    def associate(self, sop_class: str, syntax: str, called: str = "YUANZHEN", calling: str = "CT-ROOM") -> int:
        """Ask for an association with one presentation context; return the kind of the answer."""
        return self.ask(sop_class, syntax, called, calling)[0]

    def ask(self, sop_class: str, syntax: str, called: str, calling: str) -> tuple[int, bytes]:
        """Ask for an association; return kind and content of the answer."""
        context = b"\1\0\0\0" + _sub_item(0x30, sop_class.encode()) + _sub_item(0x40, syntax.encode())
        user = _sub_item(0x51, struct.pack(">L", 16384)) + _sub_item(0x52, b"1.2.3.999")
        told = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())
        told += _sub_item(0x10, _APPLICATION) + _sub_item(0x20, context) + _sub_item(0x50, user)
        self.line.sendall(pdu(ASSOCIATE, told))
        return self.answer()

    def store(self, sop_class: str, uid: str, data: bytes) -> int:
        """Send an object and return its status; -1 where the association is aborted or closed instead."""
        self.begin(sop_class, uid)
        for at in range(0, max(1, len(data)), 100_000):
            part = data[at : at + 100_000]
            self.fragment(part, is_last=at + 100_000 >= len(data))
        return self.status()

    def begin(self, sop_class: str, uid: str) -> None:
        """Send the command of a C-STORE."""
        self.number += 1
        told = implicit(0x00000002, sop_class.encode()) + implicit(0x00000100, struct.pack("<H", 1))
        told += implicit(0x00000110, struct.pack("<H", self.number)) + implicit(0x00000700, b"\0\0")
        told += implicit(0x00000800, b"\1\0") + implicit(0x00001000, uid.encode())
        self.fragment(implicit(0x00000000, struct.pack("<L", len(told))) + told, is_last=True, is_command=True)

    def fragment(self, part: bytes, *, is_last: bool, is_command: bool = False) -> None:
        """Send one fragment in a PDU of its own."""
        head = struct.pack(">LBB", len(part) + 2, 1, is_command | is_last << 1)
        self.line.sendall(pdu(DATA, head + part))

    def status(self) -> int:
        """Return the status of the next response; -1 where there is none."""
        kind, content = self.answer()
        if kind != DATA:
            return -1
        at = 6
        while at + 8 <= len(content):
            group, number, size_bytes = struct.unpack_from("<HHL", content, at)
            if (group, number) == (0, 0x0900):
                return int(struct.unpack_from("<H", content, at + 8)[0])
            at += 8 + size_bytes
        return -1

    def answer(self) -> tuple[int, bytes]:
        """Return kind and content of the next PDU; (0, b"") where the connection is gone."""
        with contextlib.suppress(ConnectionError):
            head = self._read(6)
            if len(head) == 6:
                return head[0], self._read(int.from_bytes(head[2:6], "big"))
        return 0, b""

    def release(self) -> None:
        """End the association as one should."""
        self.line.sendall(pdu(RELEASE, bytes(4)))
        assert self.answer()[0] == RELEASED

    def _read(self, size_bytes: int) -> bytes:
        found = b""
        while len(found) < size_bytes:
            more = self.line.recv(size_bytes - len(found))
            if not more:
                break
            found += more
        return found


def sent_data_sets(stream: bytes) -> list[bytes]:
    """Return the data sets that a recorded sender put on the wire, in their order."""
    found, data, at = [], b"", 0
    while at < len(stream):
        kind, size_bytes = struct.unpack_from(">BxL", stream, at)
        end = at + 6 + size_bytes
        at += 6
        while kind == DATA and at < end:
            length, _, control = struct.unpack_from(">LBB", stream, at)
            if not control & 1:
                data += stream[at + 6 : at + 4 + length]
                if control & 2:
                    found.append(data)
                    data = b""
            at += 4 + length
        at = end
    return found


@dataclass(slots=True)
class Relay:
    """A port that hands everything on to another, one sender after the other, and keeps what each said."""

    to_port: int
    listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    streams: list[bytearray] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where senders connect."""
        return int(self.listening.getsockname()[1])

    def serve(self) -> None:
        """Hand on until the port is closed."""
        while True:
            try:
                sender, _ = self.listening.accept()
            except OSError:
                return
            receiver = socket.create_connection(("127.0.0.1", self.to_port))
            kept = bytearray()
            self.streams.append(kept)
            ways = ((sender, receiver, kept), (receiver, sender, bytearray()))
            threads = [threading.Thread(target=_hand_on, args=way, daemon=True) for way in ways]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            sender.close()
            receiver.close()

    def data_sets(self) -> list[bytes]:
        """Return the data sets of all senders."""
        return [each for stream in self.streams for each in sent_data_sets(bytes(stream))]


def _hand_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            kept += part
            target.sendall(part)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relaying(to_port: int) -> Iterator[Relay]:
    """Run a relay while the block runs."""
    relay = Relay(to_port)
    threading.Thread(target=relay.serve, daemon=True).start()
    try:
        yield relay
    finally:
        relay.listening.shutdown(socket.SHUT_RDWR)
        relay.listening.close()

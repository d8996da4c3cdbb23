"""A network camera that speaks RTSP (RFC 2326) with RTP in the same TCP connection, H.264 as RFC 6184 packs it."""

import base64
import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

CLOCK_HZ = 90_000
PACKET_BYTES = 1200
PATH = "live"


class RtspCamera:
    """Plays a clip in a loop to whoever connects, at the speed of its own time stamps, until it is unplugged."""

    def __init__(self, clip: Path) -> None:
        self._pictures = list(_pictures(clip))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/{PATH}"
        self.asked: list[str] = []
        """Methods that the client used, in order."""
        self.transport = ""
        self._plugged_in = True
        self._line: socket.socket | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def unplug(self) -> None:
        """End every connection, and answer no more."""
        self._plugged_in = False
        for line in (self._line, self._listener):
            if line is not None:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
                line.close()

    def _serve(self) -> None:
        try:
            while self._plugged_in:
                self._line, _ = self._listener.accept()
                with self._line, self._line.makefile("rb") as reader:
                    while request := list(iter(lambda: reader.readline().strip().decode(), "")):
                        self._answer(self._line, request)
        except OSError:
            return

    def _answer(self, line: socket.socket, request: list[str]) -> None:
        method = request[0].split()[0]
        headers = dict(row.split(": ", 1) for row in request[1:])
        self.asked.append(method)
        rows, body = [f"CSeq: {headers['CSeq']}"], ""
        if method == "DESCRIBE":
            body = self._description()
            rows += ["Content-Type: application/sdp", f"Content-Length: {len(body)}", f"Content-Base: {self.url}/"]
        elif method == "SETUP":
            self.transport = headers["Transport"]
            rows += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        else:
            rows += ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN", "Session: 1"]
        line.sendall("\r\n".join(["RTSP/1.0 200 OK", *rows, "", body]).encode())
        if method == "PLAY":
            threading.Thread(target=self._play, args=(line,), daemon=True).start()

    def _description(self) -> str:
        sets = [unit for unit in self._pictures[0][1] if unit[0] & 31 in (7, 8)]
        parameters = ",".join(base64.b64encode(unit).decode() for unit in sets)
        rows = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 127.0.0.1", "t=0 0", "m=video 0 RTP/AVP 96",
                f"a=rtpmap:96 H264/{CLOCK_HZ}", f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={parameters}",
                "a=control:track1"]  # fmt: skip
        return "\r\n".join([*rows, ""])

    def _play(self, line: socket.socket) -> None:
        began_s, number = time.monotonic(), itertools.count()
        length_s = self._pictures[-1][0] + 1 / 30
        try:
            for turn, (in_clip_s, units) in ((turn, one) for turn in itertools.count() for one in self._pictures):
                at_s = turn * length_s + in_clip_s
                time.sleep(max(0.0, began_s + at_s - time.monotonic()))
                payloads = [part for unit in units for part in _packed(unit)]
                for place, payload in enumerate(payloads, 1):
                    last = 0x80 if place == len(payloads) else 0
                    head = struct.pack(">BBHII", 0x80, 96 | last, next(number) & 0xFFFF, int(at_s * CLOCK_HZ), 7)
                    line.sendall(b"$\0" + struct.pack(">H", 12 + len(payload)) + head + payload)
        except OSError:
            return


def _pictures(clip: Path) -> Iterator[tuple[float, list[bytes]]]:
    """Yield (seconds, NAL units) of each coded picture."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        plain = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for out in plain.filter(packet if packet.size else None):
                units = [unit.rstrip(b"\0") for unit in bytes(out).split(b"\0\0\1") if unit.rstrip(b"\0")]
                yield float((out.pts or 0) * (out.time_base or 0)), units


def _packed(unit: bytes) -> Iterator[bytes]:
    """Yield a NAL unit as RTP payloads: whole, or in fragments (FU-A)."""
    if len(unit) <= PACKET_BYTES:
        yield unit
        return
    head, rest = unit[0], unit[1:]
    for at in range(0, len(rest), PACKET_BYTES):
        ends = 0x80 if at == 0 else 0x40 if at + PACKET_BYTES >= len(rest) else 0
        yield bytes(((head & 0xE0) | 28, ends | (head & 31))) + rest[at : at + PACKET_BYTES]

"""Bad input 34, 35 and 36 against hub, broker, node and its media process; the far side is a second aiortc.

Whatever is done to the picture, the vital signs of the same bed go on.
"""

import asyncio
import contextlib
import itertools
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcsctptransport import DataChunk
from websockets.exceptions import ConnectionClosed

from edge_node.consult.testcard import write_clip
from tests.edge_node.node_process import EXAMPLE
from tests.region.region import Clinic, Region, running, until
from tests.region.screen import Screen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.anyio]
BED = "baoshan-clinic:B02"
HOLDS_AT_MOST_BYTES = 64 * 1024 * 1024
CANDIDATE = {"candidate": "candidate:1 1 udp 1 10.255.255.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
LARGEST_PIECE_BYTES = 1100
HEART_RATES = itertools.cycle(range(61, 99))


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    folder = tmp_path_factory.mktemp("region")
    write_clip(folder / "clip.mp4", 2, (320, 180))
    with running(Region(folder, (Clinic(camera="clip.mp4"),))) as started:
        yield started


@dataclass(slots=True)
class Page:
    """A page of the hub, signed in and on its live socket."""

    client: httpx.Client
    screen: Screen
    consult_id: str = ""

    def signal(self, kind: str, body: object) -> None:
        """Say something to the camera."""
        text = body if isinstance(body, str) else json.dumps(body)
        signal = {"consult_id": self.consult_id, "from_peer": "hub", "to_peer": "camera", "kind": kind, "body": text}
        self.screen.socket.send(json.dumps({"type": "signal", "signal": {**signal, "bed_key": BED}}))

    def told(self, kind: str, wanted: Callable[[dict[str, Any]], object] = bool, limit_s: float = 30) -> dict[str, Any]:
        """Return the body of the next signal of a kind that is as wanted."""

        def fits(message: dict[str, Any]) -> bool:
            return message["signal"]["kind"] == kind and bool(wanted(json.loads(message["signal"]["body"])))

        body: dict[str, Any] = json.loads(self.screen.until("signal", fits, limit_s)["signal"]["body"])
        return body

    def refusal(self) -> str:
        """Return the English words of the next refusal."""
        return str(self.told("state", lambda body: "refused" in body)["refused"]["en"])


@contextlib.contextmanager
def page_of(region: Region, who: str, consult_id: str = "") -> Iterator[Page]:
    client = region.signed_in(region.hub_url, who)
    page = Page(client, Screen(client), consult_id)
    try:
        yield page
    finally:
        page.screen.socket.close()
        client.close()


@pytest.fixture
def physician(region: Region) -> Iterator[Page]:
    """The physician's page, in a consult with B02 that was answered."""
    with page_of(region, "physician") as page:
        page.consult_id = page.client.post("/api/v1/consults", json={"bed_key": BED}).json()["consult_id"]
        page.told("accept", lambda _body: True)
        yield page
        page.client.post(f"/api/v1/consults/{page.consult_id}/end")


def media(region: Region) -> psutil.Process:
    """The media process of the node, as soon as it runs."""
    node = psutil.Process(region.processes["edge-clinic"].popen.pid)

    def found() -> psutil.Process | None:
        return next((child for child in node.children() if "edge_node.consult" in child.cmdline()), None)

    process = until(found, 20, "the media process runs")
    assert process is not None
    return process


def vitals_arrive(region: Region) -> None:
    """Measure at the bed and see it at the hub."""
    rate = next(HEART_RATES)
    at = datetime.now(UTC).strftime("%Y%m%d%H%M%S.000+0000")
    message = EXAMPLE.format(at=at, control=f"M{time.time_ns()}", hr=rate, rr=18, spo2=96)
    with page_of(region, "physician") as page:
        with socket.create_connection(("127.0.0.1", region.ports["edge-clinic.hl7"]), timeout=10) as line:
            line.sendall(b"\x0b" + message.encode() + b"\x1c\r")
            assert b"MSA|AA" in line.recv(4096)
        page.screen.until("readings", lambda one: str(rate) in [row["value"] for row in one["readings"]], 5)


async def offer_of(far: RTCPeerConnection) -> dict[str, Any]:
    far.addTransceiver("video", direction="recvonly")
    far.createDataChannel("vitals")
    await far.setLocalDescription(await far.createOffer())
    return {"sdp": far.localDescription.sdp, "attempt": 1}


@asynccontextmanager
async def watching(page: Page) -> AsyncIterator[RTCPeerConnection]:
    """A browser that sees the picture of the page's consult."""
    far = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    is_seen = asyncio.Event()
    far.on("datachannel", lambda _channel: None)
    far.on("connectionstatechange", lambda: is_seen.set() if far.connectionState == "connected" else None)
    try:
        page.signal("offer", await offer_of(far))
        answer = await asyncio.to_thread(page.told, "answer")
        await far.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        async with asyncio.timeout(20):
            await is_seen.wait()
        yield far
    finally:
        await far.close()


@pytest.mark.parametrize(("lines", "code"), [(200_000, "1009"), (14_000, "4400")], ids=["1 MB", "over 64 KiB"])
async def test_row_34_a_description_that_is_too_large_ends_the_page_which_may_come_again(
    region: Region, lines: int, code: str
) -> None:
    with page_of(region, "physician") as page:
        with contextlib.suppress(ConnectionClosed):
            page.signal("offer", {"sdp": "v=0\r\n" * lines})
        with pytest.raises(ConnectionClosed, match=code):
            page.screen.next("never")
    vitals_arrive(region)


async def test_row_34_ten_thousand_candidates_are_refused_in_one_and_one_by_one(
    region: Region, physician: Page
) -> None:
    process = media(region)
    line = "a=candidate:1 1 UDP 1 10.0.0.1 9 typ host\n"
    physician.signal("offer", {"sdp": "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n" + line * 1_000})
    assert "candidates" in await asyncio.to_thread(physician.refusal)
    for _ in range(10_000):
        physician.signal("candidate", {"candidate": CANDIDATE, "attempt": 1})
    assert "too large or not right" in await asyncio.to_thread(physician.refusal)
    before_s = sum(process.cpu_times()[:2])
    await asyncio.sleep(2)
    assert sum(process.cpu_times()[:2]) - before_s < 1
    vitals_arrive(region)


async def test_row_34_a_wrong_fingerprint_fails_with_a_reason(region: Region, physician: Page) -> None:
    far = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        body = await offer_of(far)
        body["sdp"] = re.sub(r"(a=fingerprint:sha-256 ).*", rf"\1{':'.join(['AB'] * 32)}", body["sdp"])
        physician.signal("offer", body)
        answer = await asyncio.to_thread(physician.told, "answer")
        await far.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        failed = await asyncio.to_thread(physician.told, "state", lambda told: told.get("camera") == "failed", 40)
    finally:
        await far.close()
    assert failed["reason"]["en"] == "The connection could not be made"
    vitals_arrive(region)


async def test_row_35_whoever_is_no_member_of_a_consult_has_no_say_in_it(region: Region, physician: Page) -> None:
    with page_of(region, "clinic", physician.consult_id) as stranger:
        stranger.signal("offer", {"sdp": "v=0\r\n", "attempt": 1})
        assert stranger.refusal() == "You are not a member of this consult"
        stranger.signal("bye", {})
        assert stranger.refusal() == "You are not a member of this consult"
        assert stranger.client.post(f"/api/v1/consults/{physician.consult_id}/end").status_code == 403
    with page_of(region, "physician", "0193-no-such") as page:
        page.signal("bye", {})
        assert page.refusal() == "This consult does not exist, or is over"
    async with watching(physician):
        pass


async def _rtp(far: RTCPeerConnection, until_s: float) -> None:
    transport = far.getReceivers()[0].transport
    for number in itertools.count():
        head = b"\x80\x60" + (number % 65536).to_bytes(2, "big") + bytes(4) + b"\xab\xcd\xef\x01"
        await transport._send_rtp(head + bytes(1000))
        if time.monotonic() > until_s:
            return
        await asyncio.sleep(0)


async def _message_without_end(far: RTCPeerConnection, until_s: float) -> None:
    """Pieces of one message of 256 MB, sent without heed of the room that the other side says it has."""
    sctp, stream = far.sctp, 1
    assert sctp is not None
    for number in range(256 * 1024 * 1024 // LARGEST_PIECE_BYTES):
        piece = DataChunk(flags=2 if number == 0 else 0)
        piece.tsn, piece.stream_id, piece.stream_seq = (sctp._local_tsn + number) % 2**32, stream, 0
        piece.protocol, piece.user_data = 53, bytes(LARGEST_PIECE_BYTES)
        await sctp._send_chunk(piece)
        if time.monotonic() > until_s:
            return
        await asyncio.sleep(0)


@pytest.mark.parametrize("flood", [_rtp, _message_without_end], ids=["RTP", "SCTP message of 256 MB"])
async def test_row_36_a_peer_that_sends_far_too_much_is_cut_off_and_may_come_again(
    region: Region, physician: Page, flood: Callable[..., Any]
) -> None:
    process = media(region)
    async with watching(physician) as far:
        before_bytes = process.memory_info().rss
        with contextlib.suppress(ConnectionError):
            await flood(far, time.monotonic() + 10)
        told = await asyncio.to_thread(physician.told, "state", lambda body: body.get("camera") == "failed", 20)
        assert told["reason"]["en"] == "The other side sent far too much and was cut off"
        assert process.memory_info().rss - before_bytes < HOLDS_AT_MOST_BYTES
    await asyncio.to_thread(vitals_arrive, region)
    assert media(region).pid == process.pid
    async with watching(physician):
        pass


async def test_row_36_malformed_reports_are_dropped_and_the_picture_goes_on(region: Region, physician: Page) -> None:
    frames = 0
    async with watching(physician) as far:
        receiver = far.getReceivers()[0]
        for kind, length in itertools.product(range(192, 209), (0, 1, 7, 65535)):
            report = bytes((0x9F, kind)) + length.to_bytes(2, "big") + bytes(24)
            await receiver.transport._send_rtp(report)
        async with asyncio.timeout(20):
            while frames < 10:
                await receiver.track.recv()
                frames += 1
        assert far.connectionState == "connected"
    vitals_arrive(region)

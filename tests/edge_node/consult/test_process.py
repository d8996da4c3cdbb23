"""The consult process, in one process with a second aiortc as the browser."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDtlsTransport, RTCPeerConnection, RTCSessionDescription

from edge_node.consult import peer
from edge_node.consult.pipe import Configure, Forget, Line, Permit, Pressed, Step, Vitals
from edge_node.consult.process import Consults

HALF_TAKEN = Path(__file__).parents[2] / "fuzz/captures/camera-offer/half-taken-in"
"""An offer whose parts disagree: the media library takes in the picture, and stumbles when it is to close."""
Put = Callable[[Line], Awaitable[None]]


class Far:
    """A browser as aiortc plays it: wants video, audio and vitals."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.vitals: asyncio.Queue[str] = asyncio.Queue()
        self.frames: dict[str, int] = {"video": 0, "audio": 0}
        self.seen = asyncio.Event()
        self.heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.connection.addTransceiver("video", direction="recvonly")
        self.connection.addTransceiver("audio", direction="recvonly")
        channel = self.connection.createDataChannel("vitals")
        channel.on("message", self.vitals.put_nowait)
        self.connection.on("track", lambda track: self._tasks.append(asyncio.ensure_future(self._pull(track))))

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return json.dumps({"sdp": self.connection.localDescription.sdp, "attempt": 1})

    async def answered(self, body: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(json.loads(body)["sdp"], "answer"))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connection.close()

    async def _pull(self, track: MediaStreamTrack) -> None:
        while True:
            await track.recv()
            self.frames[track.kind] += 1
            if self.frames["audio"] >= 5:
                self.heard.set()
            if self.frames["video"] >= 10 and self.frames["audio"] >= 10:
                self.seen.set()


class Child:
    """The consults of a consult process, with what they say."""

    def __init__(self, settings: Configure) -> None:
        self.lines: asyncio.Queue[Line | None] = asyncio.Queue()
        self.said: asyncio.Queue[Line] = asyncio.Queue()
        self.consults = Consults(settings, self.said.put_nowait)

    async def put(self, *lines: Line) -> None:
        for line in lines:
            await self.lines.put(line)

    async def next(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Return the body of the next step of this kind whose fields are as wanted."""
        async with asyncio.timeout(30):
            while True:
                line = await self.said.get()
                if isinstance(line, Step) and line.kind == kind:
                    body: dict[str, Any] = json.loads(line.body)
                    if all(body.get(key) == value for key, value in wanted.items()):
                        return body


@asynccontextmanager
async def child(settings: Configure) -> AsyncIterator[Child]:
    running = Child(settings)
    task = asyncio.create_task(running.consults.run(running.lines))
    try:
        yield running
    finally:
        await running.lines.put(None)
        async with asyncio.timeout(30):
            await task


@asynccontextmanager
async def far() -> AsyncIterator[Far]:
    browser = Far()
    try:
        yield browser
    finally:
        await browser.close()


@pytest.mark.anyio
async def test_picture_sound_and_vitals_arrive_and_the_camera_is_let_go_at_the_end(clip: Path, sound: Path) -> None:
    async with child(Configure({"B01": str(clip)}, str(sound))) as running, far() as browser:
        await running.put(Permit("c1", "B01"), Step("c1", "offer", await browser.offer()))
        answer = await running.next("answer", attempt=1)
        await browser.answered(json.dumps(answer))
        async with asyncio.timeout(15):
            await browser.seen.wait()
        report = await running.next("state", camera="open", microphone=True)
        assert report["rung"] == "720p"
        await running.put(Vitals("B02", '{"type": "readings"}'), Vitals("B01", '{"type": "readings", "n": 1}'))
        async with asyncio.timeout(5):
            message = json.loads(await browser.vitals.get())
        assert message["message"] == {"type": "readings", "n": 1}
        assert 0 <= message["sent_at_ms"] - message["frame_at_ms"] < 1000
        camera = running.consults._camera
        assert camera is not None
        await running.put(Forget("c1"))
        async with asyncio.timeout(10):
            await asyncio.to_thread(camera._thread.join, 8)
        assert not camera._thread.is_alive()


@pytest.mark.anyio
async def test_an_offer_before_anybody_accepted_is_refused_and_opens_no_camera(clip: Path) -> None:
    async with child(Configure({"": str(clip)}, "")) as running:
        await running.put(Step("c1", "offer", json.dumps({"sdp": "v=0"})))
        assert "accepted" in (await running.next("state"))["refused"]["en"]
        assert running.consults._camera is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        "{}",
        json.dumps({"sdp": "x" * 60_000}),
        json.dumps({"sdp": "v=0\r\nm=video\r\n"}),
        json.dumps(
            {"sdp": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"}
        ),
        json.dumps({"sdp": "a" * 70_000}),
        json.dumps({"sdp": HALF_TAKEN.read_text(encoding="utf-8", errors="replace")}),
        "[]",
    ],
)
async def test_a_nonsense_offer_is_refused_in_words_and_the_next_good_one_works(body: str, clip: Path) -> None:
    async with child(Configure({"": str(clip)}, "")) as running, far() as browser:
        await running.put(Permit("c1", "B01"), Step("c1", "offer", body))
        while "refused" not in (report := await running.next("state")):
            pass
        assert set(report["refused"]) == {"zh", "en"}
        await running.put(Step("c1", "offer", await browser.offer()))
        await running.next("answer")


@pytest.mark.anyio
async def test_ten_thousand_late_candidates_stop_at_the_limit(clip: Path) -> None:
    async with child(Configure({"": str(clip)}, "")) as running, far() as browser:
        await running.put(Permit("c1", "B01"), Step("c1", "offer", await browser.offer()))
        await running.next("answer")
        one = {"candidate": "candidate:1 1 udp 1 10.255.255.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
        late = Step("c1", "candidate", json.dumps({"candidate": one, "attempt": 1}))
        for _ in range(100):
            await running.put(late)
        while "candidates" not in (await running.next("state")).get("refused", {}).get("en", ""):
            pass


@pytest.mark.anyio
async def test_a_wrong_fingerprint_fails_within_the_limit_and_lets_go_of_the_camera(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "CONNECT_LIMIT_S", 3.0)
    async with child(Configure({"": str(clip)}, "")) as running, far() as browser:
        body = json.loads(await browser.offer())
        lines = body["sdp"].splitlines()
        body["sdp"] = "\r\n".join(_forged(line) for line in lines) + "\r\n"
        await running.put(Permit("c1", "B01"), Step("c1", "offer", json.dumps(body)))
        answer = await running.next("answer")
        await browser.answered(json.dumps(answer))
        await running.next("state", camera="open")
        failed = await running.next("state", camera="failed")
        assert failed["reason"] == {"zh": "连接未能建立", "en": "The connection could not be made"}
        assert browser.frames == {"video": 0, "audio": 0}


def _forged(line: str) -> str:
    return line[: line.rindex(" ") + 1] + ":".join(["AB"] * 32) if line.startswith("a=fingerprint:sha-256") else line


@pytest.mark.anyio
@pytest.mark.parametrize(("cameras", "zh"), [({}, "此床位没有摄像头"), ({"": "/dev/video99"}, "没有找到摄像头")])
async def test_without_a_camera_the_sound_still_comes_and_the_reason_is_said(
    cameras: dict[str, str], zh: str, sound: Path
) -> None:
    async with child(Configure(cameras, str(sound))) as running, far() as browser:
        await running.put(Permit("c1", "B01"), Step("c1", "offer", await browser.offer()))
        await browser.answered(json.dumps(await running.next("answer")))
        report = await running.next("state", camera="failed", microphone=True)
        assert report["reason"]["zh"] == zh
        async with asyncio.timeout(10):
            await browser.heard.wait()


@pytest.mark.anyio
async def test_a_lossy_link_steps_the_picture_down_keeps_the_voice_and_says_why(
    clip: Path, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, packets = RTCDtlsTransport._send_rtp, itertools.count()

    async def lossy(transport: RTCDtlsTransport, data: bytes) -> None:
        is_control = 192 <= data[1] <= 223
        if is_control or next(packets) % 3:
            await send(transport, data)

    async with child(Configure({"": str(clip)}, str(sound))) as running, far() as browser:
        await running.put(Permit("c1", "B01"), Step("c1", "offer", await browser.offer()))
        await browser.answered(json.dumps(await running.next("answer")))
        await running.next("state", camera="open", rung="720p")
        monkeypatch.setattr(RTCDtlsTransport, "_send_rtp", lossy)
        lower = await running.next("state", rung="480p")
        assert "voice did not" in lower["why"]["en"]
        heard = browser.frames["audio"]
        await running.next("state", rung="240p")
        assert browser.frames["audio"] > heard


@pytest.mark.anyio
async def test_the_picture_steps_down_while_measurements_are_pressed(clip: Path) -> None:
    async with child(Configure({"": str(clip)}, "")) as running, far() as browser:
        await running.put(Permit("c1", "B01"), Step("c1", "offer", await browser.offer()))
        await browser.answered(json.dumps(await running.next("answer")))
        await running.next("state", camera="open", rung="720p")
        await running.put(Pressed(is_pressed=True))
        lower = await running.next("state", rung="480p")
        assert "vital signs" in lower["why"]["en"]


@pytest.mark.anyio
async def test_one_camera_is_open_at_a_time_and_a_second_bed_is_told_why(
    clip: Path, sound: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.symlink_to(clip)
    settings = Configure({"B01": str(clip), "B02": str(other)}, "")
    async with child(settings) as running, far() as one, far() as two:
        await running.put(Permit("c1", "B01"), Step("c1", "offer", await one.offer()))
        await running.next("answer")
        await running.put(Permit("c2", "B02"), Step("c2", "offer", await two.offer()))
        report = await running.next("state", camera="failed")
        assert report["reason"]["en"] == "The camera is in use by another consult"

"""One peer connection from the node to the hub's browser: picture, the node's microphone, vitals on a data channel."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCDtlsTransport,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.sdp import candidate_from_sdp

from edge_node.consult import ladder as rungs
from edge_node.consult.camera import Camera
from edge_node.consult.limits import CANDIDATE_LIMIT
from edge_node.consult.quota import Inflow, is_flood
from edge_node.consult.tracks import CameraTrack
from edge_node.errors import SignalRefused

CONNECT_LIMIT_S = 20.0
"""aiortc waits for ever on a peer that never comes, or whose fingerprint is wrong; this does not."""
CLOSE_LIMIT_S = 3.0
SAMPLE_EVERY_S = 1.0
BACKLOG_LIMIT_BYTES = 128 * 1024
"""Vitals are dropped, not queued, while this much waits in the data channel: only the newest count."""
UNREADABLE = (ValueError, KeyError, IndexError, AttributeError, TypeError, AssertionError)
"""What aiortc's parser of descriptions raises on nonsense."""
MISUSED = (InvalidAccessError, InvalidStateError, OperationError)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sources:
    """What a peer is sent; either may be missing."""

    camera: Camera | None
    microphone: MediaStreamTrack | None


@dataclass(frozen=True, slots=True)
class Count:
    """Pictures up to a moment."""

    at_s: float
    sent: int
    taken: int


def sent_share(before: Count, now: Count, rung_fps: float) -> float:
    """Return which share of the wanted pictures was sent; 1 where less than one a second is wanted."""
    wanted = min(now.taken - before.taken, rung_fps * (now.at_s - before.at_s))
    return (now.sent - before.sent) / wanted if wanted >= 1 else 1.0


class CameraPeer:
    """One connection: made by an offer, over when it fails or is closed."""

    def __init__(self, sources: Sources, ice_servers: list[str], top_rung: str, changed: Callable[[], None]) -> None:
        self.ladder = rungs.ladder_from(top_rung)
        self.fps = 0.0
        self.attempt = 0
        self.has_connected = False
        self.is_flooded = False
        """The other side sent more than a browser ever does, and was cut off."""
        self.is_pressed: Callable[[], bool] = lambda: False
        """Whether the picture must leave the link to the measurements."""
        self._changed = changed
        servers = [RTCIceServer(urls=url) for url in ice_servers]
        # An empty list, never None: None means a public STUN server to aiortc.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._camera = sources.camera
        self._track = CameraTrack(sources.camera, self.ladder.rung) if sources.camera else None
        self._microphone = sources.microphone
        self._channel: RTCDataChannel | None = None
        self._candidates = 0
        self._over = asyncio.Event()
        self._connected = asyncio.Event()
        self._connection.on("connectionstatechange", self._follow)
        self._connection.on("datachannel", self._take_channel)

    @property
    def track(self) -> CameraTrack | None:
        """The picture that is sent, if there is a camera."""
        return self._track

    async def answer(self, sdp: str, attempt: int) -> Mapping[str, object]:
        """Return the body of the answer to an offer.

        Raises:
            SignalRefused: the offer cannot be read or used.
        """
        self.attempt = attempt
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            self._add_tracks()
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except (*UNREADABLE, *MISUSED) as error:
            raise SignalRefused("会话描述无法读取", "The session description cannot be used") from error
        return {"sdp": self._connection.localDescription.sdp, "attempt": attempt}

    async def take_candidate(self, candidate: Mapping[str, object], attempt: int) -> None:
        """Take one late candidate; those of an earlier attempt are dropped.

        Raises:
            SignalRefused: unreadable, or one too many.
        """
        if attempt != self.attempt:
            return
        self._candidates += 1
        if self._candidates > CANDIDATE_LIMIT:
            raise SignalRefused("连接候选过多", "Too many connection candidates")
        text = str(candidate.get("candidate", "")).removeprefix("candidate:")
        if not text:
            return
        try:
            parsed = candidate_from_sdp(text)
            mid, index = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
            parsed.sdpMid = mid if isinstance(mid, str) else None
            parsed.sdpMLineIndex = index if isinstance(index, int) else None
            await self._connection.addIceCandidate(parsed)
        except (*UNREADABLE, *MISUSED) as error:
            raise SignalRefused("连接候选无法读取", "The connection candidate cannot be read") from error

    async def run(self) -> None:
        """Watch the connection until it is over; adjusts the picture to the link once a second."""
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await self._until_connected()
        except TimeoutError:
            _log.warning("consult peer did not connect", limit_s=CONNECT_LIMIT_S)
            return
        before, inflow = self._count(), self._inflow()
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAMPLE_EVERY_S):
                    await self._over.wait()
            earlier, inflow = inflow, self._inflow()
            if is_flood(earlier, inflow):
                self._cut_off(inflow.size_bytes - earlier.size_bytes)
                return
            now = self._count()
            self.fps = (now.sent - before.sent) / max(now.at_s - before.at_s, 0.001)
            await self._climb_or_fall(now.at_s, sent_share(before, now, self.ladder.rung.fps))
            before = now

    def send_vitals(self, message: str) -> bool:
        """Send a message of the live screen, stamped with the newest picture's capture time; False if dropped."""
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > BACKLOG_LIMIT_BYTES:
            return False
        stamp = self._track.newest_at_unix_ms if self._track else None
        head = json.dumps({"frame_at_ms": stamp, "sent_at_ms": time.time_ns() // 1_000_000})
        channel.send(f'{head[:-1]}, "message": {message}}}')
        return True

    async def close(self) -> None:
        """Close the connection; bounded in time."""
        self._over.set()
        if self._track is not None:
            self._track.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                try:
                    await self._connection.close()
                except UNREADABLE:
                    # A description that was taken in by half: the library stumbles over the other half.
                    await self._let_go()

    def _add_tracks(self) -> None:
        for track in (self._track, self._microphone):
            if track is not None:
                self._connection.addTrack(track)
        vp8 = [codec for codec in RTCRtpSender.getCapabilities("video").codecs if codec.mimeType == "video/VP8"]
        for transceiver in self._connection.getTransceivers():
            if transceiver.kind == "video":
                # A third of the CPU of H.264 on a small node (reliability 5e).
                transceiver.setCodecPreferences(vp8)

    async def _until_connected(self) -> None:
        async with asyncio.TaskGroup() as group:
            either = [group.create_task(event.wait()) for event in (self._connected, self._over)]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            for task in either:
                task.cancel()

    def _follow(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self.has_connected = True
            self._connected.set()
        elif state in ("failed", "closed"):
            self._over.set()

    def _take_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == "vitals":
            self._channel = channel

    def _cut_off(self, size_bytes: int) -> None:
        self.is_flooded = True
        self._over.set()
        _log.warning("consult peer sends far too much", size_bytes=size_bytes)

    def _transports(self) -> set[RTCDtlsTransport]:
        parts = [*self._connection.getReceivers(), *self._connection.getSenders(), self._connection.sctp]
        return {part.transport for part in parts if part is not None and part.transport is not None}

    async def _let_go(self) -> None:
        for transport in self._transports():
            await transport.stop()
            await transport.transport.stop()

    def _inflow(self) -> Inflow:
        """What arrived on all transports of this connection; a description may ask for one for each part."""
        packets = size_bytes = 0
        for transport in self._transports():
            # The library tells these figures in public only for a connection that has picture or sound.
            for entry in transport._get_stats().values():  # noqa: SLF001
                packets += entry.packetsReceived
                size_bytes += entry.bytesReceived
        return Inflow(time.monotonic(), packets, size_bytes)

    def _count(self) -> "Count":
        sent = self._track.sent if self._track else 0
        return Count(time.monotonic(), sent, self._camera.number if self._camera else 0)

    async def _climb_or_fall(self, now_s: float, share: float) -> None:
        track = self._track
        if track is None:
            return
        if track.failure is not None:
            self._changed()
            self._over.set()
            return
        loss, rtt_s = await self._link()
        before = self.ladder
        self.ladder = rungs.step(before, rungs.LinkSample(now_s, loss, rtt_s, share, self.is_pressed()))
        if self.ladder.index != before.index:
            track.rung = self.ladder.rung
        self._changed()

    async def _link(self) -> tuple[float, float]:
        """Loss (0 to 1) and round trip (s) as the browser reports them for the picture."""
        loss, rtt_s = 0.0, 0.0
        for sender in self._connection.getSenders():
            if sender.kind != "video":
                continue
            for entry in (await sender.getStats()).values():
                if entry.type == "remote-inbound-rtp":
                    loss, rtt_s = entry.fractionLost / 256, entry.roundTripTime or 0.0
        return loss, rtt_s

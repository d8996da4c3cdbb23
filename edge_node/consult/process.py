"""The child process: cameras, microphone and peer connections of this node's consults.

It reads lines on stdin and writes lines on stdout (see `pipe`); the log goes to stderr.  The end of stdin ends it.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from aiortc import MediaStreamTrack

from edge_node.consult.camera import Camera
from edge_node.consult.ladder import WORDS
from edge_node.consult.limits import read_body, read_candidate, read_description
from edge_node.consult.microphone import open_microphone
from edge_node.consult.peer import CameraPeer, Sources
from edge_node.consult.pipe import Configure, Forget, Line, Permit, Pressed, Ready, Step, Vitals
from edge_node.errors import CameraUnavailable, SignalRefused

FPS_STEP = 5
BUSY = CameraUnavailable("摄像头正用于另一个会诊", "The camera is in use by another consult")
UNREACHED = CameraUnavailable("连接未能建立", "The connection could not be made")
FLOODED = CameraUnavailable("对方发来的数据过多，连接已切断", "The other side sent far too much and was cut off")
NONE = CameraUnavailable("此床位没有摄像头", "There is no camera at this bed")

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Call:
    """One accepted consult."""

    bed: str
    peer: CameraPeer | None = None
    camera: str = "off"
    reason: CameraUnavailable | None = None
    microphone: MediaStreamTrack | None = None
    steps: asyncio.Queue[Step] = field(default_factory=lambda: asyncio.Queue(maxsize=128))
    reported: str = ""


class Consults:
    """All consults of this node that were accepted and are not over."""

    def __init__(self, settings: Configure, say: Callable[[Line], None]) -> None:
        self._settings = settings
        self._say = say
        self._calls: dict[str, _Call] = {}
        self._camera: Camera | None = None
        self._is_pressed = False
        self._opening = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, lines: asyncio.Queue[Line | None]) -> None:
        """Take lines until None, then close everything."""
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = group
                self._say(Ready(os.getpid()))
                while (line := await lines.get()) is not None:
                    self._take(line)
                for consult_id in list(self._calls):
                    self._forget(consult_id)
        finally:
            await self._release_if_idle()

    def _take(self, line: Line) -> None:
        if isinstance(line, Permit):
            self._permit(line)
        elif isinstance(line, Forget):
            self._forget(line.consult_id)
        elif isinstance(line, Vitals):
            self._send_vitals(line)
        elif isinstance(line, Pressed):
            self._is_pressed = line.is_pressed
        elif isinstance(line, Step):
            self._queue(line)

    def _permit(self, line: Permit) -> None:
        if line.consult_id in self._calls:
            return
        call = self._calls[line.consult_id] = _Call(bed=line.bed)
        assert self._tasks is not None
        self._tasks.create_task(self._serve(line.consult_id, call))
        self._report(line.consult_id, call)

    def _forget(self, consult_id: str) -> None:
        call = self._calls.pop(consult_id, None)
        if call is not None:
            _put(call.steps, Step(consult_id, "bye", ""))

    def _send_vitals(self, line: Vitals) -> None:
        for call in self._calls.values():
            if call.bed == line.bed and call.peer is not None:
                call.peer.send_vitals(line.message)

    def _queue(self, step: Step) -> None:
        call = self._calls.get(step.consult_id)
        if call is None:
            self._refuse(step.consult_id, SignalRefused("会诊尚未接听或已结束", "The consult is not accepted, or over"))
        elif not _put(call.steps, step):
            self._refuse(step.consult_id, SignalRefused("信令过多，已拒绝", "Too many signals; refused"))

    async def _serve(self, consult_id: str, call: _Call) -> None:
        """Take the steps of one consult in their order until it is over."""
        async with asyncio.TaskGroup() as group:
            while (step := await call.steps.get()).kind != "bye":
                try:
                    if step.kind == "offer":
                        await self._offered(group, consult_id, call, read_body(step.body))
                    elif step.kind == "candidate" and call.peer is not None:
                        await call.peer.take_candidate(*read_candidate(read_body(step.body)))
                except SignalRefused as error:
                    self._refuse(consult_id, error)
            await self._drop_peer(call)
        await self._release_if_idle()

    async def _offered(
        self, group: asyncio.TaskGroup, consult_id: str, call: _Call, body: Mapping[str, object]
    ) -> None:
        sdp, attempt = read_description(body)
        await self._drop_peer(call)
        call.camera, call.reason = "opening", None
        self._report(consult_id, call)
        sources = await self._open_sources(call)
        settings = self._settings
        peer = CameraPeer(sources, settings.ice_servers, settings.top_rung, lambda: self._report(consult_id, call))
        peer.is_pressed = lambda: self._is_pressed
        try:
            answer = await peer.answer(sdp, attempt)
        except SignalRefused:
            call.camera = "off"
            await peer.close()
            raise
        call.peer = peer
        self._say(Step(consult_id, "answer", json.dumps(answer)))
        self._report(consult_id, call)
        group.create_task(self._watch(consult_id, call, peer))

    async def _watch(self, consult_id: str, call: _Call, peer: CameraPeer) -> None:
        await peer.run()
        await peer.close()
        if call.peer is not peer:
            return
        call.peer = None
        call.camera = "off"
        if peer.track is not None and peer.track.failure is not None:
            call.camera, call.reason = "failed", peer.track.failure
        elif peer.is_flooded:
            call.camera, call.reason = "failed", FLOODED
        elif not peer.has_connected:
            call.camera, call.reason = "failed", UNREACHED
        if consult_id in self._calls:
            self._report(consult_id, call)
        await self._release_if_idle()

    async def _open_sources(self, call: _Call) -> Sources:
        camera = None
        try:
            camera = await self._open_camera(call)
            call.camera = "open"
        except CameraUnavailable as error:
            call.camera, call.reason = "failed", error
            _log.warning("camera unavailable", bed=call.bed, reason=error.en)
        if self._settings.microphone:
            try:
                call.microphone = await open_microphone(self._settings.microphone)
            except CameraUnavailable as error:
                call.reason = call.reason or error
                _log.warning("microphone unavailable", reason=error.en)
        return Sources(camera, call.microphone)

    async def _open_camera(self, call: _Call) -> Camera:
        source = self._settings.cameras.get(call.bed, self._settings.cameras.get("", ""))
        if not source:
            raise NONE
        async with self._opening:
            if self._camera is not None and self._camera.source != source and self._is_used(besides=call):
                raise BUSY
            if self._camera is not None and (self._camera.source != source or self._camera.failed):
                await self._camera.close()
                self._camera = None
            if self._camera is None:
                camera = Camera(source)
                await camera.open()
                self._camera = camera
            return self._camera

    def _is_used(self, besides: _Call | None = None) -> bool:
        others = [call for call in self._calls.values() if call is not besides]
        return any(call.peer is not None or call.camera in ("opening", "open") for call in others)

    async def _drop_peer(self, call: _Call) -> None:
        peer, call.peer = call.peer, None
        microphone, call.microphone = call.microphone, None
        if microphone is not None:
            microphone.stop()
        if peer is not None:
            await peer.close()

    async def _release_if_idle(self) -> None:
        async with self._opening:
            if self._camera is not None and not self._is_used():
                camera, self._camera = self._camera, None
                await camera.close()

    def _refuse(self, consult_id: str, error: SignalRefused) -> None:
        refused = {"refused": {"zh": error.zh, "en": error.en}}
        self._say(Step(consult_id, "state", json.dumps(refused, ensure_ascii=False)))

    def _report(self, consult_id: str, call: _Call) -> None:
        """Tell the hub's page how things stand, if that changed."""
        peer = call.peer
        words = WORDS.get(peer.ladder.cause) if peer else None
        report = {
            "camera": call.camera,
            "reason": {"zh": call.reason.zh, "en": call.reason.en} if call.reason else None,
            "rung": peer.ladder.rung.name if peer and peer.track else None,
            "top": self._settings.top_rung,
            "why": {"zh": words[0], "en": words[1]} if words else None,
            # In steps, so that a rate that flickers by one does not fill the link with reports.
            "fps": FPS_STEP * round(peer.fps / FPS_STEP) if peer else 0,
            "microphone": call.microphone is not None,
        }
        text = json.dumps(report, ensure_ascii=False)
        if text != call.reported:
            call.reported = text
            self._say(Step(consult_id, "state", text))


def _put(queue: asyncio.Queue[Step], step: Step) -> bool:
    """Add a step; a queue that is full loses its oldest for a bye, and refuses anything else."""
    if queue.full() and step.kind != "bye":
        return False
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(step)
    return True

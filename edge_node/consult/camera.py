"""One open camera: a V4L2 device, an RTSP stream, or a video file played in a loop as a test camera.

A thread decodes; the loop sees only the newest picture, so that a slow peer never makes a queue.
"""

import asyncio
import contextlib
import errno
import fractions
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import av.container
import av.error

from edge_node.errors import CameraUnavailable

OPEN_LIMIT_S = 5.0
READ_LIMIT_S = 5.0
CLOSE_LIMIT_S = 2.0
SILENCE_LIMIT_S = 6.0
"""A camera that gives no picture for this long has failed."""
NETWORK_OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "500000"}
"""Looked at for half a second before the first picture; `nobuffer` would lose it and wait for the next key frame."""
LIVE_OPTIONS = {"framerate": "30", "video_size": "1280x720"}


@dataclass(frozen=True, slots=True)
class Captured:
    """One picture, with when it was taken."""

    frame: av.VideoFrame
    number: int
    at_unix_ms: int
    at_mono_s: float


class Camera:
    """A camera while it is open.  Made, used and closed on the event loop."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._fresh = asyncio.Event()
        self._newest: Captured | None = None
        self._failure: CameraUnavailable | None = None
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    @property
    def failed(self) -> bool:
        """True once the camera will give no more pictures."""
        return self._failure is not None

    @property
    def number(self) -> int:
        """Number of the newest picture; 0 before the first."""
        return self._newest.number if self._newest else 0

    async def open(self) -> None:
        """Start the camera; returns with the first picture decoded.

        Raises:
            CameraUnavailable: missing, busy, not allowed, or without a picture; the reason is in words.
        """
        self._thread.start()
        try:
            async with asyncio.timeout(OPEN_LIMIT_S + READ_LIMIT_S):
                await asyncio.shield(self._opened)
        except TimeoutError as error:
            await self.close()
            raise CameraUnavailable("摄像头没有画面", "The camera gives no picture") from error
        except CameraUnavailable:
            await self.close()
            raise

    async def newer_than(self, number: int) -> Captured:
        """Return the newest picture once its number is greater than `number`.

        Raises:
            CameraUnavailable: the camera failed or fell silent.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._newest is not None and self._newest.number > number:
                return self._newest
            try:
                async with asyncio.timeout(SILENCE_LIMIT_S):
                    await self._fresh.wait()
            except TimeoutError as error:
                raise CameraUnavailable("摄像头没有画面", "The camera gives no picture") from error

    async def close(self) -> None:
        """Let go of the device; bounded in time, because a driver may hang."""
        self._stop.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, CLOSE_LIMIT_S)
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._play_once()
                if not _is_file(self.source):
                    raise CameraUnavailable("摄像头已断开", "The camera was disconnected")
        except (OSError, av.error.FFmpegError, ValueError, IndexError) as error:
            self._tell(self._failed, explain(error))
        except CameraUnavailable as error:
            self._tell(self._failed, error)

    def _play_once(self) -> None:
        with contextlib.closing(_open(self.source)) as container:
            stream = container.streams.video[0]
            pace = _Pace(self._stop) if _is_file(self.source) else None
            for frame in container.decode(stream):
                if self._stop.is_set():
                    return
                if pace is not None:
                    pace.wait_for(frame.pts, frame.time_base)
                self._tell(self._put, frame)

    def _tell(self, method: Callable[..., None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is left to tell
            self._loop.call_soon_threadsafe(method, value)

    def _put(self, frame: av.VideoFrame) -> None:
        number = 1 if self._newest is None else self._newest.number + 1
        self._newest = Captured(frame, number, time.time_ns() // 1_000_000, time.monotonic())
        self._wake()
        if not self._opened.done():
            self._opened.set_result(None)

    def _failed(self, failure: CameraUnavailable) -> None:
        self._failure = failure
        self._wake()
        if not self._opened.done():
            self._opened.set_exception(failure)

    def _wake(self) -> None:
        self._fresh.set()
        self._fresh = asyncio.Event()


class _Pace:
    """Lets a file run at the speed of its own time stamps."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._start_s: float | None = None

    def wait_for(self, pts: int | None, time_base: fractions.Fraction | None) -> None:
        """Sleep until the picture with this time stamp is due."""
        at_s = float((pts or 0) * (time_base or 0))
        if self._start_s is None:
            self._start_s = time.monotonic() - at_s
        self._stop.wait(max(0.0, self._start_s + at_s - time.monotonic()))


def _is_file(source: str) -> bool:
    return "://" not in source and not source.startswith("/dev/")


def _open(source: str) -> av.container.InputContainer:
    if source.startswith("/dev/"):
        return av.open(source, format="v4l2", options=LIVE_OPTIONS, timeout=(OPEN_LIMIT_S, READ_LIMIT_S))
    if "://" in source:
        return av.open(source, options=NETWORK_OPTIONS, timeout=(OPEN_LIMIT_S, READ_LIMIT_S))
    if not Path(source).is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", source)
    return av.open(source)


def explain(error: Exception) -> CameraUnavailable:
    """Say in words why a camera could not be used."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return CameraUnavailable("没有找到摄像头", "The camera was not found")
    if number == errno.EBUSY:
        return CameraUnavailable("摄像头正被其他程序使用", "The camera is in use by another program")
    if number in (errno.EACCES, errno.EPERM):
        return CameraUnavailable("没有使用摄像头的权限", "This node may not use the camera")
    if number in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT):
        return CameraUnavailable("网络摄像头没有应答", "The network camera does not answer")
    return CameraUnavailable("摄像头的画面无法读取", "The picture of the camera cannot be read")

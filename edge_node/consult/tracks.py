"""The picture as one peer gets it: the newest frame, scaled and thinned to the rung of its ladder."""

from fractions import Fraction

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from edge_node.consult.camera import Camera
from edge_node.consult.ladder import Rung
from edge_node.errors import CameraUnavailable

CLOCK_HZ = 90_000
EVEN = 2
"""Chroma planes are halved, so both sides must be even."""
PACE_SLACK = 0.25
"""Share of a picture's interval by which one may come early: cameras jitter."""


class CameraTrack(MediaStreamTrack):
    """Video for one peer."""

    kind = "video"

    def __init__(self, camera: Camera, rung: Rung) -> None:
        super().__init__()
        self.rung = rung
        self.failure: CameraUnavailable | None = None
        self.sent = 0
        self.newest_at_unix_ms: int | None = None
        """Capture time of the newest picture handed to the encoder."""
        self._camera = camera
        self._number = 0
        self._due_mono_s = 0.0
        self._start_mono_s: float | None = None
        self._reformatter = VideoReformatter()

    async def recv(self) -> VideoFrame:
        """Return the next picture that the rung asks for.

        Raises:
            MediaStreamError: the camera failed (see `failure`) or the track was stopped.
        """
        try:
            captured = await self._camera.newer_than(self._number)
            while self._is_early(captured.at_mono_s):
                captured = await self._camera.newer_than(captured.number)
        except CameraUnavailable as error:
            self.failure = error
            raise MediaStreamError from error
        if self.readyState != "live":
            raise MediaStreamError
        self._number = captured.number
        self._set_due(captured.at_mono_s)
        frame = self._scaled(captured.frame)
        frame.pts, frame.time_base = self._timestamp(captured.at_mono_s), Fraction(1, CLOCK_HZ)
        self.sent += 1
        self.newest_at_unix_ms = captured.at_unix_ms
        return frame

    def _is_early(self, at_mono_s: float) -> bool:
        return self.rung.fps > 0 and at_mono_s < self._due_mono_s - PACE_SLACK / self.rung.fps

    def _set_due(self, at_mono_s: float) -> None:
        # Kept on a grid, so that 30 fps thinned to 25 gives 25 and not 15; a late picture starts the grid anew.
        interval_s = 1 / self.rung.fps if self.rung.fps else 1.0
        on_grid_s = self._due_mono_s + interval_s
        self._due_mono_s = on_grid_s if on_grid_s > at_mono_s else at_mono_s + interval_s

    def _timestamp(self, at_mono_s: float) -> int:
        if self._start_mono_s is None:
            self._start_mono_s = at_mono_s
        return int((at_mono_s - self._start_mono_s) * CLOCK_HZ)

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        width, height = fit(frame.width, frame.height, self.rung.height_px)
        return self._reformatter.reformat(frame, width=width, height=height, format="yuv420p")


def fit(width_px: int, height_px: int, limit_px: int) -> tuple[int, int]:
    """Return the size of a picture not higher than `limit_px`, its shape kept, both sides even.

    A smaller picture is never blown up; a limit of 0 means none.
    """
    scale = min(1.0, limit_px / height_px) if limit_px else 1.0
    return _even(width_px * scale), _even(height_px * scale)


def _even(length_px: float) -> int:
    return max(EVEN, int(length_px) // EVEN * EVEN)

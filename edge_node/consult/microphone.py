"""The node's own microphone, for a call where no bedside page is open (decision 7): ALSA, or a file as a test."""

import asyncio
import contextlib
from fractions import Fraction

import av
import av.error
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from edge_node.errors import CameraUnavailable

RATE_HZ = 48_000
FRAME_SAMPLES = 960
"""20 ms, what Opus takes."""
FILE_LIMIT_S = 120
STOP_LIMIT_S = 1.0
ALSA = "alsa:"


class FileMicrophone(MediaStreamTrack):
    """Plays the sound of a file for ever, at its own speed."""

    kind = "audio"

    def __init__(self, samples: "np.ndarray[tuple[int], np.dtype[np.int16]]") -> None:
        super().__init__()
        self._samples = samples
        self._at = 0
        self._start_s: float | None = None

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms when they are due."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if self._start_s is None:
            self._start_s = loop.time()
        await asyncio.sleep(self._start_s + self._at / RATE_HZ - loop.time())
        places = np.arange(self._at, self._at + FRAME_SAMPLES) % len(self._samples)
        frame = _frame(self._samples[places].tobytes(), self._at)
        self._at += FRAME_SAMPLES
        return frame


class AlsaMicrophone(MediaStreamTrack):
    """Reads a sound card through `arecord`, which every Linux with sound has."""

    kind = "audio"

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process
        self._at = 0

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms; the card sets the pace."""
        assert self._process.stdout is not None
        try:
            raw = await self._process.stdout.readexactly(FRAME_SAMPLES * 2)
        except asyncio.IncompleteReadError as error:
            raise MediaStreamError from error
        frame = _frame(raw, self._at)
        self._at += FRAME_SAMPLES
        return frame

    def stop(self) -> None:
        """Let go of the sound card."""
        super().stop()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()


async def open_microphone(source: str) -> MediaStreamTrack:
    """Return a track for `alsa:<device>` or for an audio file.

    Raises:
        CameraUnavailable: missing or unreadable; the reason is in words.
    """
    if source.startswith(ALSA):
        return AlsaMicrophone(await _start_arecord(source.removeprefix(ALSA)))
    try:
        return FileMicrophone(await asyncio.to_thread(_read_file, source))
    except (OSError, av.error.FFmpegError, ValueError, IndexError) as error:
        raise CameraUnavailable("麦克风无法打开", "The microphone could not be opened") from error


async def _start_arecord(device: str) -> asyncio.subprocess.Process:
    arguments = ["-q", "-D", device, "-f", "S16_LE", "-r", str(RATE_HZ), "-c", "1", "-t", "raw"]
    try:
        return await asyncio.create_subprocess_exec(
            "arecord",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise CameraUnavailable("缺少录音程序 arecord", "The recording program arecord is missing") from error


def _read_file(source: str) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    parts = []
    with contextlib.closing(av.open(source)) as container:
        for frame in container.decode(container.streams.audio[0]):
            parts += [part.to_ndarray().ravel() for part in resampler.resample(frame)]
            if sum(len(part) for part in parts[-1:]) == 0 or len(parts) * FRAME_SAMPLES > FILE_LIMIT_S * RATE_HZ:
                break
    samples = np.concatenate(parts).astype(np.int16)
    if not len(samples):
        raise ValueError("no sound in the file")
    return samples


def _frame(raw: bytes, at: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
    frame.planes[0].update(raw)
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, at, Fraction(1, RATE_HZ)
    return frame

"""Makes the test camera's clip and the test microphone's sound: `python -m edge_node.consult.testcard CLIP.mp4`.

The clip shows a figure that walks, colour bars and a running clock: a picture that stands still is seen at once.
"""

import argparse
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX, FPS, SECONDS = 1280, 720, 30, 10
RATE_HZ = 48_000
BEEP_HZ, BEEP_S = 440, 0.25
BARS = ((200, 200, 200), (190, 190, 20), (20, 190, 190), (20, 190, 20), (190, 20, 190), (190, 20, 20), (20, 20, 190))
SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcfgd")
"""Seven-segment digits 0 to 9."""

Picture = NDArray[np.uint8]


def make(clip: Path) -> Path:
    """Write the clip, and the sound beside it under the same name with .wav, unless they are there.

    Returns the path of the sound.
    """
    clip.parent.mkdir(parents=True, exist_ok=True)
    sound = clip.with_suffix(".wav")
    if not sound.exists():
        write_sound(sound, SECONDS)
    if not clip.exists():
        write_clip(clip, SECONDS)
    return sound


def write_clip(path: Path, seconds: int, size: tuple[int, int] = (WIDTH_PX, HEIGHT_PX)) -> None:
    """Write the moving picture as H.264, through a second name so that a half-written clip is never played."""
    width_px, height_px = size
    half = path.with_name(path.stem + ".part" + path.suffix)
    with av.open(str(half), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "27", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        for number, picture in enumerate(_pictures(seconds * FPS, width_px, height_px)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    half.rename(path)


def write_sound(path: Path, seconds: int) -> None:
    """Write a soft beep each second."""
    at_s = np.arange(seconds * RATE_HZ) / RATE_HZ
    tone = np.where(at_s % 1 < BEEP_S, np.sin(2 * np.pi * BEEP_HZ * at_s), 0.0)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes((tone * 9000).astype("<i2").tobytes())


def _pictures(count: int, width_px: int, height_px: int) -> Iterator[Picture]:
    card = np.zeros((height_px, width_px, 3), np.uint8)
    edges = np.linspace(0, width_px, len(BARS) + 1).astype(int)
    for number, colour in enumerate(BARS):
        card[:, edges[number] : edges[number + 1]] = np.array(colour, np.uint8) // 2
    for number in range(count):
        picture = card.copy()
        _draw_figure(picture, number, count)
        _draw_clock(picture, number)
        yield picture


def _draw_figure(picture: Picture, number: int, count: int) -> None:
    """A head and two swinging arms, once across the picture in `count` pictures."""
    height_px, width_px, _ = picture.shape
    unit = height_px // 12
    x = int((width_px - 4 * unit) * (0.5 - 0.5 * np.cos(2 * np.pi * number / count))) + 2 * unit
    swing = int(unit * np.sin(2 * np.pi * number / FPS))
    y = height_px // 2
    skin = np.array((235, 195, 170), np.uint8)
    rows, columns = np.ogrid[:height_px, :width_px]
    picture[(rows - y) ** 2 + (columns - x) ** 2 < unit**2] = skin
    picture[y + unit : y + 4 * unit, x - unit // 2 : x + unit // 2] = (70, 110, 160)
    for side in (-1, 1):
        left = x + side * unit + side * swing - unit // 6
        picture[y + unit : y + 3 * unit, max(0, left) : left + unit // 3] = skin


def _draw_clock(picture: Picture, number: int) -> None:
    """Seconds and pictures as seven-segment digits, top left."""
    size = max(2, picture.shape[0] // 90)
    text = f"{number // FPS:02d}{number % FPS:02d}"
    picture[size : 17 * size, size : (len(text) * 9 + 5) * size] = 0
    for place, digit in enumerate(text):
        _draw_digit(picture, SEGMENTS[int(digit)], (3 + place * 9 + (3 if place > 1 else 0)) * size, size)


def _draw_digit(picture: Picture, segments: str, x: int, size: int) -> None:
    boxes = {
        "a": (2, 0, 4, 1), "b": (2, 5, 6, 1), "c": (9, 5, 6, 1), "d": (14, 0, 4, 1),
        "e": (9, 0, 6, 1), "f": (2, 0, 6, 1), "g": (8, 0, 4, 1),
    }  # fmt: skip
    for segment in segments:
        top, left, length, _ = boxes[segment]
        if segment in "adg":
            picture[top * size : (top + 1) * size, x + (left + 1) * size : x + (left + 1 + length) * size] = 255
        else:
            picture[(top + 1) * size : (top + length) * size, x + left * size : x + (left + 1) * size] = 255


def main() -> None:
    """Make the clip named on the command line, and the sound beside it."""
    parser = argparse.ArgumentParser(description="Make the test camera's clip and the test microphone's sound.")
    parser.add_argument("clip", type=Path, help="file to write, e.g. test-camera.mp4")
    make(parser.parse_args().clip)


if __name__ == "__main__":
    main()

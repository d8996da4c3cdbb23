"""One open camera, and its reasons in words when there is none."""

import errno
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from edge_node.consult.camera import Camera, explain
from edge_node.consult.ladder import RUNGS, Rung
from edge_node.consult.microphone import FRAME_SAMPLES, RATE_HZ, open_microphone
from edge_node.consult.tracks import CameraTrack, fit
from edge_node.errors import CameraUnavailable
from tests.fakes.rtsp_camera import RtspCamera


@pytest.mark.anyio
async def test_a_test_camera_plays_its_clip_in_a_loop_at_its_own_speed(clip: Path) -> None:
    camera = Camera(str(clip))
    await camera.open()
    try:
        first = await camera.newer_than(0)
        captured = first
        while captured.number < first.number + 45:
            captured = await camera.newer_than(captured.number)
        taken_s = captured.at_mono_s - first.at_mono_s
    finally:
        await camera.close()
    assert 1.3 < taken_s < 2.5
    assert (captured.frame.width, captured.frame.height) == (320, 180)
    assert abs(captured.at_unix_ms - time.time_ns() // 1_000_000) < 5_000


@pytest.mark.anyio
async def test_the_picture_moves(clip: Path) -> None:
    camera = Camera(str(clip))
    await camera.open()
    try:
        one = await camera.newer_than(0)
        later = await camera.newer_than(one.number + 5)
    finally:
        await camera.close()
    assert np.any(one.frame.to_ndarray() != later.frame.to_ndarray())


@pytest.mark.anyio
@pytest.mark.parametrize("source", ["/dev/video99", "no-such-clip.mp4"])
async def test_a_missing_camera_is_said_in_words(source: str) -> None:
    with pytest.raises(CameraUnavailable) as caught:
        await Camera(source).open()
    assert caught.value.zh == "没有找到摄像头"
    assert caught.value.en == "The camera was not found"


@pytest.mark.anyio
async def test_a_file_that_is_no_video_is_said_in_words(tmp_path: Path) -> None:
    wrong = tmp_path / "x.mp4"
    wrong.write_bytes(b"this is no video" * 100)
    with pytest.raises(CameraUnavailable) as caught:
        await Camera(str(wrong)).open()
    assert "cannot be read" in caught.value.en


@pytest.mark.anyio
async def test_a_network_camera_that_refuses_is_said_in_words(unused_port: int) -> None:
    with pytest.raises(CameraUnavailable) as caught:
        await Camera(f"rtsp://127.0.0.1:{unused_port}/live").open()
    assert caught.value.zh == "网络摄像头没有应答"


@pytest.mark.anyio
async def test_a_network_camera_is_played_over_one_connection_and_its_loss_is_said_in_words(clip: Path) -> None:
    network_camera = RtspCamera(clip)
    camera = Camera(network_camera.url)
    await camera.open()
    try:
        # What piled up while the stream was looked at comes at once.
        captured = first = await camera.newer_than(60)
        while captured.number < first.number + 30:
            captured = await camera.newer_than(captured.number)
        taken_s = captured.at_mono_s - first.at_mono_s
        network_camera.unplug()
        with pytest.raises(CameraUnavailable) as caught:
            [await camera.newer_than(number) for number in range(captured.number, captured.number + 60)]
    finally:
        await camera.close()
    assert (captured.frame.width, captured.frame.height) == (320, 180)
    assert 0.7 < taken_s < 2.0
    assert "RTP/AVP/TCP" in network_camera.transport
    assert network_camera.asked[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert caught.value.zh == "摄像头已断开"


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.EBUSY, "in use"), (errno.EACCES, "may not"), (errno.ENODEV, "not found"), (errno.EIO, "cannot be read")],
)
def test_each_failure_of_a_device_has_its_words(number: int, word: str) -> None:
    assert word in explain(OSError(number, "x")).en


@pytest.mark.anyio
async def test_a_track_thins_and_scales_to_its_rung(clip: Path) -> None:
    camera = Camera(str(clip))
    await camera.open()
    track = CameraTrack(camera, Rung("small", 90, 5))
    try:
        frames = [await track.recv() for _ in range(4)]
    finally:
        track.stop()
        await camera.close()
    at_s = [frame.time or 0.0 for frame in frames]
    steps_s = [later - earlier for earlier, later in pairwise(at_s)]
    assert (frames[0].width, frames[0].height, frames[0].format.name) == (160, 90, "yuv420p")
    assert all(0.14 < step_s < 0.35 for step_s in steps_s)
    assert track.sent == 4
    assert track.newest_at_unix_ms is not None


@pytest.mark.anyio
async def test_a_track_of_a_closed_camera_ends_with_its_reason(clip: Path) -> None:
    camera = Camera(str(clip))
    await camera.open()
    track = CameraTrack(camera, RUNGS[2])
    camera._failed(CameraUnavailable("摄像头已断开", "The camera was disconnected"))
    with pytest.raises(MediaStreamError):
        await track.recv()
    await camera.close()
    assert track.failure is not None
    assert track.failure.zh == "摄像头已断开"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("camera_fps", "rung_fps", "expected"), [(30, 25, 25), (25, 25, 25), (30, 15, 15), (25, 30, 25)]
)
async def test_thinning_keeps_the_rate_that_was_asked_for(camera_fps: int, rung_fps: int, expected: int) -> None:
    track = CameraTrack(Camera("unused"), Rung("x", 0, rung_fps))
    taken = 0
    for number in range(1000, 1000 + 4 * camera_fps):
        at_s = number / camera_fps
        if not track._is_early(at_s):
            track._set_due(at_s)
            taken += 1
    assert abs(taken / 4 - expected) <= 0.5


@pytest.mark.parametrize(
    ("size", "limit_px", "expected"),
    [((1280, 720), 480, (852, 480)), ((320, 180), 480, (320, 180)), ((1281, 721), 0, (1280, 720)), ((3, 3), 1, (2, 2))],
)
def test_a_picture_keeps_its_shape_and_is_never_blown_up(
    size: tuple[int, int], limit_px: int, expected: tuple[int, int]
) -> None:
    assert fit(*size, limit_px) == expected


@pytest.mark.anyio
async def test_a_test_microphone_gives_20_ms_of_sound_at_a_time_for_ever(sound: Path) -> None:
    track = await open_microphone(str(sound))
    frames = [frame for _ in range(60) if isinstance(frame := await track.recv(), AudioFrame)]
    track.stop()
    assert {frame.samples for frame in frames} == {FRAME_SAMPLES}
    assert [frame.pts for frame in frames[:3]] == [0, FRAME_SAMPLES, 2 * FRAME_SAMPLES]
    assert frames[0].sample_rate == RATE_HZ
    assert np.abs(frames[55].to_ndarray()).max() > 1000
    with pytest.raises(MediaStreamError):
        await track.recv()


@pytest.mark.anyio
async def test_a_missing_microphone_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CameraUnavailable, match="microphone"):
        await open_microphone(str(tmp_path / "none.wav"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CameraUnavailable, match="arecord"):
        await open_microphone("alsa:default")

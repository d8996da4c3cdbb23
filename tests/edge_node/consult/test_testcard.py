"""The test camera's clip, and how the configuration names media."""

from pathlib import Path

import av
import pytest

from edge_node import config
from edge_node.consult import testcard

TOML = """
[node]
region = "r"
site = "s"
node = "n"
name_zh = "诊所"
name_en = "Clinic"
[buffer]
folder = "buffer"
[uplink]
secret_file = "secret"
[consult]
camera = "cam-1"
microphone = "{microphone}"
[[beds]]
bed = "B01"
label = "01"
[[devices]]
device = "cam-1"
family = "camera"
source = "{source}"
"""


def test_clip_and_sound_are_made_once_and_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testcard, "SECONDS", 1)
    clip = tmp_path / "new" / "test-camera.mp4"
    sound = testcard.make(clip)
    made_at_ns = clip.stat().st_mtime_ns
    assert testcard.make(clip) == sound == clip.with_suffix(".wav")
    assert clip.stat().st_mtime_ns == made_at_ns
    with av.open(str(clip)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == testcard.FPS
    assert (frames[0].to_ndarray() != frames[-1].to_ndarray()).any()


@pytest.mark.parametrize(
    ("source", "microphone", "expected"),
    [
        ("clip.mp4", "tone.wav", ("{base}/clip.mp4", "{base}/tone.wav")),
        ("/dev/video0", "alsa:default", ("/dev/video0", "alsa:default")),
        ("rtsp://10.0.0.9/live", "", ("rtsp://10.0.0.9/live", "")),
    ],
)
def test_a_media_file_is_relative_to_the_configuration(
    tmp_path: Path, source: str, microphone: str, expected: tuple[str, str]
) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(TOML.format(source=source, microphone=microphone), encoding="utf-8")
    loaded = config.load(path)
    wanted = tuple(text.format(base=tmp_path.resolve()) for text in expected)
    assert (loaded.devices[0].source, loaded.consult.microphone) == wanted

"""Small clips and sounds for the consult's tests, made once."""

from pathlib import Path

import pytest

from edge_node.consult.testcard import write_clip, write_sound
from tests.fakes.ports import free_port


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test camera of one second, 320 x 180 at 25 fps."""
    path = tmp_path_factory.mktemp("camera") / "clip.mp4"
    write_clip(path, 1, (320, 180))
    return path


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test microphone of one second."""
    path = tmp_path_factory.mktemp("microphone") / "tone.wav"
    write_sound(path, 1)
    return path


@pytest.fixture
def unused_port() -> int:
    """A port of this machine at which nobody listens."""
    return free_port()

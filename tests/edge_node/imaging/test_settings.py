"""The configuration of imaging: what would destroy something, or cannot be meant, is refused."""

import re
from pathlib import Path

import pytest

from edge_node import config
from edge_node.errors import ConfigRefused

SETTINGS = """
[node]
region = "baoshan"
site = "clinic"
node = "edge-clinic"
name_zh = "诊所"
name_en = "Clinic"

[buffer]
folder = "store"
key_folder = "keys"

[uplink]
broker_host = "127.0.0.1"
secret_file = "secret"

[[beds]]
bed = "1"
label = "1"

[imaging]
senders = ["CT"]
{imaging}
"""


def load(folder: Path, imaging: str) -> config.EdgeConfig:
    file = folder / "edge.toml"
    file.write_text(SETTINGS.format(imaging=imaging))
    return config.load(file)


@pytest.mark.parametrize(
    ("watched", "images", "named"),
    [
        ("elsewhere/images", "elsewhere/images", "imaging.folder"),
        ("elsewhere", "elsewhere/images", "imaging.folder"),
        ("elsewhere/images/objects", "elsewhere/images", "imaging.folder"),
        ("elsewhere/../store", "elsewhere", "buffer.folder"),
        ("store/in", "elsewhere", "buffer.folder"),
        ("link", "elsewhere", "buffer.folder"),
        ("keys", "elsewhere", "buffer.key_folder"),
        (".", "/somewhere/else", "buffer.folder"),
    ],
)
def test_a_watched_folder_that_would_empty_another_is_refused_with_its_line(
    tmp_path: Path, watched: str, images: str, named: str
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to("store")
    with pytest.raises(ConfigRefused, match=rf"edge\.toml:24: imaging\.watched_folder: .*{re.escape(named)}"):
        load(tmp_path, f'folder = "{images}"\nwatched_folder = "{watched}"')


def test_a_watched_folder_beside_the_others_is_taken(tmp_path: Path) -> None:
    found = load(tmp_path, 'watched_folder = "store-in"')
    assert found.imaging is not None
    assert found.imaging.watched_folder == tmp_path / "store-in"


def test_two_destinations_of_one_title_are_refused(tmp_path: Path) -> None:
    one = '{ae_title = "PACS", host = "127.0.0.1"}'
    with pytest.raises(ConfigRefused, match="destination listed twice: PACS"):
        load(tmp_path, f"destinations = [{one}, {one}]")

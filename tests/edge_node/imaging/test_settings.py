"""The configuration of imaging: what would destroy something, or cannot be meant, is refused."""

import re
from pathlib import Path

import pytest

from edge_node import arrangement, config
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


@pytest.mark.parametrize(
    ("watched", "imports", "named"),
    [
        ("in", "store/images", "imaging.folder"),
        ("in", "in/import", "imaging.watched_folder"),
        ("in", "keys", "buffer.key_folder"),
    ],
)
def test_an_import_folder_that_would_empty_another_is_refused(
    tmp_path: Path, watched: str, imports: str, named: str
) -> None:
    with pytest.raises(ConfigRefused, match=f"imaging\\.(watched|import)_folder: .*({named}|imaging.import_folder)"):
        load(tmp_path, f'watched_folder = "{watched}"\nimport_folder = "{imports}"')


def test_an_import_folder_beside_the_others_is_taken(tmp_path: Path) -> None:
    found = load(tmp_path, 'watched_folder = "in"\nimport_folder = "store-import"')
    assert found.imaging is not None
    assert found.imaging.import_folder == tmp_path / "store-import"


TOKENS = {"a": "x" * 32, "b": "y" * 40 + "\n", "short": "x" * 31, "same": "x" * 32 + "\n"}


def senders(folder: Path, *names: str) -> config.EdgeConfig:
    for name, token in TOKENS.items():
        (folder / name).write_text(token)
    listed = ", ".join(f'{{name = "{name}", token_file = "{name}"}}' for name in names)
    return load(folder, f"web_senders = [{listed}]")


def test_a_token_tells_whose_it_is_and_no_other_text_does(tmp_path: Path) -> None:
    sender_of = arrangement.web_senders(senders(tmp_path, "a", "b"))
    assert (sender_of("x" * 32), sender_of("y" * 40)) == ("a", "b")
    assert [sender_of(each) for each in ("", "x" * 33, "y" * 40 + "\n", "\xe9" * 32)] == [""] * 4
    assert arrangement.web_senders(load(tmp_path, ""))("x" * 32) == ""


@pytest.mark.parametrize("names", [("short",), ("a", "same"), ("gone",)])
def test_a_token_that_is_short_doubled_or_missing_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigRefused, match=f"imaging.web_senders: {names[-1]}: "):
        arrangement.web_senders(senders(tmp_path, *names))


def test_two_web_senders_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="web sender listed twice: a"):
        senders(tmp_path, "a", "a")

"""`edge-node keys`: what it shows, changes, erases and refuses."""

import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from telemed.topics import Up

from edge_node.__main__ import main
from edge_node.arrangement import open_buffer
from edge_node.buffer.sealing import KEYS_ENDING, SPARE_KEYS
from edge_node.config import load
from edge_node.folder_lock import only_one
from edge_node.samples.measurement import Intake, NumericSet, Value

CONFIG = """[node]
region = "baoshan"
site = "s"
node = "edge-s"
name_zh = "站"
name_en = "Site"
[buffer]
folder = "buffer"
[uplink]
secret_file = "secret"
[[beds]]
bed = "B01"
label = "01"
"""
SPAN = ("--device", "mon-b01", "--from", "2000-01-01T00:00:00+08:00", "--to", "2200-01-01T00:00:00+08:00")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def stored(config: Path, *, is_sent: bool = True) -> None:
    """Leave one record in the store of a node."""

    async def store() -> None:
        with closing(open_buffer(load(config))) as buffer:
            now_ns = time.time_ns()
            taken = NumericSet("mon-b01", now_ns, now_ns, (Value("hr", "70", "/min"),))
            await buffer.store_intake(Intake(sets=(taken,)))
            if is_sent:
                await buffer.acknowledge(Up.VITALS, dict.fromkeys(buffer.streams(Up.VITALS), 1))
            await buffer.save()

    anyio.run(store)


def keys(config: Path, *words: str) -> int:
    return main(["keys", *words, "--config", str(config)])


def key_files(config: Path) -> list[str]:
    return sorted(path.name for path in config.with_name(f"buffer{KEYS_ENDING}").iterdir())


def test_a_store_that_was_never_opened_has_no_keys_and_gets_none_by_being_looked_at(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keys(config, "show") == 0
    assert "没有密钥" in capsys.readouterr().out
    assert not (config.parent / f"buffer{KEYS_ENDING}").exists()


def test_the_keys_are_shown_and_changed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(config)
    assert keys(config, "show") == 0
    shown = capsys.readouterr().out
    assert "加密 / encrypted" in shown
    assert f"buffer{KEYS_ENDING}" in shown
    before = key_files(config)
    assert keys(config, "change") == 0
    assert "sealed anew" in capsys.readouterr().out
    assert len(key_files(config)) == 1
    assert key_files(config) != before


def test_keys_are_not_changed_where_encryption_is_switched_off(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(config)
    before = key_files(config)
    config.write_text(CONFIG.replace("[buffer]", "[buffer]\nencrypt = false"), encoding="utf-8")
    assert keys(config, "change") == 1
    assert "not encrypted any more" in capsys.readouterr().err
    assert key_files(config) == before


def test_a_key_that_is_not_there_is_said_in_both_languages(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(config)
    config.with_name(f"buffer{KEYS_ENDING}").rename(config.with_name("drawer"))
    assert keys(config, "show") == 0
    shown = capsys.readouterr().out
    assert "请放回密钥文件" in shown
    assert "put the key back" in shown
    assert keys(config, "erase", *SPAN) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_spare_keyring_that_was_set_aside_is_said_in_both_languages(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(config)
    config.with_name(f"buffer{KEYS_ENDING}").rename(config.with_name("drawer"))
    stored(config)
    (config.with_name("buffer") / SPARE_KEYS).rename(config.with_name("another-drawer"))
    stored(config)
    assert keys(config, "show") == 0
    shown = capsys.readouterr().out
    assert "备用密钥环打不开，已另存为 keyring.spare.aside-" in shown
    assert "nothing was written over it" in shown


def test_what_a_device_measured_is_erased_once_it_is_at_the_hub(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(config, is_sent=False)
    assert keys(config, "erase", *SPAN) == 1
    assert "1 records are not at the hub yet" in capsys.readouterr().err
    (config.parent / "buffer" / "vitals.db").unlink()
    stored(config)
    before = key_files(config)
    assert keys(config, "erase", *SPAN) == 0
    assert "已彻底清除 1 条记录" in capsys.readouterr().out
    assert not set(before) & set(key_files(config))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--device"),
        (("--device", "m", "--from", "yesterday", "--to", "2026-01-01T00:00:00+08:00"), "--from: a time with its"),
        (("--device", "m", "--from", "2026-01-01T00:00:00", "--to", "2026-01-01T00:00:00+08:00"), "--from: a time"),
        (("--device", "m", "--from", "2026-01-02T00:00:00+08:00", "--to", "2026-01-01T00:00:00+08:00"), "is before"),
    ],
)
def test_what_is_to_be_erased_must_be_said(
    config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert keys(config, "erase", *words) == 2
    assert said in capsys.readouterr().err


def test_beside_a_running_node_nothing_is_changed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(config)
    before = key_files(config)
    with only_one(config.parent / "buffer"):
        assert keys(config, "change") == 2
        assert keys(config, "show") == 0
    assert "stop it first" in capsys.readouterr().err
    assert key_files(config) == before

"""Engines that were built are found under everything that they depend on, and under nothing else."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from edge_node.inference import engine_cache
from edge_node.inference.engine_cache import EngineKey

KEY = EngineKey("b" * 64, "stage1", "m" * 64, "tensorrt", "10.13.0", "Orin sm87 driver 12060", "fp16")


@pytest.mark.parametrize("name", [each.name for each in fields(EngineKey)])
def test_whatever_changes_leads_to_another_name(name: str) -> None:
    changed = replace(KEY, **{name: "other"})  # type: ignore[arg-type]
    assert changed.file_name != KEY.file_name
    assert replace(KEY).file_name == KEY.file_name


def test_what_was_kept_is_read_and_what_the_disk_damaged_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    assert engine_cache.read(folder, KEY.file_name) is None
    engine_cache.keep(folder, KEY.file_name, b"an engine")
    assert engine_cache.read(folder, KEY.file_name) == b"an engine"
    path = folder / KEY.file_name
    content = bytearray(path.read_bytes())
    for at in (0, 40):
        damaged = content.copy()
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert engine_cache.read(folder, KEY.file_name) is None
    path.write_bytes(b"")
    assert engine_cache.read(folder, KEY.file_name) is None

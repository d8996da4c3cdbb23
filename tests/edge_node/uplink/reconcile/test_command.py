"""Asking for a comparison from a command line, and what a node remembers."""

import argparse
from pathlib import Path

import pytest

from edge_node.errors import FileUnusable
from edge_node.uplink.reconcile import command
from edge_node.uplink.reconcile.diary import Diary, Entry
from tests.fakes.transfer_node import node_config

COUNTS = {"streams": 3, "compared": 9, "healed": 0, "open": 0, "lost": 0, "conflicts": 0, "damaged": 0}


def asked(*, last: bool = True, wait: float = 0) -> argparse.Namespace:
    return argparse.Namespace(last=last, wait=wait)


def test_a_report_says_what_was_found() -> None:
    assert command.line(Entry(2, 1, "", COUNTS)) == "reconcile: 9 records in 3 streams compared; nothing to heal"
    assert command.line(Entry(2, 1, "", COUNTS | {"healed": 2, "lost": 1})).endswith("; healed 2, lost 1")
    assert "link-down" in command.line(Entry(2, 1, "link-down"))
    assert "nothing" in command.line(Entry(2))


def test_the_last_report_is_shown_and_none_is_said(tmp_path: Path) -> None:
    config = node_config(tmp_path, 1)
    config.buffer.folder.mkdir()
    with pytest.raises(FileUnusable):
        command.run(config, asked())
    Diary(config.buffer.folder).write(Entry(2, 1, "", COUNTS))
    assert command.run(config, asked())[0].endswith("nothing to heal")


def test_who_asks_leaves_word_for_the_node(tmp_path: Path) -> None:
    config = node_config(tmp_path, 1)
    config.buffer.folder.mkdir()
    with pytest.raises(FileUnusable):
        command.run(config, asked(last=False))
    assert Diary(config.buffer.folder).is_asked()


def test_who_asks_during_a_comparison_waits_for_the_next(tmp_path: Path) -> None:
    diary = Diary(tmp_path)
    diary.ask()
    diary.answered(0)
    assert diary.is_asked()
    diary.answered(2**62)
    assert not diary.is_asked()
    diary.answered(2**62)


def test_a_damaged_diary_is_none(tmp_path: Path) -> None:
    diary = Diary(tmp_path)
    for text in ("", "[]", '{"x": 1}', "null"):
        (tmp_path / "reconcile.json").write_text(text)
        assert diary.last() is None

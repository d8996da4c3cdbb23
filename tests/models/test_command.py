"""The command line of the models."""

import argparse
import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: training is not tested here")
pytest.importorskip("onnx", reason="onnx is not installed: export is not tested here")

from models.__main__ import main, parser
from models.tasks.cmb.command import seeds

ROOT = Path(__file__).parents[2]


def test_the_command_of_the_card_is_understood() -> None:
    options = parser().parse_args(["train", "cmb", "--preset", "hard", "--arm", "ffm-hspl", "--seed", "0"])
    assert (options.preset, options.arm, options.seed, options.wall_limit_s) == ("hard", "ffm-hspl", 0, None)


COMMANDS = re.findall(
    r"^    python -m models (.+?)  +", (ROOT / "docs/microbleeds.md").read_text(encoding="utf-8"), re.M
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_manual_is_understood(line: str) -> None:
    assert callable(parser().parse_args(line.split()).run)


def test_the_manual_has_commands() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("line", ["", "train", "train lung", "fly cmb", "train cmb --arm none"])
def test_what_is_not_known_is_refused(line: str) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(line.split())


def test_only_ci_may_stop_a_run_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(SystemExit, match="for CI"):
        main(["train", "cmb", "--wall-limit-s", "5"])


def test_seeds_are_one_or_a_span() -> None:
    assert (seeds("3"), seeds("100-159")) == (range(3, 4), range(100, 160))


@pytest.mark.parametrize("text", ["", "x", "5-3", "1-2-3"])
def test_seeds_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seeds(text)

"""What the table of alarms reckons."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench import alarms
from bench.alarm_trial import Outcome, at
from bench.alarms import BIN_ENDS_MS, falling, line, summary, write


def test_the_falling_link_is_down_to_a_quarter_within_a_second() -> None:
    link = falling(256_000)
    before_s, after_s = 19.9, 21.0
    assert link.bits_until(before_s) == 256_000 * before_s
    assert link.bits_until(after_s + 1) - link.bits_until(after_s) == 64_000


def test_percentiles_are_of_what_arrived_and_infinite_where_nothing_did() -> None:
    delays_ms = [float(number) for number in range(100)]
    assert (at(delays_ms, 0.5), at(delays_ms, 0.99), at(delays_ms, 1)) == (50, 99, 99)
    assert at([], 0.5) == math.inf


ROW = Outcome("thin", "plain MQTT", 10, 10, 300, (), (), 0.5, 1, 2, 0.1)


def test_a_row_without_delays_says_so() -> None:
    assert line(ROW) == "| thin | plain MQTT | 10 | 10 | - | - | 50% | 1 | 2 | 0.1 |"


def test_a_histogram_counts_every_delay_once_however_short_or_long() -> None:
    delays_ms = [0.0, 9.9, 10.0, 10.1, 150.0, 5e6]
    told = summary(delays_ms)
    counts = told["counts"]
    assert isinstance(counts, list)
    assert (len(counts), sum(counts)) == (len(BIN_ENDS_MS), 6)
    assert (counts[0], counts[1], counts[-1]) == (3, 1, 1)
    assert (told["p50_ms"], told["longest_ms"]) == (10.1, 5e6)
    assert summary([]) == {}


def test_the_file_has_a_row_a_line_and_no_single_delay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "HERE", tmp_path)
    write([ROW, replace(ROW, client="product", received_ms=tuple(float(number) for number in range(2_000)))], 1)
    text = (tmp_path / "alarms.json").read_text()
    assert [row["received"].get("p99_ms") for row in json.loads(text)["rows"]] == [None, 1980.0]
    assert len(text.splitlines()) == 5
    assert len(text) < 3_000

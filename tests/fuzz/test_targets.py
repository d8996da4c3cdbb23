"""Every reader of foreign bytes keeps its promise: on what once broke it, and on good inputs that Hypothesis spoilt."""

import os
import time
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import target
from tests.fuzz.listing import TARGETS
from tests.fuzz.target import CAPTURES, Target, Unbounded

SECONDS = float(os.environ.get("FUZZ_SECONDS", "20"))
"""For each target."""
ROUND = settings(max_examples=100, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
MARKS = (
    *(b"\0", b"\xff", b"\r", b"\n", b"|", b"^", b"\\", b"\x0b", b"\x1c\r", b'"', b"..", b"//"),
    *(b"[" * 3000, b"9" * 5000, b"-1", b"NaN", b"1e999", b"\xd9\xa3", b"\\ud800", b"\xf0\x9f\x98\x80"),
)
"""What readers stumble over."""
CASES = [pytest.param(target, path, id=f"{name}-{path.name}") for name, target in TARGETS.items()
         for path in target.captures()]  # fmt: skip


class Input(bytes):
    """An input that is not shown whole."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


@st.composite
def spoilt(draw: st.DrawFn, seeds: list[bytes], longest_bytes: int) -> bytes:
    """An input as it should be, with some of it cut, copied, changed or added."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, min(40, len(data) - at)))
        new = draw(st.one_of(st.sampled_from(MARKS), st.binary(max_size=8), st.just(bytes(data[at : at + length]) * 2)))
        data[at : at + length] = new
    return Input(data[:longest_bytes])


@pytest.mark.fuzz
@pytest.mark.timeout(240)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_spoilt_input_breaks_the_promise(target: Target) -> None:
    inputs = st.one_of(spoilt(target.warm_up(), target.longest_bytes), st.binary(max_size=200).map(Input))
    over_at_s = time.monotonic() + SECONDS

    def keeps(data: bytes) -> None:
        try:
            target.run(data)
        except Exception as broken:
            broken.add_note(f"input in hexadecimal, for a capture: {data.hex()}")
            raise

    for number in count():
        # In short rounds, as Hypothesis knows no limit of time; each has its own numbers, the same on every machine.
        seed(number)(ROUND(given(inputs)(keeps)))()
        if time.monotonic() >= over_at_s:
            return


@pytest.mark.parametrize(("target", "capture"), CASES)
def test_what_once_broke_the_promise_no_longer_does(target: Target, capture: Path) -> None:
    target.warm_up()
    target.run(capture.read_bytes())


def test_every_capture_belongs_to_a_target() -> None:
    assert {path.name for path in CAPTURES.iterdir()} <= set(TARGETS)


@pytest.fixture
def short_limit_s(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(target, "PROCESSOR_LIMIT_S", 0.1)
    return 0.1


def test_a_reader_that_raises_or_spends_too_much_is_found(short_limit_s: float) -> None:
    def spends(_data: bytes) -> None:
        over_at_s = time.process_time() + short_limit_s
        while time.process_time() < over_at_s:
            pass

    def raises(_data: bytes) -> None:
        raise KeyError("inner detail")

    with pytest.raises(Unbounded):
        Target("t", "", spends, list).run(b"")
    with pytest.raises(KeyError):
        Target("t", "", raises, list).run(b"")


def test_what_the_process_did_by_itself_meanwhile_is_not_laid_on_the_input(short_limit_s: float) -> None:
    runs: list[bytes] = []

    def sweeps_once(data: bytes) -> None:
        runs.append(data)
        over_at_s = time.process_time() + (short_limit_s if len(runs) == 1 else 0)
        while time.process_time() < over_at_s:
            pass

    Target("t", "", sweeps_once, list).run(b"")
    assert len(runs) == 2

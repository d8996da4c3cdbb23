"""Profiles: what people write, and what our processes tell each other."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.faults.relay import profile
from tests.faults.relay.profile import DirectionProfile, Profile
from tests.faults.relay.settings import Loss, Settings, bursts, plain
from tests.faults.relay.traces import Capacity, constant, stepped

shares = st.floats(0, 1)
seconds = st.floats(0, 1000)
capacities = st.lists(st.tuples(st.floats(0.001, 1000), st.floats(0, 1e9)), min_size=1, max_size=5).map(
    lambda steps: Capacity(*(tuple(column) for column in zip(*steps, strict=True)))
)
every_setting = st.builds(
    Settings,
    rate=st.none() | capacities,
    queue_bytes=st.integers(0, 1 << 40),
    delay_s=seconds,
    jitter_s=seconds,
    loss=st.builds(Loss, shares, shares, shares, shares),
    reorder=shares,
    reorder_by_s=seconds,
    duplicate=shares,
    corrupt=shares,
    cut=st.booleans(),
    piece_bytes=st.integers(1, 10_000),
)


@given(every_setting)
def test_settings_reach_another_process_exactly(settings: Settings) -> None:
    line = json.dumps(profile.described(settings))
    assert DirectionProfile.model_validate_json(line).settings() == settings


def test_every_setting_is_in_the_profile_and_described() -> None:
    named = set(DirectionProfile.model_fields) - {"rate_bps", "steps", "trace"} | {"rate"}
    assert named == set(Settings.__dataclass_fields__)
    assert all(field.description for field in DirectionProfile.model_fields.values())


def test_what_is_left_out_does_nothing() -> None:
    assert DirectionProfile().settings() == Settings()


def test_a_toml_file_describes_a_whole_relay(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("0.0 1\n1.0 0\n2.0 3\n")
    (tmp_path / "rural.toml").write_text(f"""
        kind = "datagram"
        seed = 7
        target = "127.0.0.1:5684"
        [up]
        delay_s = 0.05
        loss = {{share = 0.2, burst_packets = 4}}
        [up.trace]
        file = "{tmp_path / "trace"}"
        format = "hsdpa"
        start_s = 1
        scale = 0.5
        floor_bps = 64000
        [down]
        rate_bps = 256000
        loss = 0.1
    """)
    rural = profile.read(tmp_path / "rural.toml")
    assert (rural.kind, rural.seed, profile.address(rural.target or "")) == ("datagram", 7, ("127.0.0.1", 5684))
    assert rural.up.settings() == Settings(rate=stepped([(1, 1.5e6), (1, 64_000)]), delay_s=0.05, loss=bursts(0.2, 4))
    assert rural.down.settings() == Settings(rate=constant(256_000), loss=plain(0.1))


def test_a_json_file_will_do_too(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"kind": "tunnel", "up": {"cut": true}}')
    assert profile.read(tmp_path / "cut.json").up.settings().cut


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "tunnel", "target": "127.0.0.1:1"},
        {"kind": "stream"},
        {"kind": "stream", "target": "nowhere"},
        {"kind": "datagram", "target": "127.0.0.1:1", "within": "hub"},
        {"kind": "tunnel", "up": {"lost": 0.1}},
        {"kind": "tunnel", "up": {"loss": 1.1}},
        {"kind": "tunnel", "up": {"rate_bps": 1, "steps": [[1, 1]]}},
        {"kind": "tunnel", "up": {"steps": []}},
    ],
)
def test_a_profile_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Profile.model_validate(wrong)

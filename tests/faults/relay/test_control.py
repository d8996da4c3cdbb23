"""Orders to a running relay, and its answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.relay.carrier import Carrier
from tests.faults.relay.control import Control
from tests.faults.relay.pace import Lateness
from tests.faults.relay.settings import Settings, plain
from tests.faults.relay.shape import Counts, Line
from tests.faults.relay.traces import constant


class Way:
    """A direction on a clock that stands still."""

    def __init__(self) -> None:
        self.line: Line[int] = Line(Settings(delay_s=0.5), "1", 0.0)

    @property
    def settings(self) -> Settings:
        return self.line.settings

    def change(self, settings: Settings) -> None:
        self.line.change(settings, 0.0)

    def counts(self) -> Counts:
        return self.line.counts(0.0)


class Rig:
    """A relay without sockets, under control."""

    def __init__(self) -> None:
        self.up, self.down = Way(), Way()
        self.control = Control(Carrier(self.up, self.down, Lateness()))

    def say(self, **order: Any) -> dict[str, Any]:
        return self.control.follow(json.dumps(order).encode())


def test_set_replaces_all_settings_of_one_direction() -> None:
    rig = Rig()
    assert rig.say(do="set", direction="up", settings={"rate_bps": 256_000, "loss": 0.2}) == {"done": "set"}
    assert rig.up.settings == Settings(rate=constant(256_000), loss=plain(0.2))
    assert rig.down.settings == Settings(delay_s=0.5)


def test_cut_and_heal_leave_the_other_settings_alone() -> None:
    rig = Rig()
    rig.say(do="cut", direction="down")
    assert (rig.up.settings.cut, rig.down.settings) == (False, Settings(delay_s=0.5, cut=True))
    rig.say(do="cut")
    assert rig.up.settings.cut
    rig.say(do="heal")
    assert rig.up.settings == rig.down.settings == Settings(delay_s=0.5)


def test_counts_tell_both_directions_and_the_timing() -> None:
    rig = Rig()
    rig.up.line.offer(1, 100, 0.0)
    answer = rig.say(do="counts")
    assert (answer["up"]["offered_bytes"], answer["down"]["offered"]) == (100, 0)
    assert answer["timing"]["deliveries"] == 0


def test_stop_is_for_the_process_to_see() -> None:
    rig = Rig()
    assert rig.say(do="stop") == {"done": "stop"}
    assert rig.control.stopped.is_set()


@pytest.mark.parametrize(
    "wrong",
    [
        b"{",
        b"[]",
        b'{"do": "explode"}',
        b'{"do": "cut", "direction": "sideways"}',
        b'{"do": "set", "direction": "up"}',
        b'{"do": "set", "settings": {"loss": 2}}',
        b'{"do": "reset"}',
    ],
)
def test_an_order_that_cannot_be_followed_is_refused_and_changes_nothing(wrong: bytes) -> None:
    rig = Rig()
    assert "refused" in rig.control.follow(wrong)
    assert rig.up.settings == rig.down.settings == Settings(delay_s=0.5)


def test_a_recording_that_is_not_there_is_refused(tmp_path: Path) -> None:
    trace = {"file": str(tmp_path / "none"), "format": "hsdpa"}
    assert "refused" in Rig().say(do="set", settings={"trace": trace})

"""Recordings played on the node: stamped as replay, complete, paced."""

from pathlib import Path

import numpy as np
import pyedflib
import pytest

from edge_node.config import DeviceConfig
from edge_node.devices.recorded.driver import Recorded, open_record
from edge_node.devices.recorded.wfdb_header import RecordRefused
from edge_node.samples.measurement import Intake, Origin, Quality, Stored

pytestmark = pytest.mark.anyio
NOW_NS = 1_795_131_015_000_000_000


class Sink:
    """Keeps what is delivered."""

    def __init__(self) -> None:
        self.intakes: list[Intake] = []

    async def deliver(self, intake: Intake) -> Stored:
        self.intakes.append(intake)
        return Stored.NEW


def recorded(path: Path, speed: int = 1) -> Recorded:
    device = DeviceConfig.model_validate(
        {"device": "player", "family": "recorded", "bed": "B01", "record": path, "speed": speed}
    )
    return Recorded(device, clock_ns=lambda: NOW_NS)


async def test_a_record_is_delivered_second_by_second_as_replay(shared_data: Path) -> None:
    sink = Sink()
    assert await recorded(shared_data / "vitals" / "a103l.hea").play_once(sink.deliver, paced=False) == 330
    waves = [part for intake in sink.intakes for part in intake.waves]
    assert {part.origin for part in waves} == {Origin.REPLAY}
    assert [channel.measure for channel in waves[0].channels] == ["ecg_II", "ecg_V", "ppg"]
    assert waves[0].measured_at_ns == NOW_NS
    assert waves[1].measured_at_ns == NOW_NS + 1_000_000_000
    assert waves[0].source_ref == "a103l@0"


async def test_at_ten_times_the_speed_no_sample_lies_in_the_future(shared_data: Path) -> None:
    sink = Sink()
    await recorded(shared_data / "vitals" / "test01_00s.hea", 10).play_once(sink.deliver)
    last = sink.intakes[-1].waves[0]
    assert last.measured_at_ns + 1_000_000_000 == NOW_NS + 800_000_000


async def test_numerics_become_values_and_missing_ones_say_so(shared_data: Path) -> None:
    sink = Sink()
    path = shared_data / "vitals" / "s25047" / "s25047-2704-05-04-10-44n.hea"
    await recorded(path).play_once(sink.deliver, paced=False)
    first = {value.measure: value for value in sink.intakes[0].sets[0].values}
    assert (first["hr"].value, first["hr"].unit) == ("101.3", "/min")
    assert first["nibp_sys"].quality is Quality.MISSING
    assert first["spo2"].quality is Quality.IMPLAUSIBLE


async def test_edf_digits_are_those_of_the_file(shared_data: Path) -> None:
    path = shared_data / "eeg" / "test.edf"
    sink = Sink()
    await recorded(path).play_once(sink.deliver, paced=False)
    with pyedflib.EdfReader(str(path)) as file:
        for index in range(file.signals_in_file):
            label = file.getLabel(index).strip()
            pieces = [
                channel for intake in sink.intakes for channel in intake.waves[0].channels if channel.label == label
            ]
            joined = np.concatenate([piece.digits for piece in pieces])
            assert np.array_equal(joined, file.readSignal(index, digital=True))
            physical = (joined - pieces[0].baseline) / pieces[0].gain
            assert np.allclose(physical, file.readSignal(index), atol=1e-6)


async def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.edf").write_bytes(b"nothing")
    for name in ("x.edf", "absent.hea"):
        with pytest.raises(RecordRefused):
            open_record(tmp_path / name)


async def test_a_recording_can_be_played_again(shared_data: Path) -> None:
    player, sink = recorded(shared_data / "eeg" / "test.edf"), Sink()
    first = await player.play_once(sink.deliver, paced=False)
    assert await player.play_once(sink.deliver, paced=False) == first

"""Which messages may wait to be stored: none whose judging makes a step of an alarm, and most of those that do not."""

import random

import pytest

from edge_node.samples.measurement import DeviceNote, Intake, NumericSet, Quality, Value, WaveformSet
from tests.edge_node.alarms.test_ward import CALM, NS, Bedside

pytestmark = pytest.mark.anyio
RANGES = {"hr": (35, 150), "spo2": (82, 100), "rr": (6, 34), "temp": (34, 40), "nibp_sys": (85, 225)}
CUFF_EVERY_S = 300


def reading(bedside: Bedside, values: dict[str, str], device: str = "m1", **more: object) -> Intake:
    """Return what a monitor sends now."""
    rows = tuple(Value(name, text, "1") for name, text in values.items())
    return Intake(sets=(NumericSet(device, bedside.now_ns, bedside.now_ns, rows, **more),))  # type: ignore[arg-type]


async def test_readings_inside_all_limits_that_score_as_before_may_wait() -> None:
    bedside = Bedside()
    await bedside.live(30, values=CALM)
    bedside.now_ns += NS
    assert not bedside.ward.goes_at_once(reading(bedside, CALM | {"hr": "74"}))
    assert not bedside.ward.goes_at_once(Intake(waves=(WaveformSet("m1", 1, 1, ()),)))


@pytest.mark.parametrize(
    "changed",
    [{"hr": "121"}, {"spo2": "91"}, {"spo2": "95"}, {"hr": "91"}, {"rr": "no number"}, {"rr": "NaN"}, {"temp": "37.0"}],
    ids=["over a limit", "under a limit", "a point more", "a point for the pulse", "no number", "not finite", "new"],
)
async def test_a_value_that_means_something_else_than_the_last_one_goes_at_once(changed: dict[str, str]) -> None:
    bedside = Bedside()
    await bedside.live(30, values=CALM)
    bedside.now_ns += NS
    assert bedside.ward.goes_at_once(reading(bedside, CALM | changed))


async def test_a_limit_that_is_broken_without_another_point_goes_at_once() -> None:
    bedside = Bedside()
    await bedside.live(30, values=CALM | {"hr": "115"})
    bedside.now_ns += NS
    assert not bedside.ward.goes_at_once(reading(bedside, CALM | {"hr": "120"}))
    assert bedside.ward.goes_at_once(reading(bedside, CALM | {"hr": "121"}))


async def test_whatever_a_person_typed_in_or_a_driver_noted_goes_at_once() -> None:
    bedside = Bedside()
    await bedside.live(30, values=CALM)
    assert bedside.ward.goes_at_once(reading(bedside, CALM, "manual-b1"))
    assert bedside.ward.goes_at_once(reading(bedside, CALM, "a-stranger"))
    assert bedside.ward.goes_at_once(Intake(notes=(DeviceNote("m1", "lead-off", True, bedside.now_ns),)))


async def test_the_first_message_after_a_silence_goes_at_once() -> None:
    bedside = Bedside()
    assert bedside.ward.goes_at_once(reading(bedside, CALM))
    await bedside.live(30, values=CALM)
    await bedside.quiet(20)
    assert bedside.ward.goes_at_once(reading(bedside, CALM))


async def test_everything_of_a_bed_goes_at_once_while_an_alarm_stands_there() -> None:
    bedside = Bedside()
    await bedside.live(30, values=CALM | {"hr": "130"})
    await bedside.live(3, values=CALM)
    assert ("hr-high", "START") in bedside.moves
    assert bedside.ward.goes_at_once(reading(bedside, CALM))


async def test_a_value_whose_predecessor_no_longer_counts_goes_at_once() -> None:
    bedside = Bedside()
    await bedside.live(5, values=CALM | {"temp": "37.0"})
    bedside.now_ns += NS
    assert not bedside.ward.goes_at_once(reading(bedside, CALM | {"temp": "37.1"}))
    await bedside.live(90, values=CALM)
    assert bedside.ward.goes_at_once(reading(bedside, CALM | {"temp": "37.1"}))


@pytest.mark.parametrize("seed", range(8))
async def test_judging_what_might_have_waited_never_makes_a_step(seed: int) -> None:
    draw = random.Random(seed)
    bedside = Bedside(home=seed % 2 == 0)
    values = {name: float(draw.randint(low, high)) for name, (low, high) in RANGES.items()}
    could_wait = 0
    for second in range(900):
        bedside.now_ns += NS
        bedside.ward.hub_heard(bedside.now_ns)
        for name, (low, high) in RANGES.items():
            values[name] = min(max(values[name] + draw.choice((-1, 0, 0, 0, 1)) * draw.choice((1, 1, 5)), low), high)
        sent = {name: f"{number:.0f}" for name, number in values.items() if draw.random() > 0.02}
        if second % CUFF_EVERY_S:
            sent.pop("nibp_sys", None)
        rows = tuple(
            Value(name, text, "1", Quality.VALID if draw.random() > 0.01 else Quality.QUESTIONABLE)
            for name, text in sent.items()
        )
        intake = Intake(sets=(NumericSet("m1", bedside.now_ns, bedside.now_ns, rows),))
        waits = not bedside.ward.goes_at_once(intake)
        before = len(bedside.moves)
        await bedside.ward.take(intake)
        made = bedside.moves[before:]
        assert not (waits and made), (second, sent, made)
        could_wait += waits
        await bedside.ward.tick()
    assert bedside.moves

"""The node's wall clock is set while it runs: by time synchronisation after a start with a wrong one, or by hand."""

import pytest

from edge_node.alarms import ruleset
from edge_node.alarms.ward import Layout, Place, Ward
from edge_node.samples.alarm import Ask, Who
from edge_node.samples.clockstep import ClockSteps
from edge_node.samples.measurement import Intake, NumericSet, Value
from edge_node.samples.roster import Roster

NS = 1_000_000_000
HOUR_NS = 3600 * NS
START_NS = 1_800_000_000 * NS
CLINIC = Who("huang", "clinic")
pytestmark = pytest.mark.anyio


class Store:
    """Takes everything and remembers nothing."""

    async def append_alarms(self, events: object, evaluated: object = None) -> None:
        return

    async def evaluated_up_to(self, device: str) -> int:
        return 0

    async def alarm_events(self, since_ns: int) -> list[object]:
        return []

    async def sets_since(self, since_ns: int) -> list[NumericSet]:
        return []

    async def last_known(self, devices: object, since_ns: int) -> list[NumericSet]:
        return []


class Bedside:
    """One monitor at one bed, and two clocks of which one can be set."""

    def __init__(self) -> None:
        self.steady_ns = 5 * NS
        self.set_by_ns = START_NS
        layout = Layout(("B1",), {"m1": Place("B1")})
        self.ward = Ward(layout, ruleset.load(), Store(), self.wall, lambda: self.steady_ns)  # type: ignore[arg-type]

    def wall(self) -> int:
        return self.steady_ns + self.set_by_ns

    async def live(self, seconds: int, **values: str) -> None:
        for _ in range(seconds):
            self.steady_ns += NS
            self.ward.hub_heard(self.wall())
            rows = tuple(Value(name, text, "1") for name, text in values.items())
            await self.ward.take(Intake(sets=(NumericSet("m1", self.wall(), self.wall(), rows),)))
            await self.ward.tick()

    async def quiet(self, seconds: int) -> None:
        for _ in range(seconds):
            self.steady_ns += NS
            await self.ward.tick()

    def standing(self) -> set[str]:
        return {alarm.finding.condition for alarm in self.ward.alarms() if alarm.stands}


@pytest.fixture(params=[-8 * HOUR_NS, 8 * HOUR_NS], ids=["back", "forward"])
def moved_ns(request: pytest.FixtureRequest) -> int:
    moved: int = request.param
    return moved


async def test_a_delay_that_runs_ends_in_its_time(moved_ns: int) -> None:
    bedside = Bedside()
    await bedside.live(8, spo2="88")
    bedside.set_by_ns += moved_ns
    await bedside.live(6, spo2="88")
    assert "spo2-low" not in bedside.standing()
    await bedside.live(2, spo2="88")
    assert "spo2-low" in bedside.standing()


async def test_what_arrives_after_it_is_the_newest_and_is_judged(moved_ns: int) -> None:
    bedside = Bedside()
    await bedside.live(5, spo2="97")
    bedside.set_by_ns += moved_ns
    await bedside.live(16, spo2="84")
    assert bedside.ward.bed("B1").held["spo2"].value.value == "84"
    assert "spo2-low" in bedside.standing()


async def test_silence_of_device_and_hub_is_noticed_in_its_time(moved_ns: int) -> None:
    bedside = Bedside()
    await bedside.live(5, spo2="97")
    heard_ns = bedside.wall()
    bedside.set_by_ns += moved_ns
    bedside.ward.hub_heard(heard_ns)
    await bedside.quiet(10)
    assert bedside.standing() == set()
    bedside.ward.hub_heard(heard_ns)
    await bedside.quiet(6)
    assert bedside.standing() == {"device-silent", "hub-silent"}


async def test_a_pause_of_the_sound_ends_in_its_time(moved_ns: int) -> None:
    bedside = Bedside()
    await bedside.live(17, spo2="80")
    alarm_id = next(row.alarm_id for row in bedside.ward.alarms() if row.finding.condition == "spo2-low")
    await bedside.ward.act(alarm_id, Ask("pause", pause_s=60), CLINIC)
    bedside.set_by_ns += moved_ns
    await bedside.live(50, spo2="80")
    assert not bedside.ward._talk.alarms[alarm_id].sounds
    await bedside.live(15, spo2="80")
    assert bedside.ward._talk.alarms[alarm_id].sounds


async def test_a_stay_that_began_on_the_wrong_clock_does_not_hide_what_follows() -> None:
    bedside = Bedside()
    bedside.ward.people(Roster(beds={"B1": "p-1"}, since_ns={"B1": bedside.wall()}))
    bedside.set_by_ns -= 8 * HOUR_NS
    await bedside.live(2, spo2="97")
    assert "spo2" in bedside.ward.bed("B1").held


def test_a_clock_that_is_slewed_was_not_set() -> None:
    steps = ClockSteps(1000 * NS, 10 * NS)
    assert steps.take(1001 * NS + 400_000_000, 11 * NS) == 0
    assert steps.take(1003 * NS, 12 * NS) == 600_000_000
    assert steps.take(1002 * NS, 12 * NS) == -NS

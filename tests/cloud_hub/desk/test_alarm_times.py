"""Alarms that a node raised by a wrong clock, on SQLite and PostgreSQL: they stand at their true time in the end."""

import pytest
from sqlalchemy import Connection, func, insert, select
from telemed.topics import NodeAddress, Up
from telemed.v1 import alarm_pb2
from telemed.wire import OFFSET_UNKNOWN_MS, Codec, Kind, Record, Stamp, encode, seal

from cloud_hub.care.alarms import Alarm
from cloud_hub.desk.alarm_times import AlarmTimes
from cloud_hub.desk.intake import Intake
from cloud_hub.ingest.admit import admit
from cloud_hub.ingest.batch import Batch
from cloud_hub.ingest.stores import CareStore
from cloud_hub.store import alarms
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import alarm as head
from cloud_hub.store.schema import boot_clock, untimed_step
from tests.fakes.containers import CLINIC, EPOCH, HOME, S_NS, T0_NS

pytestmark = pytest.mark.anyio
HOUR_NS = 3600 * S_NS
BOOTED_NS = T0_NS - HOUR_NS
WRONG_BY_NS = -5 * HOUR_NS
RECEIVED_NS = T0_NS + 600 * S_NS
BOOT = 7
START, UPDATE, PAUSED = alarm_pb2.PHASE_START, alarm_pb2.PHASE_UPDATE, alarm_pb2.PHASE_AUDIO_PAUSED


def step(
    number: int,
    at_s: int,
    phase: "alarm_pb2.Phase.ValueType" = PAUSED,
    *,
    wrong_ns: int = WRONG_BY_NS,
    onset_wrong_ns: int = WRONG_BY_NS,
    knows: bool = False,
    epoch: int = EPOCH,
    alarm_id: str = "a1",
    until_ns: int = 0,
    boot: int = BOOT,
) -> Record:
    """A step of one alarm that began a second after T0 in truth, made `at_s` after T0."""
    at_ns = T0_NS + at_s * S_NS
    event = alarm_pb2.AlarmEvent(
        alarm_id=alarm_id,
        alarm_seq=number,
        phase=phase,
        priority=alarm_pb2.PRIORITY_HIGH,
        condition="spo2-low",
        onset_unix_ns=T0_NS + S_NS + onset_wrong_ns,
        at_unix_ns=at_ns + wrong_ns,
        until_unix_ns=at_ns + wrong_ns + 120 * S_NS if phase == PAUSED else until_ns,
    )
    stamp = Stamp(at_ns + wrong_ns, at_ns - BOOTED_NS, boot, 0, 5 if knows else OFFSET_UNKNOWN_MS)
    body = event.SerializeToString()
    return seal(
        stream="node/alarm",
        kind=Kind.ALARM_EVENT,
        epoch=epoch,
        seq=number,
        stamp=stamp,
        codec=Codec.PLAIN,
        payload=body,
    )


class Desk:
    """Both stores, and what they are asked."""

    def __init__(self, care: Database, samples: Database) -> None:
        self.care, self.samples = care, samples
        self.changed: list[str] = []
        self.times = AlarmTimes(care, samples, self.changed.append, lambda: RECEIVED_NS)
        self.store = CareStore(Intake(lambda _taken: None))

    def take(self, *records: Record, address: NodeAddress = CLINIC) -> None:
        admission = admit(address, Up.ALARM, encode(records))
        batch = Batch(admission.records, admission.unusable, RECEIVED_NS)
        self.care.write_blocking(lambda c: self.store.store(c, batch))

    def learn(self, address: NodeAddress = CLINIC, boot: int = BOOT) -> None:
        row = {"region": address.region, "site": address.site, "node": address.node, "boot": boot}
        clock = {"ahead_ns": BOOTED_NS, "error_ms": 5, "mono_ns": HOUR_NS}
        self.samples.write_blocking(lambda c: c.execute(insert(boot_clock).values(**row, **clock)) and None)

    def alarm(self) -> Alarm:
        found = self.care.read_blocking(lambda c: alarms.alarm_of(c, CLINIC.region, "a1"))
        assert found is not None
        return found

    def seconds(self) -> list[tuple[int, int]]:
        """Begin and time of each step, in seconds after T0."""
        return [((one.onset_unix_ns - T0_NS) // S_NS, (one.at_unix_ns - T0_NS) // S_NS) for one in self.alarm().steps]

    def waiting(self) -> int:
        def count(connection: Connection) -> int:
            return connection.execute(select(func.count()).select_from(untimed_step)).scalar_one()

        return self.care.read_blocking(count)


@pytest.fixture
def desk(care_db: Database, samples_db: Database) -> Desk:
    return Desk(care_db, samples_db)


async def test_steps_by_a_wrong_clock_are_put_right_once_the_clock_of_the_boot_is_known(desk: Desk) -> None:
    desk.take(step(1, 2, START), step(2, 5, UPDATE), step(3, 8))
    await desk.times.look()
    assert desk.seconds()[0] == (1 - 18000, 2 - 18000)
    assert desk.alarm().is_late
    desk.learn()
    await desk.times.look()
    assert desk.seconds() == [(1, 2), (1, 5), (1, 8)]
    assert desk.alarm().paused_until_ns == T0_NS + 128 * S_NS
    assert (desk.changed, desk.waiting()) == (["a1"], 0)


async def test_the_head_by_which_alarms_are_found_has_the_true_time(desk: Desk) -> None:
    desk.take(step(1, 2, START))
    desk.learn()
    await desk.times.look()
    assert desk.care.read_blocking(lambda c: c.execute(select(head.c.onset_ns)).scalar_one()) == T0_NS + S_NS


async def test_later_steps_by_a_right_clock_lose_the_wrong_begin_and_keep_their_time(desk: Desk) -> None:
    desk.take(step(1, 2, START), step(2, 9, wrong_ns=0, knows=True))
    desk.learn()
    await desk.times.look()
    assert desk.seconds() == [(1, 2), (1, 9)]


async def test_it_is_done_once_whatever_comes_again(desk: Desk) -> None:
    desk.take(step(1, 2, START))
    desk.learn()
    await desk.times.look()
    desk.take(step(1, 2, START, epoch=EPOCH + 1))
    await desk.times.look()
    assert desk.seconds() == [(1, 2)]
    assert (desk.changed, desk.waiting()) == (["a1"], 0)


async def test_a_clock_that_was_right_all_along_changes_nothing(desk: Desk) -> None:
    desk.take(step(1, 2, START, wrong_ns=0, onset_wrong_ns=0))
    desk.learn()
    await desk.times.look()
    assert desk.seconds() == [(1, 2)]
    assert (desk.changed, desk.waiting()) == ([], 0)


@pytest.mark.parametrize(("address", "boot"), [(HOME, BOOT), (CLINIC, BOOT + 1)])
async def test_the_clock_of_another_node_or_boot_says_nothing(desk: Desk, address: NodeAddress, boot: int) -> None:
    desk.take(step(1, 2, START))
    desk.take(step(1, 2, START, alarm_id="a2", boot=boot, epoch=EPOCH + 1), address=address)
    desk.learn(address, boot)
    await desk.times.look()
    assert desk.seconds() == [(1 - 18000, 2 - 18000)]
    assert (desk.changed, desk.waiting()) == (["a2"], 1)


async def test_a_node_cannot_move_the_times_of_another_ones_alarm(desk: Desk) -> None:
    desk.take(step(1, 2, START, wrong_ns=0, onset_wrong_ns=0, knows=True))
    desk.take(step(1, 2, START, wrong_ns=0, onset_wrong_ns=0), address=HOME)
    assert desk.waiting() == 0


@pytest.mark.parametrize("until_ns", [1, 2**63 - 1])
async def test_whatever_time_a_step_bears_it_is_corrected_within_what_can_be_stored(desk: Desk, until_ns: int) -> None:
    desk.take(step(1, 2, START, wrong_ns=24 * HOUR_NS * (1 if until_ns == 1 else -1), until_ns=until_ns))
    desk.learn()
    await desk.times.look()
    assert desk.seconds()[0][1] == 2
    assert desk.waiting() == 0


async def test_more_steps_than_one_transaction_takes_are_all_corrected(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_hub.store.untimed_steps.AT_ONCE", 2)
    desk.take(*(step(number, number + 1) for number in range(1, 8)))
    desk.learn()
    await desk.times.look()
    assert desk.seconds() == [(1, number + 1) for number in range(1, 8)]

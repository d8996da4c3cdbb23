"""Drive tests as sights, and the modem that plays them."""

import asyncio
import contextlib
import csv
import gzip
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_node.errors import SimRefused
from edge_node.uplink.modem.drive_test import DriveTestRefused, Moment, read
from edge_node.uplink.modem.recorded import SWITCH_S, RecordedModem
from edge_node.uplink.modem.sight import Change, ModemState, RadioSight, Reception, Technology, bars, carried, changes

pytestmark = pytest.mark.anyio

COLUMNS = "Timestamp,Operatorname,RAWCELLID,NetworkMode,RSRP,RSRQ,SNR"
DRIVE = (
    "2019.12.16_07.22.43,B,11016962,LTE,-93,-10,2.0",
    "2019.12.16_07.22.44,B,11016962,5G,-92,-11,-",
    "2019.12.16_07.22.44,B,11016963,5G,-200,2147483647,-30.0",
    "2019.12.16_07.22.46,0,-,-,-,-,-",
    "2019.12.16_07.22.46,B,70430210,HSPA+,-70,-5,-",
)


def drive(folder: Path, *rows: str, name: str = "drive.csv") -> Path:
    file = folder / name
    file.write_text("\n".join([COLUMNS, *rows, ""]))
    return file


def test_each_line_is_a_sight(tmp_path: Path) -> None:
    def connected(technology: Technology, cell_id: str, cell: Reception = Reception()) -> RadioSight:  # noqa: B008
        return RadioSight(
            "", ModemState.CONNECTED, 0, technology=technology, cell=cell, cell_id=cell_id, operator="B"
        )  # fmt: skip

    assert read(drive(tmp_path, *DRIVE)) == [
        Moment(0, connected(Technology.LTE, "A81B02", Reception(-93, -10, 2))),
        Moment(1, connected(Technology.NR_NSA, "A81B02", Reception(-92, -11))),
        Moment(1, connected(Technology.NR_NSA, "A81B03")),
        Moment(3, RadioSight("", ModemState.SEARCHING, 0)),
        Moment(3, connected(Technology.UMTS, "432AE02")),
    ]


@pytest.mark.parametrize("content", [b"", b"Timestamp,RSRP\nx,y\n", b"\xff\xfe\x00", f"{COLUMNS}\n".encode()])
def test_a_file_that_is_no_drive_test_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.csv"
    file.write_bytes(content)
    with pytest.raises(DriveTestRefused, match=r"other\.csv"):
        read(file)


def test_a_torn_archive_is_refused_too(tmp_path: Path) -> None:
    file = tmp_path / "torn.csv.gz"
    file.write_bytes(gzip.compress(drive(tmp_path, *DRIVE).read_bytes())[:-9])
    with pytest.raises(DriveTestRefused):
        read(file)
    with pytest.raises(DriveTestRefused):
        read(tmp_path / "absent.csv")


def test_every_shared_drive_test_plays_with_all_its_hand_overs(shared_data: Path) -> None:
    files = sorted((shared_data / "network" / "ucc5g").glob("*.csv.gz"))
    assert len(files) == 16
    unknown = 0
    for file in files:
        with gzip.open(file, "rt") as lines:
            cells = [row["RAWCELLID"] for row in csv.DictReader(lines)]
        moments = read(file)
        assert [moment.at_s for moment in moments] == sorted(moment.at_s for moment in moments)
        found: list[Change] = []
        known: RadioSight | None = None
        for moment in moments:
            found += changes(known, moment.sight)
            known = carried(known, moment.sight)
            unknown += moment.sight.technology is Technology.LTE and bars(moment.sight) is None
        assert found.count(Change.CELL) == sum(before != after for before, after in itertools.pairwise(cells))
    assert unknown == 3  # lines whose RSRP is the filler -200


@dataclass(slots=True)
class Clock:
    """A clock that runs only by sleeping, and gives others their turn meanwhile."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def playing(modem: RecordedModem, told: list[RadioSight], count: int) -> AsyncIterator[None]:
    """Play until so many sights were told."""
    enough = asyncio.Event()

    def tell(sight: RadioSight) -> None:
        told.append(sight)
        if len(told) >= count:
            enough.set()

    task = asyncio.ensure_future(modem.run(tell))
    async with asyncio.timeout(30):
        await enough.wait()
    yield
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize(("speed", "span_s"), [(1, 3.0), (10, 0.3), (100, 0.03)])
async def test_the_recording_keeps_its_time(tmp_path: Path, speed: float, span_s: float) -> None:
    clock, told = Clock(), list[RadioSight]()
    modem = RecordedModem("5g", {1: drive(tmp_path, *DRIVE)}, speed, clock_s=clock, sleep=clock.sleep)
    async with playing(modem, told, 5):
        assert told[4].at_s - told[0].at_s == pytest.approx(span_s)
        assert {(sight.path, sight.sim_slot) for sight in told} == {("5g", None)}


async def test_it_begins_again_at_its_end(tmp_path: Path) -> None:
    clock, told = Clock(), list[RadioSight]()
    modem = RecordedModem("5g", {1: drive(tmp_path, *DRIVE)}, clock_s=clock, sleep=clock.sleep)
    async with playing(modem, told, 10):
        assert [sight.cell_id for sight in told[:5]] == [sight.cell_id for sight in told[5:10]]


async def test_the_other_sim_is_another_recording_after_a_while_away(tmp_path: Path) -> None:
    clock, told = Clock(), list[RadioSight]()
    other = drive(tmp_path, *DRIVE[:1], name="other.csv")
    modem = RecordedModem("5g", {1: drive(tmp_path, *DRIVE * 200), 2: other}, clock_s=clock, sleep=clock.sleep)
    async with playing(modem, told, 3):
        await modem.use_sim(2)
        async with asyncio.timeout(5):
            while told[-1].sim_slot != 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
    first = next(place for place, sight in enumerate(told) if sight.sim_slot == 2)
    assert told[first - 1].state is ModemState.ABSENT
    assert told[first].at_s - told[first - 1].at_s == pytest.approx(SWITCH_S)
    assert {sight.sim_slot for sight in told[: first - 1]} == {1}
    assert first < 20  # not played to its end first


async def test_a_slot_without_a_recording_is_refused(tmp_path: Path) -> None:
    modem = RecordedModem("5g", {1: drive(tmp_path, *DRIVE)})
    with pytest.raises(SimRefused, match="SIM slot 2: no recording"):
        await modem.use_sim(2)

"""What a device measured in a stretch of time is erased for good, whatever copies of the disk there are."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from telemed import whole_files
from telemed.topics import Up
from telemed.wire import Record

from edge_node.buffer.erasing import Stretch
from edge_node.buffer.keyring import DAY_NS
from edge_node.buffer.sealing import KEYS_ENDING, RING, Keeping, Sealing
from edge_node.buffer.store import Buffer
from edge_node.errors import BufferFailure, KeyUnavailable, NotYetSent
from edge_node.samples.measurement import Intake, NumericSet, Value

HOUR_NS = 3600 * 10**9
ON = Keeping()
TODAY_NS = time.time_ns() // DAY_NS * DAY_NS
HERS = Stretch("mon-b01", TODAY_NS - 30 * HOUR_NS, TODAY_NS - 20 * HOUR_NS)
"""Over midnight: on both days somebody else lay in that bed too."""
pytestmark = pytest.mark.anyio


@contextmanager
def opened(folder: Path, keeping: Keeping = ON) -> Iterator[Buffer]:
    with closing(Buffer.open(folder, group_commit_ms=0, keeping=keeping)) as buffer:
        yield buffer


async def fill(buffer: Buffer) -> None:
    """Store a set of two beds every hour for two days, and a message that nobody could read."""
    for hour in range(-40, 0):
        at_ns = TODAY_NS + hour * HOUR_NS
        buffer.clock.wall = lambda at_ns=at_ns: at_ns  # type: ignore[misc]
        for device in ("mon-b01", "mon-b02"):
            taken = NumericSet(device, at_ns, at_ns, (Value("hr", str(100 + hour), "/min"),))
            await buffer.store_intake(Intake(sets=(taken,), dedup_key=f"{device} {hour}"))
        await buffer.store_intake(Intake(raw=b"MSH|rubbish", raw_reason="message-unreadable"))
    await buffer.save()


async def acknowledge(buffer: Buffer) -> None:
    states = buffer.streams(Up.VITALS).values()
    await buffer.acknowledge(Up.VITALS, {state.key: state.next_seq - 1 for state in states})


async def found(buffer: Buffer) -> list[Record]:
    keys = sorted(buffer.streams(Up.VITALS))
    return [record for key in keys for record in await buffer.read_stored(Up.VITALS, key, 1, 10**6) if record.payload]


def is_hers(record: Record) -> bool:
    return record.stream == "mon-b01/numeric" and HERS.from_ns <= record.stamp.wall_ns <= HERS.to_ns


async def test_what_is_erased_is_gone_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
        await acknowledge(buffer)
        before = await found(buffer)
        assert await buffer.erase(HERS) == 11
        others = [record for record in before if not is_hers(record)]
        assert len(others) == len(before) - 11
        assert await found(buffer) == others
    with opened(tmp_path / "store") as again:
        assert await found(again) == others
        states = {state.stream: state for state in again.streams(Up.VITALS).values()}
        assert (states["mon-b01/numeric"].next_seq, states["mon-b01/numeric"].acked) == (41, 40)
        for device, count in (("mon-b01", 29), ("mon-b02", 40)):
            assert len(await again.trends([device], 0, TODAY_NS, 60)) == count
        asked = "SELECT at_ns FROM kept"
        kept = await again._files["vitals.db"].read(lambda connection: connection.execute(asked).fetchall())
        assert len(kept) == 29
        assert await again.erase(HERS) == 0, "asked again"


async def test_with_all_that_a_thief_finds_afterwards_no_copy_of_before_opens(tmp_path: Path) -> None:
    folder, keys = tmp_path / "store", tmp_path / f"store{KEYS_ENDING}"
    with opened(folder) as buffer:
        await fill(buffer)
        await acknowledge(buffer)
        shutil.copytree(folder, tmp_path / "blocks-of-before")
        await buffer.erase(HERS)
    with closing(sqlite3.connect(tmp_path / "blocks-of-before" / "vitals.db")) as file:
        query = "SELECT 'log ' || stream || ' ' || epoch || ' ' || seq, stream, wall_ns, payload FROM log"
        rows = file.execute(query).fetchall()
    # The old rows, with every keyring and key file that is left anywhere.
    now = Sealing.reading(folder, Keeping(keys))
    assert Sealing.reading(tmp_path / "blocks-of-before", Keeping(keys)).reason, "the keyring of before is shut"
    hers = [row for row in rows if row[1] == "mon-b01/numeric" and HERS.from_ns <= row[2] <= HERS.to_ns]
    assert len(hers) == 11
    assert not [row for row in hers if isinstance(now.opened(row[0], row[3]), bytes)]
    assert len([row for row in rows if row[1] == "mon-b02/numeric" and now.opened(row[0], row[3])]) == 40


async def test_nothing_is_erased_that_the_hub_does_not_have(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as buffer:
        await fill(buffer)
        before = await found(buffer)
        with pytest.raises(NotYetSent, match="11 records"):
            await buffer.erase(HERS)
        assert await found(buffer) == before


async def test_a_store_without_its_keys_or_without_encryption_refuses(tmp_path: Path) -> None:
    for keeping, why in ((Keeping(is_on=False), "not encrypted"), (Keeping(), "No such file")):
        with opened(tmp_path / str(keeping.is_on), keeping) as buffer:
            await fill(buffer)
        shutil.rmtree(tmp_path / f"True{KEYS_ENDING}", ignore_errors=True)
        with opened(tmp_path / str(keeping.is_on), keeping) as buffer:
            await acknowledge(buffer)
            with pytest.raises(KeyUnavailable, match=why):
                await buffer.erase(HERS)


@pytest.mark.parametrize("step", range(7))
async def test_broken_off_at_any_step_it_is_finished_by_asking_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    folder, write, left = tmp_path / "store", whole_files.write_whole, [step]

    def full(path: Path, content: bytes, mode: int) -> None:
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        write(path, content, mode)

    with opened(folder) as buffer:
        await fill(buffer)
        await acknowledge(buffer)
        await buffer.save()
        others = [record for record in await found(buffer) if not is_hers(record)]
        (before,) = (tmp_path / f"store{KEYS_ENDING}").iterdir()
        with monkeypatch.context() as patched:
            patched.setattr(whole_files, "write_whole", full)
            with pytest.raises(BufferFailure):
                await buffer.erase(HERS)
    with opened(folder) as again:
        await again.erase(HERS)
        assert await found(again) == others
    assert not before.exists()
    assert (folder / RING).exists()


async def test_what_a_full_disk_had_sealed_with_a_key_of_long_before_is_erased_for_good_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _content: bytes, _mode: int) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "store"
    with opened(folder) as buffer:
        for days, is_full in ((9, False), (1, True)):
            at_ns = TODAY_NS - days * DAY_NS
            buffer.clock.wall = lambda at_ns=at_ns: at_ns  # type: ignore[misc]
            with monkeypatch.context() as patched:
                if is_full:
                    patched.setattr(whole_files, "write_whole", full)
                taken = NumericSet("mon-b01", at_ns, at_ns, (Value("hr", "70", "/min"),))
                await buffer.store_intake(Intake(sets=(taken,)))
                await buffer.save()
        await acknowledge(buffer)
        former = dict(buffer.keys.sealing._ciphers)
        assert await buffer.erase(HERS) == 1
        assert buffer.keys.sealing._ring is not None
        left = former.keys() & buffer.keys.sealing._ring.keys.keys()
        assert {buffer.keys.sealing._ring.keys[key_id].place.scope for key_id in left} <= {"care"}
        assert len(await found(buffer)) == 1, "what else stood under that key is sealed anew"

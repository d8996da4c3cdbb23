"""The hub's side of a comparison, step by step, on SQLite and PostgreSQL."""

import asyncio

import pytest
from telemed.errors import Code
from telemed.numbers import epoch_text
from telemed.reconcile import BLOCK_RECORDS, digest, mark_of, pack
from telemed.v1 import reconcile_pb2
from telemed.wire import Record, encode

from cloud_hub.errors import NotFound, PieceMisplaced
from cloud_hub.store import dead_letters, reconciliations
from cloud_hub.store.engine import Database
from cloud_hub.store.reconciliations import Reconciliation
from cloud_hub.store.schema import samples_dead_letter
from tests.fakes.containers import CLINIC, EPOCH, HOME, numeric
from tests.fakes.reconcile_hub import ReconcileHub

pytestmark = pytest.mark.anyio
STREAM = "mon-b01/numeric"


@pytest.fixture
def hub(care_db: Database, samples_db: Database) -> ReconcileHub:
    return ReconcileHub(care_db, samples_db)


def records(first: int, last: int) -> list[Record]:
    return [numeric(seq) for seq in range(first, last + 1)]


def compare(held: list[Record], first: int, last: int, run_id: str = "r1") -> reconcile_pb2.CompareRequest:
    marks = [mark_of(record) for record in held]
    block = reconcile_pb2.BlockHash(first=first, last=last, records=len(marks), sha256=digest(marks))
    return reconcile_pb2.CompareRequest(
        run_id=run_id, stream=STREAM, epoch=EPOCH, held_from=first, blocks=[block], is_first=True
    )


def settle(held: list[Record], first: int, last: int, damaged: tuple[int, ...] = ()) -> reconcile_pb2.SettleRequest:
    marks = pack(mark_of(record) for record in held)
    return reconcile_pb2.SettleRequest(
        run_id="r1", stream=STREAM, epoch=EPOCH, first=first, last=last, marks=marks, damaged=damaged
    )


async def begin(hub: ReconcileHub, run_id: str = "r1") -> None:
    await hub.reconciling.begin(CLINIC, reconcile_pb2.ReconcileBegin(run_id=run_id, reason="asked"))


async def finish(hub: ReconcileHub, *, is_last: bool = False) -> Reconciliation:
    return await hub.reconciling.finish(CLINIC, reconcile_pb2.FinishRequest(run_id="r1", is_last=is_last))


async def test_where_nothing_is_missing_the_report_says_so(hub: ReconcileHub) -> None:
    hub.take(*records(1, 9))
    await begin(hub)
    assert await hub.reconciling.compare(CLINIC, compare(records(1, 9), 1, 9)) == []
    report = await finish(hub)
    assert (report.state, report.tally.streams, report.tally.compared) == ("finished", 1, 9)
    assert (report.healed, report.open, report.tally.not_well()) == (0, 0, {})
    assert hub.ended == [report]
    assert hub.notes == []


async def test_what_is_missing_is_asked_for_and_healed_once_it_is_back(hub: ReconcileHub) -> None:
    hub.take(*records(1, 9))
    hub.run("DELETE FROM record WHERE seq IN (4, 5)")
    await begin(hub)
    assert await hub.reconciling.compare(CLINIC, compare(records(1, 9), 1, 9)) == [1]
    reopened, found = await hub.reconciling.settle(CLINIC, settle(records(1, 9), 1, 9))
    assert (reopened, found.missing) == (2, (4, 5))
    assert hub.reopened == {STREAM: 3}
    assert ((await finish(hub)).state, (await finish(hub)).open) == ("running", 2)
    hub.take(numeric(4), numeric(5))
    report = await finish(hub)
    assert (report.state, report.healed, report.open) == ("finished", 2, 0)
    assert await finish(hub) == report, "asking again changes nothing"


async def test_what_does_not_come_back_is_told_to_the_operator(hub: ReconcileHub) -> None:
    hub.take(*records(1, 9))
    hub.run("DELETE FROM record WHERE seq = 4")
    await begin(hub)
    await hub.reconciling.settle(CLINIC, settle(records(1, 9), 1, 9))
    report = await finish(hub, is_last=True)
    assert (report.state, report.healed, report.open) == ("finished", 0, 1)
    assert hub.notes == [(Code.RECORDS_OPEN, 1)]


async def test_what_neither_side_has_is_lost(hub: ReconcileHub) -> None:
    hub.take(*records(1, 9))
    hub.run("DELETE FROM record WHERE seq IN (2, 7)")
    await begin(hub)
    kept = [*records(5, 6), *records(8, 9)]
    assert await hub.reconciling.compare(CLINIC, compare(kept, 5, 9)) == [5]
    reopened, found = await hub.reconciling.settle(CLINIC, settle(kept, 5, 9))
    assert (reopened, found.gone) == (0, (7,))
    assert (await finish(hub)).tally.lost == 2, "one below what the node holds, one inside"
    assert hub.notes == [(Code.RECORDS_LOST, 1), (Code.RECORDS_LOST, 1)]


async def test_what_was_looked_at_once_below_the_nodes_copies_is_not_reported_again(hub: ReconcileHub) -> None:
    hub.take(*records(1, 9))
    hub.run("DELETE FROM record WHERE seq = 2")
    await begin(hub)
    await hub.reconciling.compare(CLINIC, compare(records(5, 9), 5, 9))
    assert (await finish(hub)).tally.lost == 1
    await begin(hub, "r2")
    await hub.reconciling.compare(CLINIC, compare(records(5, 9), 5, 9, "r2"))
    assert [run.tally.lost for run in await hub.care.read(lambda c: reconciliations.running(c, CLINIC))] == [0]


async def test_what_was_never_acknowledged_is_not_lost(hub: ReconcileHub) -> None:
    hub.take(numeric(1), numeric(5))
    await begin(hub)
    asked = reconcile_pb2.CompareRequest(run_id="r1", stream=STREAM, epoch=EPOCH, held_from=8, is_first=True)
    await hub.reconciling.compare(CLINIC, asked)
    assert (await finish(hub)).tally.lost == 0


async def test_what_differs_stands_and_the_nodes_version_is_kept_aside(hub: ReconcileHub) -> None:
    hub.take(*records(1, 3))
    hub.run("UPDATE record SET wall_ns = 5 WHERE seq = 2")
    await begin(hub)
    _, found = await hub.reconciling.settle(CLINIC, settle(records(1, 3), 1, 3))
    assert found.differing == (2,)
    asked = reconcile_pb2.QuarantineRequest(run_id="r1", container=encode([numeric(2)]))
    for _ in range(2):
        await hub.reconciling.quarantine(CLINIC, asked)
    kept = await hub.samples.read(
        lambda c: dead_letters.digests(c, samples_dead_letter, CLINIC, STREAM, epoch_text(EPOCH), 2)
    )
    assert len(kept) == 1
    assert (await finish(hub)).tally.conflicts == 1
    assert hub.notes == [(Code.RECORDS_DIFFER, 1)]


async def test_a_copy_that_is_damaged_at_the_node_is_the_nodes_trouble(hub: ReconcileHub) -> None:
    hub.take(*records(1, 3))
    await begin(hub)
    kept = [numeric(1), numeric(3)]
    assert await hub.reconciling.compare(CLINIC, compare(kept, 1, 3)) == [1]
    _, found = await hub.reconciling.settle(CLINIC, settle(kept, 1, 3, damaged=(2,)))
    assert (found.missing, found.differing, found.gone) == ((), (), ())
    assert (await finish(hub)).tally.damaged == 1
    assert hub.notes == [(Code.RECORDS_DAMAGED, 1)]


async def test_a_run_that_broke_off_is_closed_by_the_next_with_what_it_healed(hub: ReconcileHub) -> None:
    hub.take(*records(1, 9))
    hub.run("DELETE FROM record WHERE seq IN (4, 5)")
    await begin(hub)
    await hub.reconciling.settle(CLINIC, settle(records(1, 9), 1, 9))
    hub.take(numeric(4))
    await begin(hub, "r2")
    assert [(run.run_id, run.state, run.healed, run.open) for run in hub.ended] == [("r1", "broken", 1, 1)]
    newest = await hub.care.read(lambda c: reconciliations.newest(c, CLINIC.region))
    assert newest == hub.ended


async def test_the_run_of_another_node_is_not_found(hub: ReconcileHub) -> None:
    await begin(hub)
    with pytest.raises(NotFound):
        await hub.reconciling.compare(HOME, compare(records(1, 2), 1, 2))


@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 4), (BLOCK_RECORDS, BLOCK_RECORDS + 1)])
async def test_what_is_no_block_is_refused(hub: ReconcileHub, first: int, last: int) -> None:
    await begin(hub)
    with pytest.raises(PieceMisplaced):
        await hub.reconciling.settle(CLINIC, settle([], first, last))


async def test_marks_and_containers_that_cannot_be_read_are_refused(hub: ReconcileHub) -> None:
    await begin(hub)
    broken = settle([], 1, 5)
    broken.marks = b"x"
    with pytest.raises(PieceMisplaced):
        await hub.reconciling.settle(CLINIC, broken)
    with pytest.raises(PieceMisplaced):
        await hub.reconciling.quarantine(CLINIC, reconcile_pb2.QuarantineRequest(run_id="r1", container=b"x"))
    with pytest.raises(PieceMisplaced):
        await begin(hub, "")


@pytest.mark.parametrize("highest", [0, 2**60])
async def test_a_node_that_names_a_number_beyond_all_reason_costs_no_endless_look(
    hub: ReconcileHub, highest: int
) -> None:
    hub.take(*records(1, 9))
    if highest:
        hub.take(numeric(highest))
    hub.run("DELETE FROM record WHERE seq = 3")
    await begin(hub)
    asked = reconcile_pb2.CompareRequest(run_id="r1", stream=STREAM, epoch=EPOCH, held_from=2**61, is_first=True)
    async with asyncio.timeout(15):
        assert await hub.reconciling.compare(CLINIC, asked) == []
    assert (await finish(hub, is_last=True)).tally.lost == 1


async def test_a_run_brings_a_bounded_number_of_records_and_nothing_after_its_end(hub: ReconcileHub) -> None:
    await begin(hub)
    some = reconcile_pb2.QuarantineRequest(run_id="r1", container=encode(records(1, 60)))
    await hub.reconciling.quarantine(CLINIC, some)
    more = reconcile_pb2.QuarantineRequest(run_id="r1", container=encode(records(61, 120)))
    with pytest.raises(PieceMisplaced):
        await hub.reconciling.quarantine(CLINIC, more)
    await finish(hub, is_last=True)
    with pytest.raises(NotFound):
        await hub.reconciling.quarantine(CLINIC, some)
    with pytest.raises(NotFound):
        await hub.reconciling.compare(CLINIC, compare(records(1, 9), 1, 9))
    with pytest.raises(NotFound):
        await hub.reconciling.settle(CLINIC, settle(records(1, 9), 1, 9))

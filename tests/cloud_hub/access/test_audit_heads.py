"""Heads of the hub's trail: signed while it grows, noted apart from the database, and what does not verify is told."""

import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text
from telemed.audit import Entry, Head
from telemed.audit_seal import LAST, Seal, open_seal

from cloud_hub.access.audit_heads import AuditHeads
from cloud_hub.store import audit_trail
from cloud_hub.store.engine import Database
from tests.cloud_hub.access.conftest import Clock

ENTRY = Entry(1, "a", "physician", "patient-read", "Patient/1", "ok", "baoshan")
Make = Callable[[], AuditHeads]
pytestmark = pytest.mark.anyio


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    return open_seal(tmp_path / "audit")


@pytest.fixture
def heads(care: Database, seal: Seal, clock: Clock) -> AuditHeads:
    return AuditHeads(care, "baoshan", seal, clock)


async def add(care: Database, count: int = 1) -> None:
    await care.write(lambda c: audit_trail.append(c, [ENTRY] * count))


async def test_a_trail_that_grew_is_signed_once(care: Database, heads: AuditHeads, seal: Seal, clock: Clock) -> None:
    await heads.settle()
    assert heads.newest is None
    await add(care, 3)
    for _ in range(3):
        clock.pass_s(60)
        await heads.settle()
    (head,) = await care.read(audit_trail.heads)
    assert (head.n, head.is_genuine, head.key) == (3, True, seal.public)
    assert head == heads.newest == seal.last()


async def test_the_last_entries_are_signed_when_the_hub_ends(care: Database, heads: AuditHeads) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(heads.run)
        await anyio.wait_all_tasks_blocked()
        await add(care)
        group.cancel_scope.cancel()
    (head,) = await care.read(audit_trail.heads)
    assert head.n == 1


async def test_a_restart_goes_on_from_the_last_head(
    care: Database, heads: AuditHeads, seal: Seal, clock: Clock
) -> None:
    await add(care, 2)
    await heads.settle()
    again = AuditHeads(care, "baoshan", open_seal(seal.folder), clock)
    await again.settle()
    assert again.newest == heads.newest
    assert again.faults == 0


async def test_a_clock_that_was_set_back_neither_signs_again_nor_tells_a_fault_again(
    care: Database, heads: AuditHeads, clock: Clock
) -> None:
    await add(care)
    await heads.settle()
    clock.pass_s(-3600)
    await add(care)
    for _ in range(3):
        clock.pass_s(60)
        await heads.settle()
    assert [head.n for head in await care.read(audit_trail.heads)] == [1, 2]
    assert await care.read(audit_trail.newest_head) == heads.newest
    await care.write(lambda c: c.execute(text("DROP TRIGGER audit_no_update")))
    await add(care)
    await care.write(lambda c: c.execute(text("UPDATE audit SET actor = 'nobody' WHERE id = 3")))
    for _ in range(3):
        clock.pass_s(60)
        await heads.settle()
    assert heads.faults == 1


@pytest.mark.parametrize(
    ("statements", "finding"),
    [
        (["UPDATE audit SET actor = 'nobody' WHERE id = 5"], "audit-altered"),
        (["DELETE FROM audit WHERE id = 5"], "audit-missing"),
        (["UPDATE audit SET hash = 'x' WHERE id = 3"], "audit-rewritten"),
        (["DELETE FROM audit WHERE id >= 3", "UPDATE audit_chain SET n = 2"], "audit-cut"),
        (["DELETE FROM audit_head", "UPDATE audit_chain SET trail = 'other'"], "audit-other-trail"),
        (["DELETE FROM audit WHERE id = 6"], "audit-state"),
    ],
)
async def test_what_was_done_to_the_trail_is_told_and_written_into_it(
    care: Database, heads: AuditHeads, clock: Clock, statements: list[str], finding: str
) -> None:
    await add(care, 3)
    await heads.settle()
    await add(care, 3)
    for name in ("audit_no_update", "audit_no_delete", "audit_head_no_delete"):
        await care.write(lambda c, n=name: c.execute(text(f"DROP TRIGGER {n}")))  # type: ignore[misc]
    for statement in statements:
        await care.write(lambda c, s=statement: c.execute(text(s)))  # type: ignore[misc]
    for _ in range(3):
        clock.pass_s(60)
        await heads.settle()
    assert heads.faults == 1
    told = [link.entry.result for link in await care.read(lambda c: list(audit_trail.links(c)))]
    assert [result for result in told if result != "ok"] == [finding]


async def test_a_head_that_a_node_kept_is_compared(care: Database, heads: AuditHeads, clock: Clock) -> None:
    await add(care, 2)
    await heads.settle()
    kept = heads.newest
    assert kept is not None
    assert await heads.agrees_with(kept)
    assert await heads.agrees_with(Head(kept.trail, 9, "0" * 64, 1, kept.key, "0" * 128))  # nobody signed it
    await care.write(lambda c: c.execute(text("DROP TRIGGER audit_no_delete")))
    await care.write(lambda c: c.execute(text("DELETE FROM audit WHERE id = 2")))
    assert not await heads.agrees_with(kept)


async def test_a_head_that_cannot_be_noted_is_signed_all_the_same(
    care: Database, heads: AuditHeads, seal: Seal
) -> None:
    (seal.folder / LAST).mkdir()
    await add(care)
    await heads.settle()
    assert heads.newest is not None


async def test_the_disk_is_waited_for_apart_from_the_event_loop(
    care: Database, heads: AuditHeads, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: list[int] = []
    monkeypatch.setattr(Seal, "note", lambda _seal, _head: where.append(threading.get_ident()))
    await add(care)
    await heads.settle()
    assert len(where) == 1
    assert where != [threading.get_ident()]


async def test_of_two_heads_the_earlier_one_is_not_noted_over_the_later(
    care: Database, heads: AuditHeads, seal: Seal, clock: Clock
) -> None:
    signed = []
    for _ in range(2):
        await add(care)
        clock.pass_s(60)
        signed.append(heads._keep(*await care.write(heads._sign)))
    for head in reversed(signed):
        heads._note(head)
    assert seal.last() == heads.newest == signed[1]

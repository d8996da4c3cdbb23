"""Notices to the operator: they outlive the hub, are audited once, and end."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.wire import SCHEMA

from cloud_hub.desk import notices
from cloud_hub.desk.notices import OVER_AFTER_NS, Notices
from cloud_hub.errors import StoreFailure
from cloud_hub.store.engine import Database
from cloud_hub.store.notices import Notice
from cloud_hub.store.schema import audit

pytestmark = pytest.mark.anyio
ADDRESS = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
START_NS = 1_800_000_000 * 10**9


@dataclass
class Desk:
    """The notices of a hub that may be started again."""

    care: Database
    now_ns: int = START_NS
    told: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    async def start(self) -> Notices:
        made = Notices(self.care, "baoshan", self._tell, lambda: self.now_ns)
        await made.load()
        return made

    def _tell(self, site: str, found: list[Notice]) -> None:
        self.told[site] = [(one.code, one.times) for one in found]

    async def audited(self) -> list[tuple[str, str, str, str]]:
        columns = (audit.c.action, audit.c.object, audit.c.result, audit.c.site)
        rows = await self.care.read(lambda c: c.execute(select(*columns).order_by(audit.c.id)).all())
        return [tuple(row) for row in rows]


@pytest.fixture
def desk(care_db: Database) -> Desk:
    return Desk(care_db)


async def test_what_happens_often_is_counted_and_audited_once(desk: Desk) -> None:
    made = await desk.start()
    for _ in range(1000):
        made.note(ADDRESS, Code.TOPIC_REFUSED)
    await made.settle()
    made.note(ADDRESS, Code.TOPIC_REFUSED, 5)
    await made.settle()
    assert desk.told == {"baoshan-clinic": [("topic-refused", 1005)]}
    assert await desk.audited() == [("notice", "node/baoshan-clinic/edge-clinic", "topic-refused", "baoshan-clinic")]


async def test_a_hub_that_starts_again_still_knows_its_notices(desk: Desk) -> None:
    made = await desk.start()
    made.note(ADDRESS, Code.SEQ_JUMP)
    await made.settle()
    desk.told.clear()
    again = await desk.start()
    assert desk.told == {"baoshan-clinic": [("seq-jump", 1)]}
    again.note(ADDRESS, Code.SEQ_JUMP)
    await again.settle()
    assert desk.told == {"baoshan-clinic": [("seq-jump", 2)]}
    assert len(await desk.audited()) == 1


async def test_a_notice_is_over_a_day_after_it_happened_last(desk: Desk) -> None:
    made = await desk.start()
    made.note(ADDRESS, Code.KEY_CONFLICT)
    await made.settle()
    desk.now_ns += OVER_AFTER_NS
    await made.settle()
    assert desk.told["baoshan-clinic"]
    desk.now_ns += 1
    await made.settle()
    assert desk.told == {"baoshan-clinic": []}
    assert [row[0] for row in await desk.audited()] == ["notice", "notice-over"]
    await desk.start()
    assert desk.told == {"baoshan-clinic": []}


async def test_records_of_a_newer_schema_are_told_until_the_hub_is_upgraded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await desk.start()
    made.note(ADDRESS, Code.SCHEMA_UNKNOWN)
    desk.now_ns += 30 * OVER_AFTER_NS
    await made.settle()
    assert desk.told["baoshan-clinic"]
    monkeypatch.setattr(notices, "SCHEMA", SCHEMA + 1)
    await (await desk.start()).settle()
    assert desk.told["baoshan-clinic"] == []


async def test_a_store_that_is_away_loses_no_notice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await desk.start()
    with monkeypatch.context() as away:
        away.setattr(desk.care, "write", _refuse)
        made.note(ADDRESS, Code.NODE_CLONED)
        await made.settle()
    assert await desk.audited() == []
    await made.settle()
    assert [row[2] for row in await desk.audited()] == ["node-cloned"]


async def _refuse(_work: Callable[..., object]) -> None:
    raise StoreFailure("care: away")

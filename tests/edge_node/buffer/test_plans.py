"""No hot query reads a whole table: SQLite's own plan is asked for each."""

import sqlite3
from collections.abc import Iterator

import pytest

from edge_node.buffer import eventlog, history, intake, maintenance, outbox, schema
from edge_node.buffer.opening import may_open
from edge_node.buffer.schema import ALARM, CARE, VITALS
from edge_node.buffer.sealing import Sealing

HOT = {
    VITALS: [
        outbox.SELECT_RUN,
        outbox.SELECT_WALL,
        outbox.SELECT_ENDS,
        outbox.SELECT_NEXT_STREAM,
        outbox.SELECT_SHED_FROM,
        outbox.DELETE_RUN,
        outbox.UPSERT_STATE,
        history.SELECT_MINUTES,
        history.SELECT_OLD_TREND,
        history.SELECT_NEWEST,
        history.UPSERT_MINUTE,
        intake.SELECT_KEY,
        maintenance.DELETE_KEPT,
        maintenance.DELETE_TREND,
        maintenance.DELETE_MINUTES,
    ],
    ALARM: [history.SELECT_SINCE, history.SELECT_EVALUATED, history.UPSERT_EVALUATED],
    CARE: [
        eventlog.SELECT_CURSOR,
        eventlog.SELECT_KNOWN,
        eventlog.DELETE_PENDING,
        eventlog.SELECT_BY_TYPE,
    ],
}


def plan(connection: sqlite3.Connection, statement: str) -> list[str]:
    marks = [None] * statement.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", marks)]


def scans(steps: list[str]) -> list[str]:
    return [step for step in steps if step.startswith("SCAN") and "CONSTANT ROW" not in step]


@pytest.fixture
def connections() -> Iterator[dict[str, sqlite3.Connection]]:
    opened = {}
    for name in HOT:
        opened[name] = sqlite3.connect(":memory:", isolation_level=None)
        schema.prepare(opened[name], name)
        may_open(opened[name], Sealing(is_on=False))
    yield opened
    for connection in opened.values():
        connection.close()


@pytest.mark.parametrize(("name", "statement"), [(name, each) for name, found in HOT.items() for each in found])
def test_a_hot_query_uses_an_index(connections: dict[str, sqlite3.Connection], name: str, statement: str) -> None:
    steps = plan(connections[name], statement)
    assert scans(steps) == [], steps
    assert not any("TEMP B-TREE FOR ORDER BY" in step and "LAST TERM" not in step for step in steps), steps


def test_the_check_sees_a_scan(connections: dict[str, sqlite3.Connection]) -> None:
    assert scans(plan(connections[VITALS], "SELECT seq FROM log WHERE crc = ?"))

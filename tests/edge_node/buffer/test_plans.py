"""No hot query reads a whole table: SQLite's own plan is asked for each."""

import sqlite3
from collections.abc import Iterator

import pytest
from telemed.topics import Up

from edge_node.buffer import eventlog, history, intake, maintenance, outbox, schema

HOT = {
    Up.VITALS: [
        outbox.SELECT_RUN,
        outbox.SELECT_STATE,
        outbox.SELECT_WALL,
        outbox.UPSERT_STATE,
        history.SELECT_SINCE,
        history.SELECT_TREND,
        intake.INSERT_SEEN,
        intake.UPSERT_TREND,
        maintenance.DELETE_ACKED,
        maintenance.DELETE_SEEN,
        maintenance.DELETE_KEPT,
        maintenance.DELETE_TREND,
    ],
    Up.ALARM: [history.SELECT_SINCE, history.SELECT_EVALUATED, history.UPSERT_EVALUATED],
    Up.CARE: [
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
def connections() -> Iterator[dict[Up, sqlite3.Connection]]:
    opened = {}
    for up in HOT:
        opened[up] = sqlite3.connect(":memory:", isolation_level=None)
        schema.prepare(opened[up], up)
    yield opened
    for connection in opened.values():
        connection.close()


@pytest.mark.parametrize(("up", "statement"), [(up, each) for up, found in HOT.items() for each in found])
def test_a_hot_query_uses_an_index(connections: dict[Up, sqlite3.Connection], up: Up, statement: str) -> None:
    steps = plan(connections[up], statement)
    assert scans(steps) == [], steps
    assert not any("TEMP B-TREE FOR ORDER BY" in step and "LAST TERM" not in step for step in steps), steps


def test_the_check_sees_a_scan(connections: dict[Up, sqlite3.Connection]) -> None:
    assert scans(plan(connections[Up.VITALS], "SELECT seq FROM log WHERE crc = ?"))

"""Real processes: what a node stored by a wrong clock, with no hub in reach, stands at its true time at the hub."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.faults.chaos import clock
from tests.faults.chaos.ledger import Ledger
from tests.faults.chaos.world import World, begin_anew, living, until
from tests.faults.relay.namespaces import Unavailable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
HOUR_NS = 3600 * 10**9
WRONG_BY_NS = -5 * HOUR_NS
DRAIN_LIMIT_S, LIMIT_S = 60.0, 60.0
NEAR_NS = 2 * 10**9
SELECT = (
    "SELECT r.wall_ns, r.measured_ns, r.shift_ns FROM record r JOIN stream s ON s.id = r.stream_id WHERE r.kind = 1"
)
SELECT_CLOCKS = "SELECT boot FROM boot_clock"
SELECT_MINUTES = "SELECT minute, n FROM trend WHERE measure = 'hr'"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Edge, hub and broker; skipped by name where this machine cannot."""
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip("Mosquitto is not installed")
    with ExitStack() as undo:
        try:
            yield undo.enter_context(living(Path(tmp_path_factory.mktemp("time")), 1, "mosquitto"))
        except Unavailable as reason:
            pytest.skip(str(reason))


def rows(world: World, query: str) -> list[tuple[int, ...]]:
    path = world.place.hub_folder / "samples.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def measured_without_a_hub(world: World) -> Ledger:
    """Let the node store some seconds by a clock that is five hours late, and return what it has promised."""
    world.place.link.cut()
    clock.set_wrong_by(world.clock_file, WRONG_BY_NS)
    world.start("edge")
    world.until_serving("edge")
    world.send_messages()
    until(lambda: len(world.read_ledger().promises) >= 30, LIMIT_S, "some messages are promised")
    world.stop_messages()
    return world.read_ledger()


def test_what_was_stored_by_a_wrong_clock_stands_at_its_true_time_at_the_hub_even_if_that_is_killed(
    world: World,
) -> None:
    begin_anew(world)
    begun = measured_without_a_hub(world)
    world.place.link.heal()
    world.start_all()
    world.until_drained(DRAIN_LIMIT_S)
    world.send_messages()
    until(lambda: bool(rows(world, SELECT_CLOCKS)), LIMIT_S, "more is measured, by a clock that knows the hub's")
    world.stop_messages()
    world.until_drained(DRAIN_LIMIT_S)
    world.kill("hub")
    world.start("hub")
    world.until_serving("hub")

    until(lambda: all(row[2] is not None for row in rows(world, SELECT)), LIMIT_S, "every time is looked at")
    stored = rows(world, SELECT)
    world.kill_all()
    moved = [row for row in stored if row[2]]
    first_ns = min(promise.first_sent_ns for promise in begun.promises.values())
    last_ns = max(promise.acknowledged_ns for promise in world.read_ledger().promises.values())
    assert len(moved) >= 30
    assert all(wall_ns < first_ns - 4 * HOUR_NS for wall_ns, _, _ in moved)
    off = [row for row in stored if not first_ns - NEAR_NS <= row[1] <= last_ns + NEAR_NS]
    assert off == [], f"sent and acknowledged between {first_ns} and {last_ns}"
    minutes = rows(world, SELECT_MINUTES)
    assert sum(n for _, n in minutes) == len(stored)
    assert min(minute for minute, _ in minutes) >= first_ns // (60 * 10**9) - 1

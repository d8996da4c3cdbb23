"""What the hub lost behind its own back is found by comparison with the node, and comes again or is reported."""

import contextlib
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.sealed_store import rows_in
from tests.region.monitors import start_monitors
from tests.region.region import Clinic, Region, running, until

CLINIC = Clinic(beds=("B01",))
STREAM = "mon-b01/numeric"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@contextlib.contextmanager
def opened(region: Region, file: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(region.folder / file, timeout=20)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def hub_rows(region: Region, store: str = "samples", table: str = "record") -> set[tuple[str, str, int, int]]:
    with opened(region, f"hub/{store}.db") as hub:
        return set(
            hub.execute(f"SELECT s.name, r.epoch, r.seq, r.crc FROM {table} r JOIN stream s ON s.id = r.stream_id")
        )


def edge_rows(region: Region, file: str) -> set[tuple[str, str, int, int]]:
    return rows_in(region.folder / "edge-clinic-buffer" / file)


def reconcile(region: Region) -> str:
    return region.run("edge_node", "reconcile", "--config", "edge-clinic.toml", "--wait", "60").strip()


def notices(region: Region) -> dict[str, int]:
    with opened(region, "hub/care.db") as care:
        return dict(care.execute("SELECT code, times FROM notice WHERE node = 'edge-clinic'"))


def counted(region: Region, outcome: str) -> float:
    text = httpx.get(f"{region.hub_url}/metrics").text
    found = re.search(rf'hub_reconcile_records_total{{outcome="{outcome}"}} (\S+)', text)
    return float(found[1]) if found else 0


def delete(region: Region, first: int, last: int) -> None:
    with opened(region, "hub/samples.db") as hub:
        stream_id = hub.execute("SELECT id FROM stream WHERE name = ?", (STREAM,)).fetchone()[0]
        gone = hub.execute("DELETE FROM record WHERE stream_id = ? AND seq BETWEEN ? AND ?", (stream_id, first, last))
        assert gone.rowcount == last - first + 1


def measure_for_a_while(region: Region) -> None:
    """Let monitors measure, stop them, and wait until the hub has it all."""
    start_monitors(region, CLINIC, CLINIC.beds)
    until(lambda: sum(row[0] == STREAM for row in hub_rows(region)) >= 25, 60, "25 sets are at the hub")
    region.kill("edge-clinic-monitors")
    until(lambda: hub_rows(region) == edge_rows(region, "vitals.db"), 30, "the hub has what the node has")


def test_what_the_hub_lost_is_healed_and_what_cannot_be_healed_is_said(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(Region(tmp_path_factory.mktemp("region"), (CLINIC,))) as region:
        measure_for_a_while(region)
        whole = hub_rows(region)
        care = until(lambda: hub_rows(region, "care", "care_record"), 10, "alarms and events are at the hub")
        said = reconcile(region)
        assert said.endswith("nothing to heal"), said

        delete(region, 3, 9)
        delete(region, 21, 21)
        with opened(region, "hub/care.db") as hub:
            hub.execute("DELETE FROM care_record WHERE seq <= 2")
        lost = len(care - hub_rows(region, "care", "care_record"))
        assert lost > 0
        events = hub_rows_of_events(region)
        said = reconcile(region)
        assert said.endswith(f"healed {8 + lost}"), said
        assert hub_rows(region) >= whole
        assert hub_rows(region, "care", "care_record") >= care
        assert hub_rows_of_events(region) == events
        assert counted(region, "healed") == 8 + lost
        assert notices(region) == {}
        said = reconcile(region)
        assert said.endswith("nothing to heal"), said

        with opened(region, "hub/samples.db") as hub:
            hub.execute("UPDATE record SET payload = zeroblob(length(payload)) WHERE seq = 5")
        altered = sum(row[2] == 5 for row in whole)
        said = reconcile(region)
        assert said.endswith(f"conflicts {altered}"), said
        with opened(region, "hub/samples.db") as hub:
            kept = hub.execute("SELECT count(*) FROM dead_letter WHERE reason = 'records-differ'").fetchone()
        assert kept == (altered,)

        delete(region, 12, 13)
        with opened(region, "edge-clinic-buffer/vitals.db") as edge:
            edge.execute("DELETE FROM log WHERE stream = ? AND seq IN (12, 13)", (STREAM,))
        said = reconcile(region)
        assert "lost 2" in said, said
        until(lambda: {"records-lost", "records-differ"} <= notices(region).keys(), 10, "the operator is told")
        assert counted(region, "lost") == 2


def hub_rows_of_events(region: Region) -> int:
    with opened(region, "hub/care.db") as care:
        return int(care.execute("SELECT count(*) FROM event").fetchone()[0])


def test_a_comparison_that_is_killed_on_the_way_is_begun_anew(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(Region(tmp_path_factory.mktemp("region"), (CLINIC,))) as region:
        measure_for_a_while(region)
        whole = hub_rows(region)
        delete(region, 2, 20)
        asked = subprocess.Popen(
            [sys.executable, "-m", "edge_node", "reconcile", "--config", "edge-clinic.toml", "--wait", "90"],
            cwd=region.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: runs(region), 20, "the comparison has begun")
        region.kill("edge-clinic")
        region.kill("hub")
        region.start_hub()
        region.start_edge()
        said, _ = asked.communicate(timeout=100)
        assert asked.returncode == 0
        assert "compared" in said
        until(lambda: hub_rows(region) >= whole, 30, "all records are at the hub again")
        # What the broken run asked for may have come again before the next one looked: then that one heals nothing.
        assert dict(runs(region)).keys() == {"broken", "finished"}
        assert dict(runs(region))["finished"] == 0


def runs(region: Region) -> list[tuple[str, int]]:
    """State of each run, and how many records it left open."""
    with opened(region, "hub/care.db") as care:
        return list(care.execute("SELECT state, open FROM reconciliation"))

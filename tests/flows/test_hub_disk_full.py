"""A hub whose disk is full receipts nothing, says so, and goes on by itself; nothing is lost (fault 5)."""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.sealed_store import rows_in
from tests.region.monitors import start_monitors
from tests.region.region import Clinic, Region, running, until
from tests.region.screen import Screen

CLINIC = Clinic(beds=("B01",))
SIZE_MIB = 24
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small disk where the hub has its stores."""
    folder = tmp_path / "hub"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def rows(path: Path, query: str) -> set[tuple[object, ...]]:
    connection = sqlite3.connect(path, timeout=20)
    with contextlib.closing(connection):
        return set(connection.execute(query))


def stored(region: Region) -> set[tuple[object, ...]]:
    query = "SELECT s.name, r.epoch, r.seq, r.crc FROM record r JOIN stream s ON s.id = r.stream_id"
    return rows(region.folder / "hub" / "samples.db", query)


def measured(region: Region) -> set[tuple[object, ...]]:
    return {*rows_in(region.folder / "edge-clinic-buffer" / "vitals.db")}


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (65536, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


def failing(region: Region) -> bool:
    return 'hub_store_failing{store="samples"} 1.0' in httpx.get(f"{region.hub_url}/metrics").text


def hears(screen: Screen) -> str:
    """Return what an open page is told of the hub's store; one that is opened meanwhile may find no room itself."""
    message = screen.until("site", lambda message: "hub-store-full" in str(message), 40)
    return str(message)


def test_a_hub_on_a_full_disk_refuses_receipts_says_so_and_goes_on_by_itself(tmp_path: Path, small_disk: Path) -> None:
    with contextlib.ExitStack() as open_, running(Region(tmp_path, (CLINIC,))) as region:
        operator = open_.enter_context(contextlib.closing(region.signed_in(region.hub_url, "operator")))
        start_monitors(region, CLINIC, CLINIC.beds)
        until(lambda: len(stored(region)) >= 10, 60, "records are at the hub")
        screen = Screen(operator)
        open_.callback(screen.socket.close)
        filler = fill(small_disk)
        until(lambda: failing(region), 60, "the metric says that nothing can be committed")
        missing = httpx.get(f"{region.hub_url}/readyz")
        assert (missing.status_code, "store samples" in missing.json()["missing"]) == (503, True)
        assert "none is lost" in hears(screen), "the operator's page says so while there is no room"
        before = measured(region)
        until(lambda: len(measured(region) - before) >= 10, 60, "the node measures on")
        assert measured(region) - stored(region)

        filler.unlink()
        region.until_ready(region.hub_url)
        region.kill("edge-clinic-monitors")
        until(lambda: measured(region) <= stored(region), 60, "the hub has it all, without being started again")
        assert not failing(region)
        assert rows(small_disk / "samples.db", "SELECT reason FROM dead_letter") == set()

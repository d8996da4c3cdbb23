"""A node's disk that was put back, and a copy of it in a second machine: nothing is lost or mixed, and it is said."""

import contextlib
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.ports import free_port
from tests.fakes.sealed_store import copy_keys, rows_in
from tests.region.monitors import start_monitors
from tests.region.region import Clinic, Region, running, until
from tests.region.screen import Screen

CLINIC = Clinic(beds=("B01",))
SECOND = replace(CLINIC, node="edge-second")
STREAM = "mon-b01/numeric"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
Row = tuple[str, str, int, int]
"""Stream, epoch, number and checksum."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=20)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def hub_rows(region: Region, store: str = "samples", table: str = "record") -> set[Row]:
    with opened(region.folder / "hub" / f"{store}.db") as hub:
        return set(
            hub.execute(f"SELECT s.name, r.epoch, r.seq, r.crc FROM {table} r JOIN stream s ON s.id = r.stream_id")
        )


def edge_rows(region: Region, node: str = "edge-clinic", file: str = "vitals.db") -> set[Row]:
    return rows_in(region.folder / f"{node}-buffer" / file)


def dead_letters(region: Region) -> list[tuple[str, str]]:
    found = []
    for store in ("samples", "care"):
        with opened(region.folder / "hub" / f"{store}.db") as hub:
            found += hub.execute("SELECT stream, reason FROM dead_letter").fetchall()
    return found


def notices(region: Region) -> set[str]:
    with opened(region.folder / "hub" / "care.db") as care:
        return {code for (code,) in care.execute("SELECT code FROM notice")}


def said(region: Region, code: str, url: str) -> list[str]:
    """Return what a page says of a code at any site, in English."""
    who = "operator" if url == region.hub_url else "clinic"
    with contextlib.closing(region.signed_in(url, who)) as client:
        screen = Screen(client)
        screen.socket.close()
    return [one["text"]["en"] for view in screen.snapshot["sites"] for one in view["stuck"] if one["code"] == code]


def measured(region: Region, clinic: Clinic, more: int) -> None:
    """Let the monitor of a node measure until it has stored so many sets more."""
    before = len(edge_rows(region, clinic.node))
    name = f"{clinic.node}-monitors"
    if name not in region.processes:
        start_monitors(region, clinic, clinic.beds)
    until(lambda: len(edge_rows(region, clinic.node)) >= before + more, 60, "the node has stored more")


def end(region: Region, name: str) -> None:
    """End a process politely, so that its folder is whole without it."""
    process = region.processes.pop(name)
    process.popen.terminate()
    process.popen.wait(20)


def is_whole(region: Region, node: str) -> bool:
    """Whether the hub has all that a node has stored."""
    care = hub_rows(region, "care", "care_record")
    kept = edge_rows(region, node, "alarm.db") | edge_rows(region, node, "care.db")
    return edge_rows(region, node) <= hub_rows(region) and kept <= care


def copied_while_it_runs(region: Region, target: Path) -> None:
    """Copy a node's folder as a snapshot of its disk does: at one moment, with the node running on."""
    process = region.processes["edge-clinic"].popen
    process.send_signal(signal.SIGSTOP)
    try:
        shutil.copytree(region.folder / "edge-clinic-buffer", target)
    finally:
        process.send_signal(signal.SIGCONT)


def test_after_an_old_disk_was_put_back_everything_measured_since_is_at_the_hub(tmp_path: Path) -> None:
    with running(Region(tmp_path, (CLINIC,))) as region:
        folder, old = tmp_path / "edge-clinic-buffer", tmp_path / "old-disk"
        measured(region, CLINIC, 10)
        copied_while_it_runs(region, old)
        measured(region, CLINIC, 20)
        end(region, "edge-clinic-monitors")
        until(lambda: is_whole(region, "edge-clinic"), 40, "the hub has it all")
        former = hub_rows(region)
        end(region, "edge-clinic")

        shutil.rmtree(folder)
        shutil.copytree(old, folder)
        region.start_edge()
        region.until_ready(region.page_url())
        measured(region, CLINIC, 20)
        end(region, "edge-clinic-monitors")
        until(lambda: is_whole(region, "edge-clinic"), 60, "the hub has what was measured since")
        assert hub_rows(region) >= former
        assert dead_letters(region) == []
        text = until(lambda: said(region, "store-set-back", region.hub_url), 20, "the hub's page tells of it")
        assert "numbered apart" in text[0]
        text = until(lambda: said(region, "store-set-back", region.page_url()), 20, "the site's page tells of it")
        assert STREAM in text[0]


def test_a_disk_of_the_day_before_is_noticed_by_what_it_does_not_know(tmp_path: Path) -> None:
    with running(Region(tmp_path, (CLINIC,))) as region:
        folder, old = tmp_path / "edge-clinic-buffer", tmp_path / "old-disk"
        measured(region, CLINIC, 5)
        end(region, "edge-clinic")
        shutil.copytree(folder, old)
        region.start_edge()
        region.until_ready(region.page_url())
        measured(region, CLINIC, 5)
        until(lambda: edge_rows(region) <= hub_rows(region), 40, "the hub has it all")
        end(region, "edge-clinic")
        assert "store-set-back" not in notices(region), "a usual restart is none"

        shutil.rmtree(folder)
        shutil.copytree(old, folder)
        region.start_edge()
        until(lambda: "store-set-back" in notices(region), 60, "the operator is told")


def start_second(region: Region) -> None:
    """Start a second machine under the node's name, with a disk that is there already."""
    command = [sys.executable, "-m", "edge_node", "serve", "--config", "edge-second.toml"]
    region.processes["edge-second"] = region.launch("edge-second", command)
    region.until_ready(region.page_url("edge-second"))


def configure_second(region: Region) -> None:
    """Write the second machine's configuration: the same node, with ports and a folder of its own."""
    region.ports |= {"edge-second.page": free_port(), "edge-second.hl7": free_port()}
    text = (region.folder / "edge-clinic.toml").read_text()
    for name in ("page", "hl7"):
        text = text.replace(str(region.ports[f"edge-clinic.{name}"]), str(region.ports[f"edge-second.{name}"]))
    (region.folder / "edge-second.toml").write_text(text.replace("edge-clinic-buffer", "edge-second-buffer"))


def test_a_second_machine_with_a_copied_disk_is_shut_out_until_the_first_is_gone(tmp_path: Path) -> None:
    with running(Region(tmp_path, (CLINIC,))) as region:
        configure_second(region)
        measured(region, CLINIC, 5)
        end(region, "edge-clinic")
        shutil.copytree(tmp_path / "edge-clinic-buffer", tmp_path / "edge-second-buffer")
        copy_keys(tmp_path / "edge-clinic-buffer", tmp_path / "edge-second-buffer")
        region.start_edge()
        region.until_ready(region.page_url())
        measured(region, CLINIC, 3)
        shared = edge_rows(region, "edge-second")
        start_second(region)
        measured(region, SECOND, 5)
        until(lambda: "node-cloned" in notices(region), 60, "the operator is told of two machines")
        text = until(lambda: said(region, "node-second", region.page_url("edge-second")), 20, "the second one says so")
        assert "switch the other off" in text[0]

        measured(region, CLINIC, 5)
        until(lambda: edge_rows(region) <= hub_rows(region), 40, "the first machine goes on")
        own = edge_rows(region, "edge-second") - shared
        assert own
        assert not own & hub_rows(region), "nothing of the second machine is taken"

        region.kill("edge-clinic")
        end(region, "edge-clinic-monitors")
        end(region, "edge-second")
        start_second(region)
        measured(region, SECOND, 3)
        end(region, "edge-second-monitors")
        until(lambda: is_whole(region, "edge-second"), 60, "what the second machine kept is at the hub")
        assert dead_letters(region) == []

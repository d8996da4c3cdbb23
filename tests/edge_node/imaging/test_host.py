"""The node's side of the receivers: one that says what none may say is ended, and the others go on."""

import asyncio
import json
import socket
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from edge_node.imaging.catalog import Catalog
from edge_node.imaging.host import ImagingHost
from edge_node.imaging.judged import OUT_OF_RESOURCES
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.pipe import Configure, Ready, Refused, Taken, pack
from tests.edge_node.imaging.test_rows import stored

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
HALF = json.dumps({"type": "stored", **asdict(stored())}).replace("Gu^Yu", "\\ud800")


def speaking(folder: Path, *lines: str) -> Path:
    """Return a program that notes each start, says some lines, and stays as long as its standard input."""
    program, said = folder / "receiver.sh", folder / "said"
    said.write_text("".join(f"{line}\n" for line in lines))
    program.write_text(f"#!/bin/sh\necho >> {folder}/starts\ncat {said}\ncat > {folder}/told\necho >> {folder}/ends\n")
    program.chmod(0o700)
    return program


def count(path: Path) -> int:
    return len(path.read_text()) if path.exists() else 0


@pytest.mark.parametrize("line", ['{"type":"refused","reason":[]}', "rubbish", HALF, "x" * 200_000])
async def test_a_receiver_that_says_what_none_may_say_is_ended_and_replaced_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    program = speaking(tmp_path, pack(Refused("no-file")).decode().strip(), line)
    monkeypatch.setattr(sys, "executable", str(program))
    catalog, metrics = Catalog(tmp_path / "images"), ImagingMetrics(CollectorRegistry())
    settings = Configure(str(tmp_path / "images"), "YUANZHEN", ["CT"], 2, 1000, 0.9, 1, 1)
    with socket.create_server(("127.0.0.1", 0)) as port, capture_logs() as logs:
        running = asyncio.create_task(ImagingHost(settings, 1, lambda: port, catalog, metrics).run())
        async with asyncio.timeout(15):
            while count(tmp_path / "ends") < 3 and not running.done():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])
    catalog.close()
    assert [each["reason"] for each in logs if each["event"] == "imaging-receiver-ended"] == [
        "it said what no receiver says"
    ]


async def test_the_bytes_of_an_object_are_counted_once_though_it_came_in_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = stored(), stored(sha256="b" * 64)
    said = [replace(each, number=number) for number, each in enumerate((first, other, other, first))]
    monkeypatch.setattr(sys, "executable", str(speaking(tmp_path, *(pack(line).decode().strip() for line in said))))
    catalog, registry = Catalog(tmp_path / "images"), CollectorRegistry()
    settings = Configure(str(tmp_path / "images"), "YUANZHEN", ["CT"], 2, 1000, 0.9, 1, 1)
    with socket.create_server(("127.0.0.1", 0)) as port:
        running = asyncio.create_task(
            ImagingHost(settings, 1, lambda: port, catalog, ImagingMetrics(registry)).run(), name="host"
        )
        told = tmp_path / "told"
        async with asyncio.timeout(15):
            while not told.exists() or told.read_text().count("judged") < len(said):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.wait([running])
    catalog.close()
    assert registry.get_sample_value("edge_imaging_bytes_total") == first.size_bytes + other.size_bytes


async def test_a_file_whose_receiver_ends_meanwhile_is_for_another_time_and_so_is_one_without_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "receiver.sh"
    # Its settings first; it ends with the first file that it is given.
    program.write_text(f"#!/bin/sh\nread settings\necho '{pack(Ready()).decode().strip()}'\nread look\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    catalog, metrics = Catalog(tmp_path / "images"), ImagingMetrics(CollectorRegistry())
    settings = Configure(str(tmp_path / "images"), "YUANZHEN", ["CT"], 2, 1000, 0.9, 1, 1)
    with socket.create_server(("127.0.0.1", 0)) as port:
        host = ImagingHost(settings, 1, lambda: port, catalog, metrics)
        assert (await host.look(tmp_path / "file", "SCANNER")).status == OUT_OF_RESOURCES
        running = asyncio.create_task(host.run())
        async with asyncio.timeout(15):
            await host.is_listening.wait()
            assert await host.look(tmp_path / "file", "SCANNER") == Taken(2, OUT_OF_RESOURCES)
        running.cancel()
        await asyncio.wait([running])
    catalog.close()

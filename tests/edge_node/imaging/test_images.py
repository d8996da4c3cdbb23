"""A node whose images cannot be kept: care and alarms go on, people are told, and it is tried again."""

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from telemed.errors import Code

from edge_node.config import ImagingConfig
from edge_node.errors import CatalogueFailure
from edge_node.imaging.host import ImagingHost
from edge_node.imaging.images import Images
from edge_node.imaging.node import Imaging, Joints
from edge_node.imaging.schema import FILE
from edge_node.samples.roster import Roster
from tests.edge_node.imaging.test_node import closed_port
from tests.edge_node.node_process import NodeProcess
from tests.fakes.ports import free_port

pytestmark = pytest.mark.anyio


def make_newer(folder: Path) -> None:
    """Lay a catalogue of newer software."""
    folder.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    """Images whose catalogue is of newer software."""
    make_newer(tmp_path / "images")
    joints = Joints(Roster, None, None, closed_port, time.time_ns)
    settings = ImagingConfig(senders=["CT"], folder=tmp_path / "images")
    found = Images(lambda: Imaging(settings, joints, CollectorRegistry()))
    yield found
    found.close()


async def test_a_catalogue_that_cannot_be_used_is_told_and_holds_up_nobody(images: Images) -> None:
    await images.open()
    await images.settled()
    assert not images.is_awaited
    assert list(images.stuck()) == [(Code.IMAGES_CLOSED, "")]
    with pytest.raises(CatalogueFailure):
        await images.listed(1)
    with pytest.raises(CatalogueFailure, match="version 99 is newer"):
        await images.receive()


async def test_once_it_can_be_used_images_are_received_and_delivered(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = asyncio.Event()

    async def opens(_: Imaging) -> None:
        pass

    async def receives(host: ImagingHost) -> None:
        host.is_listening.set()
        opened.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Imaging, "open", opens)
    monkeypatch.setattr(ImagingHost, "run", receives)
    delivering = asyncio.create_task(images.deliver())
    await asyncio.to_thread(shutil.rmtree, tmp_path / "images")
    receiving = asyncio.create_task(images.receive())
    async with asyncio.timeout(10):
        await opened.wait()
    assert not images.is_awaited
    assert list(images.stuck()) == []
    assert await images.listed(1) == []
    assert not delivering.done()
    for task in (receiving, delivering):
        task.cancel()
    await asyncio.wait([receiving, delivering])


async def test_receivers_that_cannot_be_started_hold_up_nobody_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def opens(_: Imaging) -> None:
        pass

    async def fails(_: ImagingHost) -> None:
        raise OSError("no such folder")

    monkeypatch.setattr(Imaging, "open", opens)
    monkeypatch.setattr(ImagingHost, "run", fails)
    joints = Joints(Roster, None, None, closed_port, time.time_ns)
    settings = ImagingConfig(senders=["CT"], folder=tmp_path / "images")
    images = Images(lambda: Imaging(settings, joints, CollectorRegistry()))
    waiting = asyncio.create_task(images.settled())
    with pytest.raises(OSError, match="no such folder"):
        await images.receive()
    async with asyncio.timeout(10):
        await waiting
    assert images.is_awaited
    await asyncio.to_thread(images.close)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_node_serves_its_monitors_though_its_images_cannot_be_kept(tmp_path: Path) -> None:
    node = NodeProcess.at(tmp_path)
    with (tmp_path / "node.toml").open("a") as file:
        file.write(f'\n[imaging]\nport = {free_port()}\nsenders = ["CT"]\nfolder = "images"\n')
    make_newer(tmp_path / "images")
    assert node.admit().returncode == 0
    node.start()
    try:
        assert "MSA|AA" in node.send("1")
    finally:
        assert node.stop() == 0
    assert "imaging-not-opened" in (tmp_path / "log").read_text()

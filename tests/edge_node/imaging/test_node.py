"""Imaging as one node runs it: its list is made whole before anything comes, and a disk that is gone stops nobody."""

import asyncio
import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from telemed.errors import Code

from edge_node.config import ImagingConfig
from edge_node.imaging import part10, rows
from edge_node.imaging.host import ImagingHost
from edge_node.imaging.node import UNLISTED_S, Imaging, Joints
from edge_node.imaging.objects import Objects
from edge_node.imaging.schema import FILE
from edge_node.samples.roster import Roster
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set

pytestmark = pytest.mark.anyio
UIDS = [f"1.2.{number}" for number in range(5)]


class Cut(BaseException):
    """Stands for the end of the process."""


def closed_port() -> socket.socket:
    raise AssertionError("nothing listens here")


def opened(folder: Path) -> Imaging:
    """Open what a node opens, without a port."""
    joints = Joints(Roster, None, None, closed_port, time.time_ns)
    return Imaging(ImagingConfig(senders=["CT"], folder=folder), joints, CollectorRegistry())


@pytest.fixture(autouse=True)
def _without_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends(_host: ImagingHost) -> None:
        pass

    monkeypatch.setattr(ImagingHost, "run", ends)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with objects that a catalogue lists, and the catalogue damaged."""
    objects = Objects(tmp_path / "images")
    for uid in UIDS:
        objects.put(part10.head(CT, uid, EXPLICIT), data_set(Picture(uid=uid)))
    (tmp_path / "images" / FILE).write_bytes(b"no database " * 1000)
    return tmp_path / "images"


async def listed(folder: Path) -> int:
    """Start as a node does, and return how many objects are listed then."""
    imaging = opened(folder)
    try:
        await imaging.receive()
        return (await imaging.catalog.read(rows.count_of))["objects"]
    finally:
        imaging.close()


async def test_a_recovery_that_was_cut_short_is_finished_at_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = rows.take, list[str]()

    def cut(connection: object, stored: object, now_ns: int) -> object:
        if len(taken) == 2:
            raise Cut
        taken.append("one")
        return real(connection, stored, now_ns)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(rows, "take", cut)
        with pytest.raises(Cut):
            await listed(folder)
    assert await listed(folder) == len(UIDS)


async def test_a_catalogue_that_is_gone_is_made_again_from_the_objects(folder: Path) -> None:
    (folder / FILE).unlink()
    assert await listed(folder) == len(UIDS)


async def test_objects_are_read_again_once_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await listed(folder) == len(UIDS)
    monkeypatch.setattr("edge_node.imaging.recovery.list_again", closed_port)
    assert await listed(folder) == len(UIDS)


def put_unlisted(folder: Path, age_s: float) -> Path:
    """Lay a file whose sender was never told that it is stored."""
    objects = Objects(folder)
    path = objects.path(objects.put(part10.head(CT, "1.9", EXPLICIT), data_set(Picture(uid="1.9"))))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


async def test_an_old_file_without_a_row_is_deleted_before_anything_comes(folder: Path) -> None:
    await listed(folder)
    for path in Objects(folder).whole():
        os.utime(path, (0, 0))
    unlisted = put_unlisted(folder, UNLISTED_S + 60)
    assert await listed(folder) == len(UIDS)
    assert not unlisted.exists()
    assert len(list(Objects(folder).whole())) == len(UIDS)


async def test_a_young_file_without_a_row_stays(folder: Path) -> None:
    await listed(folder)
    unlisted = put_unlisted(folder, UNLISTED_S - 60)
    await listed(folder)
    assert unlisted.exists()


async def test_no_file_is_deleted_while_the_list_is_not_whole(folder: Path) -> None:
    for path in Objects(folder).whole():
        os.utime(path, (0, 0))
    assert await listed(folder) == len(UIDS)
    assert len(list(Objects(folder).whole())) == len(UIDS)


async def test_a_folder_that_is_gone_is_told_and_raises_nothing_where_things_are_asked(tmp_path: Path) -> None:
    imaging = opened(tmp_path / "images")
    try:
        await imaging.delivery.look()
        assert list(imaging.stuck()) == []
        shutil.rmtree(tmp_path / "images" / "objects")
        imaging.delivery.objects.folder = tmp_path / "gone"
        assert list(imaging.stuck()) == [], "asking does not touch the disk"
        await imaging.delivery.look()
        assert list(imaging.stuck()) == [(Code.IMAGES_REFUSED, "")]
    finally:
        await asyncio.to_thread(imaging.close)

"""A real node starts on a store whose files are damaged, and says so; on one of newer software it does not start."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from telemed.topics import Up

from edge_node.buffer import salvage
from edge_node.buffer.schema import ALARM, CARE, VITALS
from edge_node.buffer.store import Buffer
from tests.edge_node.node_process import NodeProcess, prepare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
MESSAGES = 60
PAGE = 4096


def head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 100)


def page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // PAGE // 2 * PAGE)
        file.write(b"\xff" * PAGE)


def log(path: Path) -> None:
    """Damage a page in the last quarter of the write-ahead log that a killed node left, with commits behind it."""
    wal = path.with_name(f"{path.name}-wal")
    with wal.open("r+b") as file:
        file.seek(wal.stat().st_size * 3 // 4)
        file.write(b"\xff" * PAGE)


@pytest.fixture
def node(tmp_path: Path) -> NodeProcess:
    process = NodeProcess.at(tmp_path)
    assert process.admit().returncode == 0
    anyio.run(prepare, tmp_path)
    process.start()
    for number in range(MESSAGES):
        assert f"MSA|AA|M-{number}" in process.send(f"M-{number}", hr=60 + number)
    return process


def kept(folder: Path) -> int:
    async def count() -> int:
        buffer = Buffer.open(folder / "buffer")
        try:
            return buffer.waiting()[Up.VITALS].records
        finally:
            buffer.close()

    return anyio.run(count)


@pytest.mark.parametrize(("damage", "name"), [(head, ALARM), (page, VITALS), (log, VITALS), (page, CARE)])
def test_a_node_starts_on_a_damaged_file_and_goes_on(
    node: NodeProcess, damage: Callable[[Path], None], name: str
) -> None:
    assert node.process is not None
    if damage is log:
        node.process.kill()
        node.process.wait()
        assert node.process.stdout is not None
        node.process.stdout.close()
    else:
        assert node.stop() == 0
    damage(node.folder / "buffer" / name)
    node.start()
    assert "MSA|AA|after" in node.send("after")
    assert node.stop() == 0
    text = (node.folder / "log").read_text()
    assert "buffer.salvaged" in text
    aside = salvage.kept_aside(node.folder / "buffer")
    assert [file.partition(".damaged-")[0] for file in aside] == [name]
    assert kept(node.folder) > MESSAGES // 3


def test_a_file_of_newer_software_is_refused_in_both_languages_and_kept(node: NodeProcess) -> None:
    assert node.stop() == 0
    path = node.folder / "buffer" / CARE
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    before = path.read_bytes()

    answer = node.command("serve", "--config", str(node.folder / "node.toml"))
    assert answer.returncode == 1
    assert "升级" in answer.stderr
    assert "newer software" in answer.stderr
    assert "version 99" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert path.read_bytes() == before
    assert (node.folder / "buffer" / VITALS).exists()

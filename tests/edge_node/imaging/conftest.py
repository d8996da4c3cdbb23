"""Real receivers behind the node's side of them, in processes of their own."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("receive_program.py")
KILLED = Path(__file__).with_name("killed")
ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "PATH": "/usr/bin:/bin"}


@dataclass(slots=True)
class Receivers:
    """A running program with its folder."""

    folder: Path
    port: int
    pids: list[int]
    process: "subprocess.Popen[str]" = field(repr=False)

    def rows(self, what: str = "*") -> list[dict[str, object]]:
        """Return the objects of the catalogue, in the order of their arrival."""
        with contextlib.closing(sqlite3.connect(self.folder / "imaging.db")) as connection:
            connection.row_factory = sqlite3.Row
            order = "received_ns, sop_instance_uid, version"
            return [dict(row) for row in connection.execute(f"SELECT {what} FROM instance ORDER BY {order}")]

    def file(self, sha256: object) -> bytes:
        """Return a stored file."""
        return (self.folder / "objects" / str(sha256)[:2] / str(sha256)).read_bytes()

    def files(self) -> list[Path]:
        """Return everything that lies among the objects, whole or half-way."""
        return sorted(
            path for name in ("objects", "incoming") for path in (self.folder / name).rglob("*") if path.is_file()
        )


@contextlib.contextmanager
def receiving(
    folder: Path,
    receivers: int = 1,
    synchronous: str = "FULL",
    *words: str,
    before: tuple[str, ...] = (),
    kill_at: str = "",
) -> Iterator[Receivers]:
    """Run the program while the block runs.

    Args:
        folder: of the images.
        receivers: how many.
        synchronous: of the catalogue.
        words: fields of `Configure`, as name=value.
        before: a program that runs this one.
        kill_at: a step at which a receiver is killed, see `killed`; or the node, with ":node" behind.
    """
    command = [*before, sys.executable, str(PROGRAM), str(folder), str(receivers), synchronous, *words]
    environment = dict(ENVIRONMENT)
    if kill_at:
        environment |= {"KILL_AT": kill_at, "PYTHONPATH": f"{KILLED}:{ENVIRONMENT['PYTHONPATH']}"}
    log = (folder.parent / f"{folder.name}.log").open("a")
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        word, port, *pids = process.stdout.readline().split()
        assert word == "ready"
        yield Receivers(folder, int(port), [int(pid) for pid in pids], process)
    finally:
        process.stdin.close()
        try:
            process.wait(15)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            log.close()


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    """One receiver on an empty folder."""
    with receiving(tmp_path / "images") as found:
        yield found

"""Success is told after file, name and row are synced, and a process killed at any step loses nothing that was told.

kill -9 keeps the page cache, so it shows order and recovery; that the syncs are there is seen from the kernel
(decision 12).
"""

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.edge_node.imaging.conftest import Receivers, receiving
from tests.fakes.dicom import ACCEPTED, CT, EXPLICIT, BareScu, Picture, data_set
from tests.fakes.strace import calls

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
OBJECTS = 4
CALLS = "fdatasync,fsync,pwrite64,write,sendto,rename"
_OBJECT = re.compile(r"/images/(incoming|objects)/")
_WAL = re.compile(r"imaging\.db-wal>")


@dataclass(slots=True)
class Verdict:
    """What a trace shows."""

    answers: int = 0
    early: list[str] = field(default_factory=list)
    """What was not synced when an answer left."""


def judge(trace: str) -> Verdict:
    """Walk a trace in the order of its lines; sound for one object under way."""
    verdict, synced = Verdict(), set[str]()
    for rest, begins, ends in calls(trace):
        if rest.startswith("pwrite64(") and _WAL.search(rest) and begins:
            synced.discard("row")
        elif rest.startswith(("fdatasync(", "fsync(")) and ends and rest.endswith(" = 0"):
            what = "file" if rest.startswith("fdatasync(") else "name"
            synced |= {"row"} if _WAL.search(rest) else {what} if _OBJECT.search(rest) else set()
        elif rest.startswith("sendto(") and "TCP:" in rest and '"\\4\\0' in rest and begins:
            verdict.answers += 1
            missing = {"file", "name", "row"} - synced
            verdict.early += sorted(missing)
            synced.clear()
    return verdict


def send(receivers: Receivers, *pictures: Picture) -> list[int]:
    """Send objects on one association; -1 for those that were not answered."""
    statuses = [-1] * len(pictures)
    with BareScu.at(receivers.port) as scu:
        if scu.associate(CT, EXPLICIT) == ACCEPTED:
            for number, picture in enumerate(pictures):
                statuses[number] = scu.store(CT, picture.uid, data_set(picture))
                if statuses[number] < 0:
                    break
    return statuses


@pytest.fixture(scope="module")
def strace() -> str:
    """The program; skipped by name where tracing is not allowed."""
    found = shutil.which("strace")
    if found is None or subprocess.run([found, "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace is not installed or ptrace is not allowed here")
    return found


def traced(strace: str, folder: Path, synchronous: str) -> Verdict:
    before = (
        strace,
        "-f",
        "-yy",
        "-ttt",
        "-s",
        "40",
        "--seccomp-bpf",
        "-o",
        str(folder / "trace"),
        "-e",
        f"trace={CALLS}",
    )
    with receiving(folder / "images", 1, synchronous, before=before) as found:
        assert send(found, *(Picture(uid=f"1.2.{number}") for number in range(OBJECTS))) == [0] * OBJECTS
    trace = (folder / "trace").read_text()
    return judge(trace[trace.index("ready ") :])


def test_every_success_leaves_after_file_name_and_row_are_synced(strace: str, tmp_path: Path) -> None:
    verdict = traced(strace, tmp_path, "FULL")
    assert verdict.answers == OBJECTS
    assert verdict.early == []


def test_the_check_catches_a_catalogue_that_does_not_sync(strace: str, tmp_path: Path) -> None:
    verdict = traced(strace, tmp_path, "OFF")
    assert verdict.early == ["row"] * OBJECTS


@pytest.mark.parametrize(
    "step",
    ["file-named", "file-written", "file-synced", "answer#1", "file-named:node", "file-synced:node"],
)
def test_a_process_killed_at_a_step_told_no_success_and_the_next_try_stores_once(step: str, tmp_path: Path) -> None:
    folder, picture = tmp_path / "images", Picture()
    with receiving(folder, 1, kill_at=step) as found:
        assert send(found, picture) == [-1]
        if step.endswith(":node"):
            found.process.wait(10)
    with receiving(folder) as found:
        assert send(found, picture) == [0]
        assert [row["version"] for row in found.rows()] == [1]
        assert len(found.files()) == 1


@pytest.mark.parametrize("step", ["file-written#1", "file-synced#1", "file-replaced"])
def test_a_process_killed_while_the_same_object_comes_again_loses_nothing_of_the_first(
    step: str, tmp_path: Path
) -> None:
    folder, picture = tmp_path / "images", Picture()
    with receiving(folder, 1, kill_at=step) as found:
        assert send(found, picture, picture) == [0, -1]
    with receiving(folder) as found:
        ((sha256,),) = [row.values() for row in found.rows("sha256")]
        assert hashlib.sha256(found.file(sha256)).hexdigest() == sha256
        assert send(found, picture) == [0]
        assert len(found.files()) == 1


def test_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    folder, pictures = tmp_path / "images", [Picture(uid=f"1.2.{number}") for number in range(8)]
    with receiving(folder, 1, kill_at="file-named#5") as found:
        statuses = send(found, *pictures)
    assert statuses == [0] * 5 + [-1] * 3
    with receiving(folder) as found:
        acknowledged = {picture.uid for picture, status in zip(pictures, statuses, strict=True) if status == 0}
        assert acknowledged <= {row["sop_instance_uid"] for row in found.rows()}
        assert send(found, *pictures) == [0] * 8
        assert len(found.rows()) == len(found.files()) == 8

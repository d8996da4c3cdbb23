"""`edge-node import` beside a running node, and before one runs: a study of a person of the site, or why not."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.edge_node.importing.conftest import shows
from tests.edge_node.importing.volume_writing import Phantom, little, mhd
from tests.edge_node.node_process import NodeProcess
from tests.fakes.ports import free_port

pytest.importorskip("SimpleITK")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PHANTOM = Phantom()
PATIENT = "P-51018201-0093"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    found = NodeProcess.at(tmp_path)
    with (tmp_path / "node.toml").open("a") as config:
        config.write(f'\n[imaging]\nport = {free_port()}\nreceivers = 1\nsenders = ["CT"]\n')
    (tmp_path / "v.mhd").write_bytes(mhd(PHANTOM, "v.raw"))
    (tmp_path / "v.raw").write_bytes(little(PHANTOM))
    assert found.admit().returncode == 0
    yield found
    if found.process is not None and found.process.poll() is None:
        assert found.stop() == 0


def asked(node: NodeProcess, *words: str) -> tuple[int, str, str]:
    done = node.command("import", "--config", str(node.folder / "node.toml"), *words)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def images(node: NodeProcess) -> Path:
    return node.folder / "buffer" / "images"


def hashes(node: NodeProcess) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(images(node) / "imaging.db")) as connection:
        return connection.execute(
            "SELECT sha256, person_id, assigned_by FROM instance JOIN study USING (study_id) ORDER BY instance_number"
        ).fetchall()


def test_a_file_is_imported_once_and_a_refusal_says_why_in_both_languages(node: NodeProcess) -> None:
    node.start()
    volume = str(node.folder / "v.mhd")
    code, told, _ = asked(node, volume, "--patient", PATIENT, "--modality", "CT", "--date", "2026-11-20")
    assert (code, told.partition(",")[0]) == (0, "已导入 3 幅 / imported: 3 images")
    found = hashes(node)
    shows([dcmread(images(node) / "objects" / sha256[:2] / sha256) for sha256, _, _ in found], PHANTOM)
    assert len({person for _, person, _ in found} - {""}) == 1
    code, told, _ = asked(node, volume, "--patient", PATIENT, "--modality", "CT")
    assert (code, told.partition(":")[0]) == (0, "此前已导入 / was imported before")
    assert hashes(node) == found

    code, _, told = asked(node, volume, "--patient", "P-0", "--modality", "CT")
    assert code == 1
    assert "本站没有这个编号的人 / Nobody at this site has that identifier" in told
    code, _, told = asked(node, volume, "--patient", PATIENT, "--modality", "PT")
    assert code == 1
    assert told.startswith("edge-node: --modality: ")
    code, _, told = asked(node, str(node.folder / "gone.nii"), "--patient", PATIENT)
    assert (code, "文件" in told) == (1, True)
    assert list((images(node) / "imports").iterdir()) == []


def test_what_is_asked_before_the_node_runs_is_imported_once_it_does(node: NodeProcess) -> None:
    volume = str(node.folder / "v.mhd")
    code, _, told = asked(node, volume, "--patient", PATIENT, "--modality", "CT", "--wait", "0.1")
    assert (code, "queued" in told) == (1, True)
    node.start()
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and not list((images(node) / "imports").rglob("*.txt")):
        time.sleep(0.1)
    assert len(hashes(node)) == 3

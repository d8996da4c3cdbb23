"""STOW-RS at a real node: the program of others stores real files, and no success leaves before its syncs."""

import io
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread

from edge_node.imaging import part10
from tests.edge_node.node_process import NodeProcess
from tests.fakes import dicom_files
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set
from tests.fakes.ports import free_port
from tests.fakes.strace import calls

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
TOKEN = "0123456789abcdef0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
IMAGING = """
[imaging]
port = {port}
receivers = 1
senders = ["CT"]
object_limit_mib = 2
[[imaging.web_senders]]
name = "SCANNER"
token_file = "scanner-token"
"""
_OBJECT, _WAL = re.compile(r"/images/(incoming|objects)/"), re.compile(r"imaging\.db-wal>")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    found = NodeProcess.at(tmp_path)
    with (tmp_path / "node.toml").open("a") as config:
        config.write(IMAGING.format(port=free_port()))
    (tmp_path / "scanner-token").write_text(f"{TOKEN}\n")
    yield found
    if found.process is not None and found.process.poll() is None:
        found.stop()


def rows(node: NodeProcess) -> list[tuple[str, str, str]]:
    """Return UID, sender and hash of what is stored."""
    with closing(sqlite3.connect(node.folder / "buffer" / "images" / "imaging.db")) as connection:
        return connection.execute("SELECT sop_instance_uid, sender, sha256 FROM instance ORDER BY 1").fetchall()


def file_of(uid: str, pixels: bytes = bytes(range(32))) -> bytes:
    return part10.head(CT, uid, EXPLICIT) + data_set(Picture(uid=uid, pixels=pixels))


def post(node: NodeProcess, *files: bytes) -> httpx.Response:
    parts = [b"--B\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files]
    headers = HEADERS | {"content-type": 'multipart/related; type="application/dicom"; boundary=B'}
    return httpx.post(f"{node.url}/dicom-web/studies", content=b"".join(parts) + b"--B--", headers=headers, timeout=60)


def test_the_client_of_others_stores_twice_what_is_then_there_once(node: NodeProcess) -> None:
    node.start()
    client = DICOMwebClient(f"{node.url}/dicom-web", headers=HEADERS)
    made = [dcmread(io.BytesIO(dicom_files.image(instance=f"1.2.3.4.{number}"))) for number in range(3)]
    for _ in range(2):
        told = client.store_instances(made)
        assert [each.ReferencedSOPInstanceUID for each in told.ReferencedSOPSequence] == [
            f"1.2.3.4.{number}" for number in range(3)
        ]
        assert "FailedSOPSequence" not in told
    assert [(uid, sender) for uid, sender, _ in rows(node)] == [(f"1.2.3.4.{number}", "SCANNER") for number in range(3)]


def test_what_came_lies_there_bit_for_bit_and_what_is_none_is_named(node: NodeProcess) -> None:
    node.start()
    good, other = file_of("1.2.3.4.1"), file_of("1.2.3.4.1", bytes(32))
    answer = post(node, good, b"no image", file_of("1.2.3.4.9", bytes(3 * 1024 * 1024)), other)
    assert answer.status_code == 202
    assert [each["00081197"]["Value"] for each in answer.json()["00081198"]["Value"]] == [[0xC000]] * 2
    assert [each.get("00081196", {}).get("Value") for each in answer.json()["00081199"]["Value"]] == [None, [0xB000]]
    images = node.folder / "buffer" / "images"
    assert {(images / "objects" / sha256[:2] / sha256).read_bytes() for _, _, sha256 in rows(node)} == {good, other}
    assert list((images / "incoming").iterdir()) == []


def test_no_success_leaves_before_file_name_and_row_are_synced(node: NodeProcess) -> None:
    program = shutil.which("strace")
    if program is None or subprocess.run([program, "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace is not installed or ptrace is not allowed here")
    trace = node.folder / "trace"
    what = "trace=fdatasync,fsync,pwrite64,write,sendto,sendmsg,writev"
    node.start(before=(program, "-f", "-yy", "-ttt", "-s", "24", "-e", what, "-o", str(trace)))
    for number in range(3):
        assert post(node, file_of(f"1.2.3.4.{number}")).status_code == 200
    assert node.process is not None
    # The tracer passes no signal on.
    os.kill(int(trace.read_text().split()[0]), signal.SIGTERM)
    node.process.wait(30)
    assert node.process.stdout is not None
    node.process.stdout.close()
    answers, synced = 0, set[str]()
    for rest, begins, ends in calls(trace.read_text()):
        if rest.startswith(("fdatasync(", "fsync(")) and ends and rest.endswith(" = 0"):
            kind = "file" if rest.startswith("fdatasync(") else "name"
            synced |= {"row"} if _WAL.search(rest) else {kind} if _OBJECT.search(rest) else set()
        elif begins and '"HTTP/1.1 200' in rest:
            answers += 1
            assert synced >= {"file", "name", "row"}, f"answer {answers}"
            synced.clear()
    assert answers == 3

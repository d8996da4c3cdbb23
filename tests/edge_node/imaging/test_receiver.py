"""Receivers as processes: what DCMTK and a sender by hand put on the wire lies on the disk, within bounds."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edge_node.imaging import part10
from edge_node.imaging.association import PDU_BYTES
from tests.edge_node.imaging.conftest import Receivers, receiving
from tests.fakes.dcmtk import needs_dcmtk, program
from tests.fakes.dicom import (
    ABORT,
    ACCEPTED,
    ASSOCIATE,
    CT,
    DATA,
    EXPLICIT,
    REJECTED,
    BareScu,
    Picture,
    data_set,
    pdu,
    relaying,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
VERIFICATION, ANY = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
SUCCESS, COERCED, OUT_OF_RESOURCES, NOT_MATCHING, NOT_UNDERSTOOD = 0x0000, 0xB000, 0xA700, 0xA900, 0xC000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receivers]:
    """One receiver for the tests that leave it as it was."""
    with receiving(tmp_path_factory.mktemp("shared") / "images") as found:
        yield found


def sender(receivers: Receivers, sop_class: str = CT, syntax: str = EXPLICIT) -> BareScu:
    found = BareScu.at(receivers.port)
    with contextlib.ExitStack() as undo:
        undo.enter_context(found)
        assert found.associate(sop_class, syntax) == ACCEPTED
        undo.pop_all()
    return found


def send(receivers: Receivers, picture: Picture) -> int:
    with sender(receivers) as scu:
        status = scu.store(picture.sop_class, picture.uid, data_set(picture))
        scu.release()
        return status


def dcmtk(name: str, port: int, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of DCMTK, as the called entity of the node."""
    command = [program(name), "-aec", "YUANZHEN", "127.0.0.1", str(port), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@needs_dcmtk
def test_an_echo_is_answered(shared: Receivers) -> None:
    assert dcmtk("echoscu", shared.port).returncode == 0


@needs_dcmtk
@pytest.mark.parametrize("sender_program", ["storescu", "dcmsend"])
def test_what_dcmtk_puts_on_the_wire_lies_on_the_disk_byte_for_byte(
    shared: Receivers, sender_program: str, shared_data: Path
) -> None:
    names = ("wg04/CT1_UNC", "tcia/CT01", "fo_dicom/chrGB2312", "pydicom_data/emri_small", "fo_dicom/test_SR")
    with relaying(shared.port) as relay:
        done = dcmtk(sender_program, relay.port, *(str(shared_data / f"dicom/{name}.dcm") for name in names))
        assert done.returncode == 0, done.stderr
        sent = relay.data_sets()
    assert len(sent) == len(names)
    stored = {part10.parted(path.read_bytes()).data for path in shared.files()}
    assert set(sent) <= stored


@pytest.mark.parametrize(("called", "calling", "reason"), [("NOBODY", "CT-ROOM", 7), ("YUANZHEN", "STRANGER", 3)])
def test_who_is_called_or_calls_must_be_known(shared: Receivers, called: str, calling: str, reason: int) -> None:
    with BareScu.at(shared.port) as scu:
        assert scu.ask(VERIFICATION, ANY, called, calling) == (REJECTED, bytes((0, 1, 1, reason)))


def test_an_object_is_stored_once_and_another_content_is_kept_as_a_second(shared: Receivers) -> None:
    before, first = len(shared.files()), Picture(uid="1.2.7")
    assert send(shared, first) == SUCCESS
    assert send(shared, first) == SUCCESS
    assert send(shared, replace(first, pixels=bytes(32))) == COERCED
    assert [row["version"] for row in shared.rows() if row["sop_instance_uid"] == "1.2.7"] == [1, 2]
    assert len(shared.files()) == before + 2


@pytest.mark.parametrize(
    ("uid", "status"),
    [("../../etc/x", NOT_MATCHING), ("1.2.3.4.2", NOT_MATCHING), ("1" * 200, -1)],
)
def test_an_object_under_another_name_or_none_is_refused(shared: Receivers, uid: str, status: int) -> None:
    before = shared.files()
    with sender(shared) as scu:
        assert scu.store(CT, uid, data_set(Picture())) == status
    assert shared.files() == before


def test_a_refused_object_leaves_the_association_as_it_was(shared: Receivers) -> None:
    with sender(shared) as scu:
        assert scu.store(CT, "1.2.3.4.2", data_set(Picture())) == NOT_MATCHING
        assert scu.store(CT, "1.2.3.4.1", data_set(Picture())) == SUCCESS
        scu.release()


def test_classes_and_syntaxes_that_nobody_knows_yet_are_taken_raw(shared: Receivers) -> None:
    sop_class, syntax = "1.2.840.10008.5.1.4.1.1.999.9", "1.2.840.10008.1.2.4.999"
    with sender(shared, sop_class, syntax) as scu:
        assert scu.store(sop_class, "1.2.3.4.77", data_set(Picture(uid="1.2.3.4.77", sop_class=sop_class))) == SUCCESS


@needs_dcmtk
@pytest.mark.parametrize("size_bytes", [PDU_BYTES + 1, 0xFFFFFFFF])
def test_a_pdu_longer_than_agreed_ends_the_association_and_takes_no_memory(shared: Receivers, size_bytes: int) -> None:
    process = psutil.Process(shared.pids[0])
    with sender(shared) as scu:
        before_bytes = process.memory_info().rss
        scu.line.sendall(pdu(DATA, b"x" * 1000, size_bytes))
        assert scu.answer()[0] == ABORT
    assert process.memory_info().rss - before_bytes < 8 * 1024 * 1024
    assert dcmtk("echoscu", shared.port).returncode == 0


def test_the_first_pdu_is_bounded_too(shared: Receivers) -> None:
    with BareScu.at(shared.port) as scu:
        scu.line.sendall(pdu(ASSOCIATE, b"x" * 1000, 0xFFFFFFFF))
        assert scu.answer()[0] in (ABORT, 0)


def test_an_object_beyond_the_limit_ends_the_association_before_it_is_gathered(tmp_path: Path) -> None:
    with receiving(tmp_path / "images", 1, "FULL", "object_limit_bytes=1000000") as found, sender(found) as scu:
        scu.begin(CT, "1.2.3.4.1")
        with pytest.raises(ConnectionError):
            flood(scu)
        assert found.rows() == []


def test_a_sender_that_does_not_wait_is_not_read_while_a_message_is_worked_at(shared: Receivers) -> None:
    large = Picture(uid="1.2.11", rows=1024, columns=1024, pixels=bytes(2 * 1024 * 1024))
    with contextlib.closing(sqlite3.connect(shared.folder / "imaging.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with sender(shared) as scu:
            scu.line.settimeout(2)
            with pytest.raises(TimeoutError):
                insist(scu, large)
        other.execute("ROLLBACK")


def insist(scu: BareScu, picture: Picture) -> None:
    data = data_set(picture)
    for _ in range(30):
        scu.begin(CT, picture.uid)
        for at in range(0, len(data), 100_000):
            scu.fragment(data[at : at + 100_000], is_last=at + 100_000 >= len(data))


def flood(scu: BareScu) -> None:
    for _ in range(1000):
        scu.fragment(bytes(100_000), is_last=False)


def test_a_sender_that_stalls_within_a_pdu_is_cut_off(tmp_path: Path) -> None:
    with receiving(tmp_path / "images", 1, "FULL", "stall_s=1") as found, sender(found) as scu:
        scu.line.sendall(pdu(DATA, b"x" * 10, 1000))
        began_s = time.monotonic()
        assert scu.answer()[0] in (ABORT, 0)
        assert time.monotonic() - began_s < 10


def test_strangers_of_one_address_leave_room_for_the_modalities_of_others(tmp_path: Path) -> None:
    with (
        receiving(tmp_path / "images", 1, "FULL", "associations=4") as found,
        contextlib.ExitStack() as opened,
    ):
        for _ in range(10):
            stranger = opened.enter_context(BareScu.at(found.port))
            with contextlib.suppress(ConnectionError):
                stranger.line.sendall(pdu(ASSOCIATE, b"x" * 10, 1000))
        with BareScu.at(found.port, "127.0.0.2") as modality:
            assert modality.associate(CT, EXPLICIT) == ACCEPTED
            assert modality.store(CT, "1.2.3.4.1", data_set(Picture())) == SUCCESS
    log = (tmp_path / "images.log").read_text()
    assert "too-many-calls" in log


def test_a_disk_above_its_watermark_refuses_for_now(tmp_path: Path) -> None:
    with receiving(tmp_path / "images", 1, "FULL", "disk_limit_share=0.0001") as found:
        assert send(found, Picture()) == OUT_OF_RESOURCES
        assert found.files() == []


def test_a_catalogue_that_cannot_be_written_gives_no_success(shared: Receivers) -> None:
    picture = Picture(uid="1.2.8")
    with contextlib.closing(sqlite3.connect(shared.folder / "imaging.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert send(shared, picture) == OUT_OF_RESOURCES
        other.execute("ROLLBACK")
    assert send(shared, picture) == SUCCESS


def test_a_killed_receiver_is_replaced_and_what_was_acknowledged_is_there(receivers: Receivers) -> None:
    assert send(receivers, Picture()) == SUCCESS
    os.kill(receivers.pids[0], signal.SIGKILL)
    # The port stays open: who calls now waits for the next receiver.
    assert send(receivers, Picture(uid="1.2.3.4.2")) == SUCCESS
    assert [row["sop_instance_uid"] for row in receivers.rows()] == ["1.2.3.4.1", "1.2.3.4.2"]


def test_receivers_end_with_the_node_that_started_them(tmp_path: Path) -> None:
    with receiving(tmp_path / "images", 2) as found:
        children = [psutil.Process(pid) for pid in found.pids]
        found.process.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []


def test_several_receivers_at_once_store_each_object_once(tmp_path: Path) -> None:
    pictures = [Picture(uid=f"1.2.3.4.{number % 20}", number=number % 20) for number in range(60)]
    with receiving(tmp_path / "images", 2) as found, ThreadPoolExecutor(6) as senders:
        statuses = list(senders.map(lambda picture: send(found, picture), pictures))
        assert set(statuses) == {SUCCESS}
        rows = found.rows()
        assert len(rows) == len({row["sop_instance_uid"] for row in rows}) == 20
        assert len(found.files()) == 20


def test_as_many_associations_as_are_allowed_fit_into_the_memory_of_one_receiver(tmp_path: Path) -> None:
    with (
        receiving(tmp_path / "images", 1, "FULL", "object_limit_bytes=1000000") as found,
        contextlib.ExitStack() as opened,
        ThreadPoolExecutor(24) as senders,
    ):
        all_open = [opened.enter_context(sender(found)) for _ in range(24)]
        numbered = list(enumerate(all_open))
        sent = senders.map(
            lambda one: one[1].store(CT, f"1.2.{one[0]}", data_set(Picture(uid=f"1.2.{one[0]}"))), numbered
        )
        assert list(sent) == [SUCCESS] * 24
        with BareScu.at(found.port) as one_more:
            assert one_more.associate(CT, EXPLICIT) == REJECTED


def test_a_receiver_is_bounded_in_what_it_may_take(shared: Receivers) -> None:
    process = psutil.Process(shared.pids[0])
    soft, hard = process.rlimit(psutil.RLIMIT_AS)
    assert 0 < soft == hard < 2 * 1024**3
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert process.rlimit(psutil.RLIMIT_FSIZE)[0] < 128 * 1024**2


def test_nothing_of_what_was_sent_is_in_the_log(tmp_path: Path) -> None:
    with receiving(tmp_path / "images") as found:
        send(found, Picture(patient="SECRET-7"))
        for uid in ("9.8.7.6", "SECRET-7" * 20):
            with sender(found) as scu:
                scu.store(CT, uid, data_set(Picture(patient="SECRET-7")))
    log = (tmp_path / "images.log").read_text()
    assert "imaging-refused" in log
    assert "SECRET" not in log
    assert "9.8.7.6" not in log
    assert "Traceback" not in log

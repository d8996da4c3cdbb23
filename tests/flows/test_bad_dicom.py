"""Bad images against a running region: hub, broker and a node whose receivers take DICOM in.

The table with what is expected is docs/bad-input.md; a test of the architecture holds both together.  After each row
the same receivers take a sound image, and a monitor's measurement is acknowledged.
"""

import contextlib
import re
import socket
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import httpx
import pytest

from edge_node.imaging import part10
from tests.fakes.dicom import (
    ABORT,
    ACCEPTED,
    CT,
    DATA,
    DEFLATED,
    EXPLICIT,
    REJECTED,
    BareScu,
    Picture,
    data_set,
    nested,
    pdu,
)
from tests.fakes.ports import free_port
from tests.flows.test_bad_input import HR, ask, message, stuck
from tests.region.region import Clinic, Region, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
NODE, SITE = "edge-clinic", "baoshan-clinic"
PATIENT = "P-51018201-0093"
SUCCESS, COERCED, OUT_OF_RESOURCES, NOT_MATCHING, NOT_UNDERSTOOD = 0x0000, 0xB000, 0xA700, 0xA900, 0xC000
IMAGING = """
[imaging]
port = {port}
senders = ["CT-ROOM", "STORESCU"]
receivers = 2
object_limit_mib = 16
disk_limit_pct = {limit}
watched_folder = "from-disc"
complete_after_s = 1
preview_after_s = 0.2
"""
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """The region and its DICOM port."""

    region: Region
    port: int

    @property
    def images(self) -> Path:
        """Folder of the node's images."""
        (found,) = self.region.folder.rglob("images")
        return found

    def rows(self, uid: str) -> list[tuple[str, int, str]]:
        """Return hash, version and fault of what is stored under a UID."""
        with contextlib.closing(sqlite3.connect(self.images / "imaging.db")) as connection:
            asked = "SELECT sha256, version, fault FROM instance WHERE sop_instance_uid = ? ORDER BY version"
            return connection.execute(asked, (uid,)).fetchall()

    def sender(self, syntax: str = EXPLICIT) -> BareScu:
        """Return a sender with an association."""
        found = BareScu.at(self.port)
        assert found.associate(CT, syntax) == ACCEPTED
        return found

    def is_well(self) -> None:
        """Hold the node to it that images and measurements are taken as ever."""
        picture = Picture(uid=f"1.2.99.{next(_numbers)}", study="1.2.99", patient=PATIENT)
        with self.sender() as scu:
            assert scu.store(CT, picture.uid, data_set(picture)) == SUCCESS
            scu.release()
        with socket.create_connection(("127.0.0.1", self.region.ports[f"{NODE}.hl7"]), 5) as line:
            assert ask(line, message({HR: "72"})) == "AA"

    def refused(self, reason: str) -> float:
        """Return how often something was refused for a reason."""
        text = httpx.get(f"{self.region.page_url(NODE)}/metrics").text
        found = re.search(rf'^edge_imaging_refused_total{{reason="{reason}"}} (\S+)', text, re.MULTILINE)
        return float(found[1]) if found else 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    port = free_port()
    made = Region(tmp_path_factory.mktemp("region"), (Clinic(extra=IMAGING.format(port=port, limit=94)),))
    made.prepare()
    (made.folder / "from-disc").mkdir()
    try:
        made.start_hub()
        made.start_edge(NODE)
        made.until_ready(made.page_url(NODE))
        yield Place(made, port)
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.stop()


@pytest.fixture(scope="module")
def operator(place: Place) -> Iterator[httpx.Client]:
    with contextlib.closing(place.region.signed_in(place.region.hub_url, "operator")) as client:
        yield client


def test_row_08_an_association_that_calls_an_unknown_entity_is_rejected_with_the_reason(place: Place) -> None:
    with BareScu.at(place.port) as scu:
        assert scu.ask(CT, EXPLICIT, "NOBODY", "CT-ROOM") == (REJECTED, bytes((0, 1, 1, 7)))
    with BareScu.at(place.port) as scu:
        assert scu.ask(CT, EXPLICIT, "YUANZHEN", "STRANGER") == (REJECTED, bytes((0, 1, 1, 3)))
    until(lambda: place.refused("association-rejected") >= 2, 10, "both are counted")
    place.is_well()


def test_row_09_a_pdu_that_says_it_is_four_gigabytes_long_is_aborted(place: Place) -> None:
    with place.sender() as scu:
        scu.line.sendall(pdu(DATA, b"x" * 100, 0xFFFFFFFF))
        assert scu.answer()[0] == ABORT
    place.is_well()


def test_row_10_a_deflated_bomb_is_not_understood_and_the_association_goes_on(place: Place) -> None:
    picture = Picture(uid="1.2.10.1")
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(data_set(replace(picture, pixels=bytes(64 * 1024 * 1024)))) + packer.flush()
    assert len(bomb) * 500 < 64 * 1024 * 1024
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    sound = packer.compress(data_set(picture)) + packer.flush()
    with place.sender(DEFLATED) as scu:
        assert scu.store(CT, picture.uid, bomb) == NOT_UNDERSTOOD
        assert scu.store(CT, picture.uid, sound) == SUCCESS
    place.is_well()


@pytest.mark.parametrize(("uid", "status"), [("../../etc/x", NOT_MATCHING), ("1" * 200, -1)])
def test_row_11_a_path_or_a_giant_as_a_uid_is_refused(place: Place, uid: str, status: int) -> None:
    with place.sender() as scu:
        assert scu.store(CT, uid, data_set(Picture(uid=uid))) == status
    assert place.rows(uid) == []
    names = [path.name for path in place.images.rglob("*") if path.is_file() and "imaging.db" not in path.name]
    assert all(re.fullmatch(r"[0-9a-f]{64}", name) for name in names)
    place.is_well()


@pytest.mark.parametrize(
    ("number", "cut_bytes", "rows", "fault"), [(1, 10, 4, "cut"), (2, 0, 400, "pixels-do-not-fit")]
)
def test_row_12_pixels_that_are_cut_or_do_not_fit_are_kept_as_they_came_and_flagged(
    place: Place, number: int, cut_bytes: int, rows: int, fault: str
) -> None:
    picture = Picture(uid=f"1.2.12.{number}", study="1.2.12", rows=rows)
    data = data_set(picture)
    data = data[: len(data) - cut_bytes]
    with place.sender() as scu:
        assert scu.store(CT, picture.uid, data) == SUCCESS
    ((sha256, version, found),) = place.rows(picture.uid)
    assert (version, found) == (1, fault)
    assert part10.parted((place.images / "objects" / sha256[:2] / sha256).read_bytes()).data == data
    place.is_well()


@pytest.mark.parametrize("is_open", [True, False])
def test_row_13_sequences_ten_thousand_deep_are_not_understood(place: Place, is_open: bool) -> None:
    # With told lengths each level repeats the length of all below: a thousand fill the sixteen bits of most readers.
    deep = nested(10_000 if is_open else 1_000, is_open=is_open)
    with place.sender() as scu:
        assert scu.store(CT, "1.2.13.1", data_set(Picture(uid="1.2.13.1", before=deep))) == NOT_UNDERSTOOD
        assert scu.store(CT, "1.2.13.2", data_set(Picture(uid="1.2.13.2", study="1.2.13"))) == SUCCESS
    assert place.rows("1.2.13.1") == []
    place.is_well()


@pytest.mark.parametrize("program", [b"MZ\x90\0", b"\x7fELF"], ids=["Windows", "Linux"])
def test_row_14_a_preamble_with_the_head_of_a_program_is_zeroed(place: Place, program: bytes) -> None:
    uid = f"1.2.14.{program[1]}"
    data = data_set(Picture(uid=uid, study="1.2.14"))
    file = program.ljust(128, b"\xcc") + part10.head(CT, uid, EXPLICIT)[128:] + data
    (place.region.folder / "from-disc" / uid).write_bytes(file)
    ((sha256, _, _),) = until(lambda: place.rows(uid), 20, "the file is taken in")
    stored = (place.images / "objects" / sha256[:2] / sha256).read_bytes()
    assert stored[:132] == bytes(128) + b"DICM"
    assert stored.endswith(data)
    until(lambda: not (place.region.folder / "from-disc" / uid).exists(), 10, "the file is gone from the folder")
    place.is_well()


def test_row_16_another_content_under_a_known_uid_is_kept_beside_the_first_and_told(
    place: Place, operator: httpx.Client
) -> None:
    first = Picture(uid="1.2.16.1", study="1.2.16")
    other = replace(first, pixels=bytes(32))
    with place.sender() as scu:
        assert scu.store(CT, first.uid, data_set(first)) == SUCCESS
        assert scu.store(CT, first.uid, data_set(other)) == COERCED
    kept = [(place.images / "objects" / sha[:2] / sha).read_bytes() for sha, _, _ in place.rows(first.uid)]
    assert [part10.parted(file).data for file in kept] == [data_set(first), data_set(other)]
    assert "ask at the sending device" in stuck(operator, SITE, "images-differ")
    place.is_well()


def test_row_15_a_disk_above_its_watermark_refuses_for_now_and_the_next_try_succeeds(place: Place) -> None:
    config = place.region.folder / f"{NODE}.toml"
    text = config.read_text()
    picture = Picture(uid="1.2.15.1", study="1.2.15")
    try:
        for limit, status in (("0.01", OUT_OF_RESOURCES), ("94", SUCCESS)):
            config.write_text(text.replace("disk_limit_pct = 94", f"disk_limit_pct = {limit}"))
            place.region.kill(NODE)
            place.region.start_edge(NODE)
            place.region.until_ready(place.region.page_url(NODE))
            with place.sender() as scu:
                assert scu.store(CT, picture.uid, data_set(picture)) == status
    finally:
        config.write_text(text)
    assert [version for _, version, _ in place.rows(picture.uid)] == [1]
    place.is_well()

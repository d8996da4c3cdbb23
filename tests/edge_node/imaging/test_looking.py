"""A file that the node names goes the way of an object that came by C-STORE, and is answered with what it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_node.imaging import part10
from edge_node.imaging.intake import Arrived, Intake, OnDisk
from edge_node.imaging.judged import COERCED, NOT_MATCHING, NOT_UNDERSTOOD, OUT_OF_RESOURCES, SUCCESS, Verdict
from edge_node.imaging.looking import Looking
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Look, Taken
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set, nested

DATA = data_set(Picture())
FILE = part10.head(CT, "1.2.3.4.1", EXPLICIT) + DATA
LIMIT_BYTES = 10_000


@dataclass(slots=True)
class Bench:
    """Somebody who takes files, and what was told of them."""

    looking: Looking
    objects: Objects
    path: Path
    arrived: list[Arrived]
    refused: list[str]

    def took(self, content: bytes, study_uid: str = "") -> Taken:
        self.path.write_bytes(content)
        return self.looking.taken(Look(7, str(self.path), "SCANNER", study_uid))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Bench]:
    def made(verdict: Verdict = Verdict.NEW, disk_limit_share: float = 1) -> Bench:
        arrived, refused = list[Arrived](), list[str]()

        def commit(each: Arrived, on_disk: OnDisk) -> Verdict:
            assert intake.objects.path(on_disk.sha256).is_file(), "the file is there before its row"
            arrived.append(each)
            return verdict

        intake = Intake(Objects(tmp_path / "images"), LIMIT_BYTES, disk_limit_share, commit, refused.append)
        looking = Looking(intake, lambda: Look(0, "", ""), lambda _line: None)
        return Bench(looking, intake.objects, tmp_path / "half-way", arrived, refused)

    return made


def test_a_file_is_stored_as_one_that_came_by_c_store_and_said_what_it_is(make: Callable[..., Bench]) -> None:
    bench = make()
    assert bench.took(b"MZ" + FILE[2:]) == Taken(7, SUCCESS, CT, "1.2.3", "1.2.3.4", "1.2.3.4.1")
    assert [path.read_bytes() for path in bench.objects.whole()] == [FILE]
    assert [(each.sender, each.data) for each in bench.arrived] == [("SCANNER", DATA)]
    assert bench.path.exists(), "whoever brought it deletes it"


@pytest.mark.parametrize(
    ("verdict", "status"),
    [(Verdict.KNOWN, SUCCESS), (Verdict.CONFLICT, COERCED), (Verdict.FAILED, OUT_OF_RESOURCES)],
)
def test_what_is_answered_is_what_the_catalogue_says(make: Callable[..., Bench], verdict: Verdict, status: int) -> None:
    assert make(verdict).took(FILE).status == status


def test_a_file_of_another_study_is_refused_before_anything_is_stored(make: Callable[..., Bench]) -> None:
    bench = make()
    assert bench.took(FILE, "1.2.4") == Taken(7, NOT_MATCHING, CT, "1.2.3", "1.2.3.4", "1.2.3.4.1")
    assert list(bench.objects.whole()) == []
    assert bench.refused == ["other-study"]
    assert bench.took(FILE, "1.2.3").status == SUCCESS


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", NOT_UNDERSTOOD),
        (b"no image", NOT_UNDERSTOOD),
        (FILE + bytes(LIMIT_BYTES), NOT_UNDERSTOOD),
        (part10.head(CT, "1.2.3.4.1", EXPLICIT) + nested(5000, is_open=True), NOT_UNDERSTOOD),
        (FILE.replace(b"1.2.3.4.1\0", b"../../e/x\0"), NOT_MATCHING),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(make: Callable[..., Bench], content: bytes, status: int) -> None:
    bench = make()
    assert bench.took(content) == Taken(7, status)
    assert len(bench.refused) == 1
    assert list(bench.objects.whole()) == []


def test_a_full_disk_a_file_that_is_gone_and_a_link_are_for_another_time(make: Callable[..., Bench]) -> None:
    assert make(disk_limit_share=0.0001).took(FILE).status == OUT_OF_RESOURCES
    bench = make()
    assert bench.looking.taken(Look(7, str(bench.path) + "-gone", "SCANNER")).status == OUT_OF_RESOURCES
    bench.path.unlink()
    bench.path.symlink_to("/etc/passwd")
    assert bench.looking.taken(Look(7, str(bench.path), "SCANNER")).status == OUT_OF_RESOURCES

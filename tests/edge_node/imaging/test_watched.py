"""The watched folder: what has settled is stored and gone, what is refused is set aside, links lead nowhere."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_node.imaging import part10
from edge_node.imaging.intake import Arrived, Intake, OnDisk
from edge_node.imaging.judged import Verdict
from edge_node.imaging.objects import Objects
from edge_node.imaging.watched import FIRST_AGAIN_S, MOST_FILES, REFUSED, SENDER, SETTLED_S, UNSURE_S, WatchedFolder
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set

DATA = data_set(Picture())
FILE = part10.head(CT, "1.2.3.4.1", EXPLICIT) + DATA
PIXELS_BYTES = 12 + 32
WINDOWS_PROGRAM = b"MZ\x90\0" + bytes(124)


@dataclass(slots=True)
class Bench:
    """A folder with a clock that is moved by hand."""

    folder: Path
    watched: WatchedFolder
    objects: Objects
    now: list[float]
    refused: list[str]
    verdict: Verdict = Verdict.NEW
    arrived: list[Arrived] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None
    """What happens between file and row."""

    def settle(self, wait_s: float = SETTLED_S) -> int:
        """Look, let what is there settle, and look again."""
        before = self.watched.look()
        self.now[0] += wait_s
        return before + self.watched.look()

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir())


@pytest.fixture
def make(tmp_path: Path) -> Callable[[float], Bench]:
    def made(disk_limit_share: float) -> Bench:
        folder, now, refused = tmp_path / "in", [0.0], list[str]()
        folder.mkdir()
        bench: list[Bench] = []

        def commit(arrived: Arrived, _on_disk: OnDisk) -> Verdict:
            bench[0].arrived.append(arrived)
            bench[0].meanwhile()
            return bench[0].verdict

        intake = Intake(Objects(tmp_path / "images"), 10_000, disk_limit_share, commit, refused.append)
        bench.append(Bench(folder, WatchedFolder(folder, intake, lambda: now[0]), intake.objects, now, refused))
        return bench[0]

    return made


def test_a_file_is_stored_once_it_has_settled_and_is_gone(make: Callable[[float], Bench]) -> None:
    bench = make(1)
    (bench.folder / "disc" / "a").mkdir(parents=True)
    (bench.folder / "disc" / "a" / "IM0001").write_bytes(FILE)
    assert bench.watched.look() == 0
    bench.now[0] += SETTLED_S
    assert bench.watched.look() == 1
    assert bench.left() == []
    (arrived,) = bench.arrived
    assert (arrived.sender, arrived.data) == (SENDER, DATA)
    assert [path.read_bytes() for path in bench.objects.whole()] == [FILE]


def test_a_file_that_grows_is_left_until_it_is_whole(make: Callable[[float], Bench]) -> None:
    bench = make(1)
    path = bench.folder / "IM0001"
    path.write_bytes(FILE[:-10])
    bench.watched.look()
    bench.now[0] += SETTLED_S
    path.write_bytes(FILE)
    assert bench.watched.look() == 0
    bench.now[0] += SETTLED_S
    assert bench.watched.look() == 1
    assert bench.arrived[0].data == DATA


def test_the_head_of_a_program_in_the_preamble_is_not_kept(make: Callable[[float], Bench]) -> None:
    bench = make(1)
    (bench.folder / "IM0001").write_bytes(WINDOWS_PROGRAM + FILE[128:])
    assert bench.settle() == 1
    assert [path.read_bytes()[:128] for path in bench.objects.whole()] == [bytes(128)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no images here",
        FILE.replace(b"1.2.3.4.1\0", b"../../e/x\0"),
        FILE.replace(EXPLICIT.encode(), EXPLICIT.encode()[:-1] + b"\xe9"),
        part10.head(CT, "1.2.3.4.1", "1." + "2" * 300) + DATA,
        FILE + bytes(10_000),
    ],
)
def test_what_is_no_object_is_set_aside(make: Callable[[float], Bench], content: bytes) -> None:
    bench = make(1)
    (bench.folder / "IM0001").write_bytes(content)
    assert bench.settle(UNSURE_S) == 0
    assert bench.left() == [f"{REFUSED}/IM0001"]
    assert len(bench.refused) == 1
    (bench.folder / "IM0001").write_bytes(content)
    assert bench.settle(UNSURE_S) == 0
    assert len(bench.left()) == 2, "nothing that was set aside is written over"


def test_what_cannot_be_stored_now_stays_for_the_next_look(make: Callable[[float], Bench]) -> None:
    bench = make(1)
    (bench.folder / "IM0001").write_bytes(FILE)
    bench.verdict = Verdict.FAILED
    assert bench.settle() == 0
    assert bench.left() == ["IM0001"]
    bench.verdict = Verdict.CONFLICT
    assert bench.settle() == 1
    assert bench.left() == []


def test_a_full_disk_leaves_the_files_where_they_are(make: Callable[[float], Bench]) -> None:
    bench = make(0.0001)
    (bench.folder / "IM0001").write_bytes(FILE)
    assert bench.settle() == 0
    assert bench.left() == ["IM0001"]


def test_a_link_leads_nowhere(make: Callable[[float], Bench], tmp_path: Path) -> None:
    bench = make(1)
    (tmp_path / "elsewhere").write_bytes(FILE)
    (bench.folder / "link").symlink_to(tmp_path / "elsewhere")
    assert bench.settle() == 0
    assert (tmp_path / "elsewhere").read_bytes() == FILE
    assert bench.arrived == []


def test_a_folder_that_is_not_there_is_looked_for_again(tmp_path: Path, make: Callable[[float], Bench]) -> None:
    bench = make(1)
    bench.folder.rmdir()
    assert bench.settle() == 0


def test_what_grows_while_it_is_stored_is_not_deleted_with_what_came_since(make: Callable[[float], Bench]) -> None:
    bench = make(1)
    path = bench.folder / "IM0001"
    path.write_bytes(FILE + bytes(8))
    bench.meanwhile = lambda: path.write_bytes(FILE)
    assert bench.settle() == 1
    assert bench.left() == ["IM0001"]
    bench.meanwhile = lambda: None
    assert bench.settle() == 1
    assert bench.left() == []
    assert FILE in [each.read_bytes() for each in bench.objects.whole()]


@pytest.mark.parametrize("size_bytes", [0, 100, 200, len(FILE) - PIXELS_BYTES, len(FILE) - 10])
def test_what_reads_as_cut_is_left_to_a_copier_that_pauses(make: Callable[[float], Bench], size_bytes: int) -> None:
    bench = make(1)
    with (bench.folder / "IM0001").open("wb") as file:
        file.write(FILE[:size_bytes])
        file.flush()
        assert bench.settle() == 0
        assert bench.settle(UNSURE_S - 2 * SETTLED_S) == 0
        assert bench.left() == ["IM0001"]
        file.write(FILE[size_bytes:])
    assert bench.settle() == 1
    assert [path.read_bytes() for path in bench.objects.whole()] == [FILE]


def test_what_stays_cut_is_stored_after_a_minute(
    make: Callable[[float], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, reads, parted = make(1), list[int](), part10.parted

    def counted(file: bytes) -> part10.Parted:
        reads.append(len(file))
        return parted(file)

    monkeypatch.setattr(part10, "parted", counted)
    (bench.folder / "IM0001").write_bytes(FILE[:-10])
    for _ in range(round(UNSURE_S / SETTLED_S) - 1):
        assert bench.settle() == 0
    assert len(reads) == 1, "it is not read at each look"
    assert bench.settle() == 1
    assert bench.left() == []


def test_a_file_that_cannot_be_deleted_is_tried_again_later_and_holds_up_no_other(
    make: Callable[[float], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, unlink = make(1), Path.unlink

    def fails(path: Path, missing_ok: bool = False) -> None:
        if path.name == "0":
            raise PermissionError(13, "not permitted")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", fails)
    for number in range(3):
        uid = f"1.2.{number}"
        (bench.folder / str(number)).write_bytes(part10.head(CT, uid, EXPLICIT) + data_set(Picture(uid=uid)))
    assert bench.settle() == 2
    assert bench.left() == ["0"]
    assert bench.refused == ["file-failed"]
    bench.settle()
    assert len(bench.arrived) == 3, "it is not stored again at every look"
    monkeypatch.undo()
    assert bench.settle(FIRST_AGAIN_S) == 1
    assert bench.left() == []


def test_a_file_that_is_gone_between_two_steps_ends_nothing(make: Callable[[float], Bench]) -> None:
    bench = make(1)
    for number in range(2):
        (bench.folder / str(number)).write_bytes(FILE)
    bench.watched.look()
    bench.meanwhile = lambda: (bench.folder / "1").unlink(missing_ok=True)
    bench.now[0] += SETTLED_S
    assert bench.watched.look() == 1
    assert bench.refused == []


def test_links_do_not_use_up_the_room_of_files(make: Callable[[float], Bench]) -> None:
    bench = make(1)
    for number in range(MOST_FILES):
        (bench.folder / f"0{number:04}").symlink_to("/nowhere")
    (bench.folder / "IM0001").write_bytes(FILE)
    assert bench.settle() == 1

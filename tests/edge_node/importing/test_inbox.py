"""A folder for imports: nothing is taken before it is whole, and word is left of what became of it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_node.importing.inbox import AGAIN_S, DONE, MISSING_S, REFUSED, SETTLED_S, Inbox


@dataclass(slots=True)
class Bench:
    """A folder with a clock that is moved by hand."""

    inbox: Inbox
    now: list[float]

    def due(self, wait_s: float = 0) -> list[str]:
        self.now[0] += wait_s
        return [job.path.name for job in self.inbox.due()]

    def left(self) -> list[str]:
        folder = self.inbox.folder
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    now = [0.0]
    return Bench(Inbox(tmp_path, clock_s=lambda: now[0]), now)


def lay(bench: Bench, name: str, content: bytes = b"file") -> None:
    (bench.inbox.folder / name).write_bytes(content)


def test_a_file_is_due_once_it_and_what_is_said_of_it_have_settled(bench: Bench) -> None:
    lay(bench, "v.nii.gz")
    assert bench.due() == bench.due(SETTLED_S) == []
    lay(bench, "v.nii.gz.toml")
    assert bench.due() == []
    lay(bench, "v.nii.gz", b"it grows")
    assert bench.due(SETTLED_S) == []
    assert bench.due(SETTLED_S) == ["v.nii.gz"]


def test_a_file_may_come_after_what_is_said_of_it_and_one_that_never_comes_is_due_too(bench: Bench) -> None:
    lay(bench, "v.nii.toml")
    bench.due()
    assert bench.due(MISSING_S - 1) == []
    lay(bench, "v.nii")
    assert bench.due(1) == []
    assert bench.due(SETTLED_S) == ["v.nii"]
    (bench.inbox.folder / "v.nii").unlink()
    assert bench.due() == []
    assert bench.due(MISSING_S) == ["v.nii"]


def test_a_link_says_nothing(bench: Bench) -> None:
    lay(bench, "elsewhere")
    (bench.inbox.folder / "v.nii.toml").symlink_to("elsewhere")
    assert bench.due() == bench.due(MISSING_S) == []


def test_what_is_done_and_what_is_refused_is_moved_aside_with_word_of_it(bench: Bench) -> None:
    for name in ("v.mhd", "v.raw", "v.mhd.toml", "w.pdf", "w.pdf.toml"):
        lay(bench, name)
    bench.due()
    bench.now[0] += SETTLED_S
    volume, document = bench.inbox.due()
    bench.inbox.finish(volume, ("v.mhd", "v.raw"), DONE, "已导入 / imported")
    bench.inbox.finish(document, ("w.pdf",), REFUSED, "坏了 / broken")
    assert bench.left() == [
        "done/v.mhd", "done/v.mhd.toml", "done/v.mhd.txt", "done/v.raw", "refused/w.pdf", "refused/w.pdf.toml",
        "refused/w.pdf.txt",
    ]  # fmt: skip
    assert (bench.inbox.folder / "refused" / "w.pdf.txt").read_text() == "坏了 / broken\n"
    assert bench.due(SETTLED_S) == bench.due(SETTLED_S) == []


def test_nothing_that_was_moved_aside_is_written_over(bench: Bench) -> None:
    for content in (b"one", b"two"):
        lay(bench, "w.pdf", content)
        lay(bench, "w.pdf.toml")
        bench.due()
        bench.now[0] += SETTLED_S
        (job,) = bench.inbox.due()
        bench.inbox.finish(job, ("w.pdf",), REFUSED, "broken")
    found = [path.read_bytes() for path in (bench.inbox.folder / REFUSED).glob("*w.pdf")]
    assert sorted(found) == [b"one", b"two"]


def test_what_cannot_be_done_now_is_due_again_later(bench: Bench) -> None:
    lay(bench, "w.pdf")
    lay(bench, "w.pdf.toml")
    bench.due()
    bench.now[0] += SETTLED_S
    (job,) = bench.inbox.due()
    bench.inbox.later(job)
    assert bench.due(AGAIN_S - 1) == []
    assert bench.due(1) == ["w.pdf"]


def test_of_the_nodes_own_jobs_nothing_is_kept_but_word_until_the_next_start(tmp_path: Path) -> None:
    job_folder = tmp_path / "1234"
    job_folder.mkdir()
    inbox = Inbox(tmp_path, settled_s=0, keeps=False)
    for name in ("file.mhd", "v.raw", "file.mhd.toml"):
        (job_folder / name).write_bytes(b"x")
    (job,) = inbox.due()
    inbox.finish(job, ("file.mhd", "v.raw"), DONE, "imported")
    assert [path.name for path in job_folder.rglob("*") if path.is_file()] == ["file.mhd.txt"]
    (tmp_path / "waiting").mkdir()
    inbox.sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["waiting"]

"""Readers and writers as processes: how they are started, and what is believed of them when they fail."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

import pytest

from edge_node.findings import reader, writing
from edge_node.findings.documents import ModelSaid, Write
from edge_node.findings.pipe import Ask, Fits, Found, Line, pack
from edge_node.findings.reasons import NotRead, Reason
from edge_node.imaging.objects import Objects
from edge_node.inference import launch
from edge_node.inference.confinement import Unconfined
from edge_node.inference.runtime import Inference
from tests.fakes import swi_dicom

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
MODEL = ModelSaid("cmb", "0.1.0", "a" * 64, "c" * 64, "phantom", 0.23, "", ("限制", "limits"), [("甲", "A")], False)


def write_of(folder: Path, change: swi_dicom.Change = lambda image: image) -> Write:
    """Return that one bleed was found in a head."""
    files = swi_dicom.written(folder / "mr", change=change)
    half = len(files) // 2
    found = Found("cerebral-microbleed", (1.5, -2.25, 3.0), 3.0, 0.84, files[13].stem, "lobar")
    Objects(folder / "images")
    return Write(
        str(folder / "images"), [str(each) for each in files[:half]], [str(each) for each in files[half:]],
        (swi_dicom.STUDY, "a" * 64, "b" * 64), MODEL, [found], ("混合", "Mixed"), "", "2026-11-27T03:50:00+08:00",
        "edge-clinic", 2048,
    )  # fmt: skip


def cut_short(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-4000])


async def test_the_report_stands_although_what_is_made_behind_it_cannot_be(tmp_path: Path) -> None:
    write = write_of(tmp_path)
    # The picture needs the pixels, the report does not.
    cut_short(Path(write.magnitude[13]))
    made = await writing.written(write, 50)
    assert [each.content.modality for each in made] == ["SR"]


async def test_without_a_report_a_writer_has_failed_whatever_it_says_of_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = write_of(tmp_path)
    no_report = replace(write, magnitude=[str(tmp_path / "gone"), *write.magnitude])
    assert await refused_writing(no_report) is Reason.WRITER_FAILED
    monkeypatch.setattr(writing, "PROGRAM", ("/bin/true",))
    assert await refused_writing(write) is Reason.WRITER_FAILED


class NobodyAsks:
    """The models of a node, none of which may be lent."""

    def model(self, *_: object) -> NoReturn:
        raise AssertionError("a model was lent to a reader that failed before")


async def refused_reading() -> Reason:
    """Return why an image is not read; no model may be lent for it."""
    with pytest.raises(NotRead) as refusal:
        await reader.read(Ask({}, [("/images/a", "1.2.3")], 512), cast("Inference", NobodyAsks()), "cmb", 50)
    return refusal.value.reason


async def refused_writing(write: Write) -> Reason:
    with pytest.raises(NotRead) as refusal:
        await writing.written(write, 50)
    return refusal.value.reason


def saying(line: Line) -> tuple[str, ...]:
    """Return a program that hears one line and says another."""
    return sys.executable, "-c", f"import sys; sys.stdin.buffer.readline(); sys.stdout.buffer.write({pack(line)!r})"


@pytest.mark.parametrize("fits", [Fits(["1.2.3", "9.9"], []), Fits(["1.2.3"], ["9.9"])])
async def test_a_reader_that_names_images_which_it_was_not_given_has_failed(
    monkeypatch: pytest.MonkeyPatch, fits: Fits
) -> None:
    monkeypatch.setattr(reader, "PROGRAM", saying(fits))
    assert await refused_reading() is Reason.READER_FAILED


async def test_a_reader_or_writer_that_cannot_be_started_is_a_failure_of_this_study_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PROGRAM", (str(tmp_path / "nothing"),))
    monkeypatch.setattr(writing, "PROGRAM", (str(tmp_path / "nothing"),))
    assert await refused_reading() is Reason.READER_FAILED
    assert await refused_writing(write_of(tmp_path)) is Reason.WRITER_FAILED


async def test_neither_reader_nor_writer_starts_where_the_node_cannot_close_its_memory_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses() -> NoReturn:
        raise Unconfined("the kernel refuses")

    monkeypatch.setattr(launch, "shield", refuses)
    for module in (reader, writing):
        monkeypatch.setattr(module, "PROGRAM", ("/bin/touch", str(tmp_path / "started")))
    assert await refused_reading() is Reason.READER_FAILED
    assert await refused_writing(write_of(tmp_path)) is Reason.WRITER_FAILED
    assert "started" not in [path.name for path in tmp_path.iterdir()]  # noqa: ASYNC240


def test_the_memory_of_the_node_is_closed_before_the_first_reader_runs() -> None:
    program = textwrap.dedent("""
        import asyncio, ctypes
        from edge_node.inference.launch import launched

        def is_open():
            return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)

        async def look():
            before = is_open()
            async with launched(("/bin/true",), 1024):
                print(before, is_open())

        asyncio.run(look())
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]

"""`edge-node send` and `edge-node transfers`, with the node stopped; and what people are told of a file."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from telemed.errors import Code
from telemed.transfer import CHUNK_BYTES, FileKind

from edge_node.__main__ import main
from edge_node.uplink.transfer import words
from edge_node.uplink.transfer.parcel import Labels, Parcel
from edge_node.uplink.transfer.releases import Fetched, Release
from edge_node.uplink.transfer.states import State
from tests.edge_node.test_command_line import GOOD, write
from tests.fakes.transfer_node import write_file

ROOT = Path(__file__).resolve().parents[4]
SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = "2026-11-26 12:00"


def run(folder: Path, *words_: str) -> int:
    return main([words_[0], "--config", str(folder / "node.toml"), *words_[1:]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, GOOD)
    return tmp_path


def test_a_file_is_queued_listed_and_cancelled_while_the_node_is_stopped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_file(folder / "ct.dcm", 3_000_000)
    assert run(folder, "send", str(path), "--kind", "study", "--group", "s1", "--preview", "--priority", "1") == 0
    parcel_id = capsys.readouterr().out.removeprefix("queued: ").strip()
    path.unlink()
    assert run(folder, "transfers") == 0
    assert capsys.readouterr().out == f"{parcel_id}  study 'ct.dcm', 2.9 MiB, preview: waiting, 0 % safe at the hub\n"
    assert run(folder, "transfers", "--cancel", parcel_id) == 0
    assert run(folder, "transfers", "--cancel", parcel_id) == 1
    assert "no such transfer" in capsys.readouterr().err
    run(folder, "transfers")
    assert "cancelled" in capsys.readouterr().out


def test_an_empty_queue_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "transfers") == 0
    assert capsys.readouterr().out == "nothing was queued\n"


@pytest.mark.parametrize(
    ("name", "more", "hint"),
    [
        ("none", (), "is not there"),
        ("empty", (), "is empty"),
        ("ct", ("--priority", "10"), "priority: 0 to 9"),
        ("ct", ("--name", ""), ""),
        ("ct", ("--name", "a\nb"), "printable"),
    ],
)
def test_what_cannot_be_sent_is_said_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, more: tuple[str, ...], hint: str
) -> None:
    (folder / "empty").touch()
    write_file(folder / "ct", 10)
    code = run(folder, "send", str(folder / name), "--kind", "study", *more)
    told = capsys.readouterr()
    assert (code, "Traceback" in told.err) == (1 if hint else 0, False)
    assert hint in told.err


def test_a_bundle_cannot_be_sent_up(folder: Path) -> None:
    with pytest.raises(SystemExit):
        run(folder, "send", "x", "--kind", "bundle")


PARCEL = Parcel("p1", "ab" * 32, 4 * CHUNK_BYTES, Labels(FileKind.EXAM, "步态"), 1, durable_bytes=CHUNK_BYTES)


@pytest.mark.parametrize(
    ("parcel", "line"),
    [
        (replace(PARCEL, state=State.SENDING), "exam '步态', 256 KiB: sending, 25 % safe at the hub"),
        (
            replace(PARCEL, state=State.PAUSED, code=Code.BUDGET_USED, resume_ns=1_795_665_600 * 10**9),
            f"exam '步态', 256 KiB: paused, 25 % safe at the hub; {words.REASONS[Code.BUDGET_USED][1]}; goes on {NOON}",
        ),
        (
            replace(PARCEL, state=State.REFUSED, code="of-a-newer-hub"),
            "exam '步态', 256 KiB: refused, 25 % safe at the hub; of-a-newer-hub",
        ),
        (replace(PARCEL, state=State.DONE), "exam '步态', 256 KiB: safe at the hub"),
    ],
)
def test_a_file_is_told_in_plain_words(parcel: Parcel, line: str) -> None:
    assert words.line(parcel, SHANGHAI) == f"p1  {line}"


def test_a_bundle_is_told_in_plain_words() -> None:
    release = Release(
        "ab" * 32, 2 * CHUNK_BYTES, "", FileKind.BUNDLE, "m", Fetched.PAUSED, Code.STORE_NEARLY_FULL, b"", b"\1"
    )
    assert words.release_line(release).endswith(
        "bundle 'm', 128 KiB: paused, 50 % here; a disk is nearly full; goes on by itself"
    )
    here = replace(release, state=Fetched.HERE, code="")
    assert words.release_line(here).endswith("bundle 'm', 128 KiB: here, 100 % here")


def test_every_state_and_reason_has_words_in_both_languages() -> None:
    assert set(words.STATES) >= set(State) | set(Fetched)
    assert all(zh and en and zh != en for zh, en in [*words.STATES.values(), *words.REASONS.values()])


@pytest.fixture(scope="module")
def strace() -> str:
    found = shutil.which("strace")
    if found is None or subprocess.run([found, "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace is not installed or may not trace here")
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_queued_is_said_after_content_name_and_row_are_synced(folder: Path, strace: str) -> None:
    path = write_file(folder / "ct", 100_000)
    calls = "trace=fsync,fdatasync,pwrite64,rename,write"
    command = [strace, "-f", "-yy", "-s", "80", "--seccomp-bpf", "-o", str(folder / "trace"), "-e", calls]
    command += [sys.executable, "-m", "edge_node", "send", str(path), "--kind", "study"]
    command += ["--config", str(folder / "node.toml")]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    steps = unsynced_steps((folder / "trace").read_text(errors="replace"))
    assert steps == ["content", "content synced", "name", "name synced", "row", "row synced", "queued"]


def unsynced_steps(trace: str) -> list[str]:
    """The last of each kind of step, in the order in which they ended."""
    patterns = {
        "content": r"write\(\d+<[^>]*/spool/incoming/copy-",
        "content synced": r"fsync\(\d+<[^>]*/spool/incoming/copy-[^)]*\)\s+= 0",
        "name": r"rename\(.*/spool/up/",
        "name synced": r"fsync\(\d+<[^>]*/spool/up>\)\s+= 0",
        "row": r"pwrite64\(\d+<[^>]*/transfer\.db-wal>",
        "row synced": r"fdatasync\(\d+<[^>]*/transfer\.db-wal>\)\s+= 0",
        "queued": r'write\(1<.*"queued: ',
    }
    lines = [*trace.split('"queued: ', maxsplit=1)[0].splitlines(), 'write(1<x>, "queued: ']
    last = {
        step: max((number for number, line in enumerate(lines) if re.search(pattern, line)), default=-1)
        for step, pattern in patterns.items()
    }
    assert min(last.values()) >= 0, last
    return sorted(last, key=lambda step: last[step])

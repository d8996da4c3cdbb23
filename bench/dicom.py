"""How fast images are taken in, beside DCMTK's storescp and Orthanc, on the same slices in the same run.

`python -m bench.dicom`: CT slices of 512 x 512 with UIDs of their own, sent by DCMTK's storescu over one association
and over four.  The three take turns, so that whatever else the machine does falls on all.  Linux; DCMTK and Orthanc
from Debian; `../shared/data`.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.__main__ import circumstances
from edge_node.imaging import part10
from tests.conftest import SHARED_DATA
from tests.edge_node.imaging.conftest import receiving
from tests.fakes.dcmtk import program
from tests.fakes.ports import free_port
from tests.region.region import until

HERE = Path(__file__).resolve().parent
SLICE = SHARED_DATA / "dicom/wg04/CT1_UNC.dcm"
PDU_BYTES = "131072"
# Without these, delayed acknowledgements hold DCMTK and Orthanc at about 20 a second.
QUICK = {**os.environ, "TCP_NODELAY": "1", "TCP_BUFFER_LENGTH": PDU_BYTES}
OURS, DCMTK, ORTHANC = "Yuanzhen", "DCMTK storescp", "Orthanc"
GUARANTEES = {
    OURS: "file, its name and the row are synced (fdatasync, fsync, fdatasync)",
    DCMTK: "file written, nothing is synced, no index",
    ORTHANC: "file synced (its SyncStorageArea), index in SQLite not synced for each object",
}
"""What each promises when it answers success, as it comes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One receiver at so many associations; medians of the rounds."""

    who: str
    associations: int
    per_s: float
    of_orthanc: float
    """Median of the ratios of rounds; above 1 is faster than Orthanc."""


Receiving = Callable[[Path], "contextlib.AbstractContextManager[tuple[int, str]]"]
"""Runs a receiver in a folder and gives its port and AE title."""


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[tuple[int, str]]:
    """Run the node's side and two receivers, with synced commits."""
    with receiving(folder / "images", 2) as found:
        yield found.port, "YUANZHEN"


@contextlib.contextmanager
def dcmtk(folder: Path) -> Iterator[tuple[int, str]]:
    """Run storescp, a process for each association."""
    port = free_port()
    command = [program("storescp"), "--fork", "-aet", "X", "-pdu", PDU_BYTES, "-od", str(folder), str(port)]
    with _running(command, port, "X"):
        yield port, "X"


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, str]]:
    """Run Orthanc with its default settings."""
    port = free_port()
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomPort": port,
        "HttpPort": free_port(),
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with _running(["Orthanc", str(folder / "orthanc.json")], port, "ORTHANC"):
        yield port, "ORTHANC"


RECEIVERS: dict[str, Receiving] = {OURS: ours, DCMTK: dcmtk, ORTHANC: orthanc}


@contextlib.contextmanager
def _running(command: list[str], port: int, title: str) -> Iterator[None]:
    process = subprocess.Popen(command, env=QUICK, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    echo = [program("echoscu"), "-aec", title, "127.0.0.1", str(port)]
    try:
        until(lambda: subprocess.run(echo, capture_output=True, check=False).returncode == 0, 30, command[0])
        yield
    finally:
        process.kill()
        process.wait()


def slices(folder: Path, count: int) -> dict[int, list[Path]]:
    """Write the slices; return the folders to send by number of associations."""
    parts = part10.parted(SLICE.read_bytes())
    uid = parts.sop_instance_uid
    by_associations = {number: [folder / f"{number}-{part}" for part in range(number)] for number in (1, 4)}
    for place in (each for places in by_associations.values() for each in places):
        place.mkdir(parents=True)
    for number in range(count):
        own = f"{uid[:-4]}{number:04d}"
        data = parts.data.replace(uid.encode(), own.encode())
        file = by_associations[1][0] / str(number)
        file.write_bytes(part10.head(parts.sop_class_uid, own, parts.transfer_syntax) + data)
        (by_associations[4][number % 4] / str(number)).hardlink_to(file)
    return by_associations


def rate(receiver: Receiving, places: list[Path], count: int) -> float:
    """Return how many objects a second a receiver takes from as many senders as there are folders."""
    folder = Path(tempfile.mkdtemp(prefix="dicom-bench-"))
    try:
        with receiver(folder) as (port, title), ThreadPoolExecutor(len(places)) as senders:
            began_s = time.monotonic()
            for done in senders.map(lambda place: _send(place, port, title), places):
                done.check_returncode()
            return count / (time.monotonic() - began_s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _send(place: Path, port: int, title: str) -> "subprocess.CompletedProcess[bytes]":
    command = [program("storescu"), "-aec", title, "-pdu", PDU_BYTES, "+sd", "127.0.0.1", str(port), str(place)]
    return subprocess.run(command, env=QUICK, capture_output=True, check=False)


def measure(count: int, rounds: int) -> list[Row]:
    """Let all take turns and return what each reached."""
    reached: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for associations, places in slices(Path(folder), count).items():
            for _ in range(rounds):
                for who, receiver in RECEIVERS.items():
                    reached.setdefault((who, associations), []).append(rate(receiver, places, count))
    rows = []
    for (who, associations), rates in reached.items():
        ratios = [own / theirs for own, theirs in zip(rates, reached[ORTHANC, associations], strict=True)]
        rows.append(Row(who, associations, round(statistics.median(rates), 1), round(statistics.median(ratios), 2)))
    return rows


def table(rows: list[Row]) -> str:
    """Return the rows as a table, with what each guarantees."""
    head = [
        "| receiver | associations | objects a second | of Orthanc | success means |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines = [
        f"| {row.who} | {row.associations} | {row.per_s:g} | {row.of_orthanc:.2f} | {GUARANTEES[row.who]} |"
        for row in rows
    ]
    return "\n".join([*head, *lines])


def main() -> None:
    """Run it and write dicom.json and dicom.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    rows = measure(asked.slices, asked.rounds)
    print(table(rows))
    if asked.dry:
        return
    facts = {**circumstances(), "command": " ".join(("python -m bench.dicom", *sys.argv[1:]))}
    facts["load"] = f"{os.getloadavg()[1]:.1f} (five minutes, at the end)"
    (HERE / "dicom.json").write_text(json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    (HERE / "dicom.md").write_text(f"""# How fast images are taken in

{heading}

{asked.slices} CT slices of 512 x 512 (0.53 MB each), sent by storescu; {asked.rounds} rounds in which all take turns;
medians. The ratio is that of each round, because whatever else the machine does falls on all of a round.

{table(rows)}
""")


if __name__ == "__main__":
    main()

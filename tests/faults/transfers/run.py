"""So many studies through a whole region whose processes are killed at random meanwhile."""

import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.demo import model
from tests.fakes import swi_dicom
from tests.fakes.ports import free_port
from tests.faults.transfers import modality
from tests.faults.transfers.arrived import Faults, Hub, compare
from tests.faults.transfers.harm import NODE, Harm
from tests.faults.transfers.modality import Image, Ledger
from tests.region.region import Clinic, Region, until

SENDERS = 4
SLICES = 3
BETWEEN_S = 1.0
"""From one study of a modality to its next, so that the first are on their way to the hub while others come."""
AFTER_S = 10.0
"""So long after the last promise somebody is still killed."""
MARGIN_S = 60.0
"""For the last study to be complete and at the hub when nobody is killed any more, beside LAST_S for each study."""
LAST_S = 2.0
NODE_LINES = """
[imaging]
port = {port}
senders = ["STORESCU"]
complete_after_s = 2
preview_after_s = 0.5
[inference]
root_file = "models/root.json"
memory_mib = 1024
threads = 1
research = true
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to run."""

    studies: int
    heads: int
    """How many of the studies are heads that the model of microbleeds reads; 0 runs no model."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    promised: int
    """Objects that the node answered with success."""
    killed: Counter[str]
    broken: int
    """Associations that did not last."""
    faults: Faults
    sent_s: float
    """From the first object to the last promise."""
    all_there_s: float
    """From the last kill until everything was at the hub."""


def run(asked: Asked, folder: Path) -> Outcome:
    """Run it in an empty folder; a study that a modality could never send is a fault of AssertionError."""
    studies = _studies(asked, folder)
    ledger, is_over = Ledger(), threading.Event()
    with _region(folder, with_model=asked.heads > 0) as (region, port):
        began_s = time.monotonic()
        harm = Harm(region, asked.seed)
        threads = _senders(studies, port, ledger, is_over)
        try:
            until_s = math.inf
            while time.monotonic() < until_s:
                time.sleep(harm.pause_s())
                harm.strike()
                if until_s == math.inf and not any(thread.is_alive() for thread in threads):
                    sent_s, until_s = time.monotonic() - began_s, time.monotonic() + AFTER_S
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        region.until_ready(region.hub_url, 60)
        region.until_ready(region.page_url(NODE), 60)
        assert len(ledger.promised) == sum(map(len, studies)), "a modality gave up"
        began_s = time.monotonic()
        with closing(region.fhir()) as client:
            faults = _until_there(Hub(client), list(ledger.promised.values()), MARGIN_S + LAST_S * asked.studies)
        all_there_s = time.monotonic() - began_s
    return Outcome(len(ledger.promised), harm.killed, ledger.broken, faults, sent_s, all_there_s)


def _studies(asked: Asked, folder: Path) -> list[list[Image]]:
    found = [modality.slices(number, SLICES, swi_dicom.PATIENT) for number in range(asked.studies - asked.heads)]
    every = max(1, asked.studies // max(1, asked.heads))
    for number in range(asked.heads):
        study = f"{modality.ROOT_UID}.9{number}"
        files = swi_dicom.written(folder / "heads" / str(number), study=study)
        found.insert(number * every, [Image(study, file.stem, file.read_bytes()) for file in files])
    return found


@contextmanager
def _region(folder: Path, *, with_model: bool) -> Iterator[tuple[Region, int]]:
    port = free_port()
    model.make(folder / "models")
    region = Region(folder, (Clinic(extra=NODE_LINES.format(port=port)),))
    region.prepare()
    config = folder / f"{NODE}.toml"
    config.write_text(config.read_text().replace("[transfer]\n", "[transfer]\nlook_every_s = 1\n"))
    try:
        region.start()
        if with_model:
            region.run(
                "cloud_hub", "release", "models/cmb.bundle", "--config", "hub.toml", "--to", f"baoshan-clinic/{NODE}"
            )
        yield region, port
    except BaseException:
        print(region.logs())
        raise
    finally:
        region.stop()


def _senders(studies: list[list[Image]], port: int, ledger: Ledger, is_over: threading.Event) -> list[threading.Thread]:
    waiting: queue.SimpleQueue[list[Image]] = queue.SimpleQueue()
    for images in studies:
        waiting.put(images)

    def send() -> None:
        while not is_over.is_set():
            try:
                images = waiting.get_nowait()
            except queue.Empty:
                return
            modality.send_until_promised(images, port, ledger, is_over)
            is_over.wait(BETWEEN_S)

    threads = [threading.Thread(target=send, name=f"modality-{number}") for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    return threads


def _until_there(hub: Hub, promised: list[Image], limit_s: float) -> Faults:
    """Wait until no promised object is missing, at most so long; return what is wrong then."""
    left = {image.study for image in promised}
    by_study = {study: [image.instance for image in promised if image.study == study] for study in left}

    def arrived() -> bool:
        left.difference_update([study for study in left if set(by_study[study]) <= set(hub.listed(study))])
        return not left

    with suppress(AssertionError):
        until(arrived, limit_s, "all studies at the hub")
    return compare(promised, hub.listed, hub.data_set)

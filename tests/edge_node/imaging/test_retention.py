"""How long images stay at the node: real catalogue, files and queue of the transfer, with a clock moved by hand."""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from telemed.transfer import FileKind

from edge_node.imaging import part10, retention, rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.delivery import NS, manifest_of
from edge_node.imaging.entries import of_level
from edge_node.imaging.matching import STUDY, Query
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.objects import Objects
from edge_node.imaging.retention import IN_USE_NS, PUT_AGAIN_S, Retention
from edge_node.imaging.schema import FILE
from edge_node.imaging.study import Instance, Kept, Patient, Study
from edge_node.uplink.transfer import intake
from edge_node.uplink.transfer import rows as queue
from edge_node.uplink.transfer.ledger import Ledger
from edge_node.uplink.transfer.parcel import Labels
from edge_node.uplink.transfer.spool import Spool
from edge_node.uplink.transfer.states import Step
from tests.edge_node.imaging.test_rows import stored
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set

pytestmark = pytest.mark.anyio
DAY_NS = 24 * 3600 * NS
KEEP_NS = 30 * DAY_NS
OLD = [Picture(uid=f"1.2.3.4.{number}", number=number) for number in range(3)]
GONE = "P-GONE-7781"
NEW = [Picture(uid="1.5.6.1", number=1, study="1.5")]


@dataclass(slots=True)
class Bench:
    """Images, and the queue in which they go to the hub."""

    catalog: Catalog
    objects: Objects
    ledger: Ledger
    spool: Spool
    retention: Retention
    now_ns: int = 1_000 * DAY_NS
    erased: set[str] = field(default_factory=set)

    def arrive(self, *pictures: Picture) -> None:
        """Have objects arrive now."""
        for picture in pictures:
            self._note(picture, self.put(picture))

    def put(self, picture: Picture) -> str:
        """Have the file of an object arrive, and not its row."""
        return self.objects.put(part10.head(CT, picture.uid, EXPLICIT), data_set(picture))

    def send(self, study: Study) -> None:
        """Put a study into the queue, as delivery does."""
        for each in self.instances(study):
            labels = Labels(FileKind.STUDY, "object.dcm", study.study_id)
            intake.queue_file(self.spool, self.ledger, self.objects.path(each.sha256), labels, self.spool.take_link)
        self.catalog.write_blocking(lambda c: rows.note_offered(c, study.study_id, study.generation))

    def arrived(self, but: int = 0) -> None:
        """Have the hub tell that it has what waits, but for so many files."""
        for parcel in self.ledger.read_blocking(queue.unfinished)[but:]:
            self.ledger.write_blocking(lambda c, one=parcel: queue.step(c, one.parcel_id, Step.ARRIVED))  # type: ignore[misc]

    def study(self, uid: str = "1.2.3") -> Study:
        found = self.catalog.read_blocking(lambda c: rows.study(c, rows.study_id_of(c, uid)))
        assert found is not None
        return found

    def instances(self, study: Study) -> list[Instance]:
        return self.catalog.read_blocking(lambda c: rows.instances(c, study.study_id))

    def files(self, study: Study) -> int:
        """Return how many files of a study lie here."""
        return sum(self.objects.path(each.sha256).exists() for each in self.instances(study))

    def _note(self, picture: Picture, sha256: str) -> None:
        one = replace(stored(picture), sha256=sha256)
        self.catalog.write_blocking(lambda c: rows.take(c, one, self.now_ns))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    # The clock of the disk is not moved by hand: by it no file was put just now.
    monkeypatch.setattr(retention, "PUT_AGAIN_S", -PUT_AGAIN_S)
    catalog, objects, ledger = Catalog(tmp_path / "images"), Objects(tmp_path / "images"), Ledger(tmp_path)

    async def has_sent(group: str, hashes: Sequence[str]) -> bool:
        return await ledger.read(lambda c: queue.has_sent(c, group, hashes))

    metrics = ImagingMetrics(CollectorRegistry())
    kept = Retention(catalog, objects, has_sent, lambda: made.erased, KEEP_NS, metrics, lambda: made.now_ns)
    made = Bench(catalog, objects, ledger, Spool(tmp_path / "spool"), kept)
    yield made
    catalog.close()
    ledger.close()


async def test_a_study_goes_thirty_days_after_the_hub_had_all_of_it(bench: Bench) -> None:
    bench.arrive(*OLD)
    bench.send(bench.study())
    bench.arrived(but=1)
    bench.now_ns += 40 * DAY_NS
    await bench.retention.look()
    assert bench.files(bench.study()) == 3, "one file is not at the hub"

    bench.arrived()
    await bench.retention.look()
    bench.now_ns += KEEP_NS - 1
    await bench.retention.look()
    assert bench.files(bench.study()) == 3
    bench.now_ns += 1
    await bench.retention.look()
    assert bench.files(bench.study()) == 0
    assert not bench.study().is_here


async def test_of_what_went_everything_is_known_still_and_nothing_is_found_to_be_moved(bench: Bench) -> None:
    bench.arrive(*OLD)
    bench.send(bench.study())
    bench.arrived()
    await bench.retention.look()
    before = manifest_of(bench.study(), bench.instances(bench.study()))
    bench.now_ns += KEEP_NS
    await bench.retention.look()
    study = bench.study()
    assert manifest_of(study, bench.instances(study)) == before
    assert bench.catalog.read_blocking(lambda c: rows.instances_here(c, study.study_id)) == []
    assert bench.catalog.read_blocking(lambda c: list(of_level(c, Query(STUDY, {}, ())))) == []
    assert bench.catalog.read_blocking(rows.count_of)["objects"] == 0
    # A person decides whose it is: the hub is told, and nothing of it is offered again.
    bench.catalog.write_blocking(lambda c: rows.assign(c, study.study_id, "person-gu", "dr-lin"))
    assert [each.study_id for each in bench.catalog.read_blocking(rows.to_offer)] == [study.study_id]


async def test_on_a_full_disk_the_oldest_at_the_hub_goes_at_once_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 1
    monkeypatch.setattr(Objects, "used_share", lambda self: 0.81 if len(list(self.whole())) > room else 0.79)
    bench.arrive(*OLD)
    bench.send(bench.study())
    bench.arrived()
    await bench.retention.look()
    assert bench.files(bench.study()) == 3, "it came just now"
    bench.now_ns += IN_USE_NS
    bench.arrive(*NEW)
    bench.send(bench.study("1.5"))
    bench.arrived()
    await bench.retention.look()
    assert (bench.files(bench.study()), bench.files(bench.study("1.5"))) == (0, 1)

    bench.arrive(Picture(uid="1.6.6.1", number=1, study="1.6"))
    bench.now_ns += IN_USE_NS
    room = 0
    await bench.retention.look()
    assert (bench.files(bench.study("1.5")), bench.files(bench.study("1.6"))) == (0, 1), "the hub lacks the last one"


async def test_what_comes_again_is_here_again_for_as_long(bench: Bench) -> None:
    bench.arrive(*OLD)
    bench.send(bench.study())
    bench.arrived()
    await bench.retention.look()
    bench.now_ns += KEEP_NS
    await bench.retention.look()
    bench.arrive(OLD[0])
    bench.now_ns += KEEP_NS - 1
    await bench.retention.look()
    assert (bench.study().is_here, bench.files(bench.study())) == (True, 1)
    assert len(bench.catalog.read_blocking(lambda c: list(of_level(c, Query(STUDY, {}, ()))))) == 1
    bench.now_ns += 1
    await bench.retention.look()
    assert bench.files(bench.study()) == 0


async def test_a_file_that_is_put_again_while_its_study_goes_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.arrive(*OLD)
    bench.send(bench.study())
    bench.arrived()
    await bench.retention.look()
    study = bench.study()
    bench.catalog.write_blocking(lambda c: rows.let_go(c, study))
    # A receiver has written it, and its row is under way.
    monkeypatch.setattr(retention, "PUT_AGAIN_S", PUT_AGAIN_S)
    bench.put(OLD[0])
    await bench.retention.look()
    assert bench.files(study) == 3, "none is old enough by the disk's clock"
    bench.arrive(OLD[0])
    monkeypatch.setattr(retention, "PUT_AGAIN_S", -PUT_AGAIN_S)
    await bench.retention.look()
    assert bench.files(study) == 1


async def test_what_a_crash_left_half_done_is_done(bench: Bench) -> None:
    bench.arrive(*OLD)
    bench.send(bench.study())
    bench.arrived()
    await bench.retention.look()
    study = bench.study()
    bench.catalog.write_blocking(lambda c: rows.let_go(c, study))
    bench.objects.path(bench.instances(study)[0].sha256).unlink()
    await bench.retention.look()
    assert bench.files(study) == 0
    assert bench.catalog.read_blocking(lambda c: rows.going(c, 10)) == []


async def test_what_comes_late_keeps_its_study_until_the_hub_has_that_too(bench: Bench) -> None:
    bench.arrive(*OLD[:2])
    bench.send(bench.study())
    bench.arrived()
    await bench.retention.look()
    bench.arrive(OLD[2])
    bench.now_ns += KEEP_NS
    await bench.retention.look()
    assert bench.files(bench.study()) == 3
    bench.send(bench.study())
    bench.arrived()
    await bench.retention.look()
    assert bench.files(bench.study()) == 3
    bench.now_ns += KEEP_NS
    await bench.retention.look()
    assert bench.files(bench.study()) == 0


async def test_a_node_that_sends_nothing_keeps_everything(bench: Bench) -> None:
    alone = replace(bench.retention, has_sent=None)
    bench.arrive(*OLD)
    bench.send(bench.study())
    bench.arrived()
    bench.now_ns += 1000 * DAY_NS
    await alone.look()
    assert bench.files(bench.study()) == 3


@pytest.mark.parametrize("is_sent", [True, False])
async def test_of_a_person_who_was_erased_neither_files_nor_words_stay(bench: Bench, is_sent: bool) -> None:
    theirs = [replace(each, patient=GONE) for each in OLD]
    bench.arrive(*theirs, *NEW)
    bench.send(bench.study())
    bench.arrived()
    study = bench.study()
    bench.catalog.write_blocking(lambda c: rows.assign(c, study.study_id, "person-gu", "dr-lin"))
    kept = bench.retention if is_sent else replace(bench.retention, has_sent=None)
    await kept.look()
    assert bench.files(study) == 3
    bench.erased.add("person-gu")
    await kept.look()
    assert bench.files(study) == 0
    left = bench.study()
    assert (left.patient, left.study_date, left.description, left.is_here) == (Patient(), "", "", False)
    assert b"".join(path.read_bytes() for path in bench.catalog.path.parent.glob(f"{FILE}*")).count(GONE.encode()) == 0
    assert bench.files(bench.study("1.5")) == 1, "another person's"
    assert bench.catalog.read_blocking(lambda c: rows.erase(c, ["person-gu"])) == 0, "nothing is done twice"
    bench.arrive(theirs[0])
    await kept.look()
    assert bench.files(study) == 0, "what comes again goes again"


def test_a_catalogue_of_before_is_brought_up_to_date_with_all_files_here(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "new")
    catalog.write_blocking(lambda c: rows.take(c, stored(OLD[0]), 1))
    catalog.close()
    with sqlite3.connect(tmp_path / "new" / FILE) as file:
        file.execute("DROP INDEX idx_instance_kept")
        for table, column in (("study", "at_hub_generation"), ("study", "at_hub_ns"), ("study", "is_here")):
            file.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        file.execute("ALTER TABLE instance DROP COLUMN kept")
        file.execute("PRAGMA user_version = 1")
    file.close()
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    brought = Catalog(tmp_path / "old")
    (study,) = brought.read_blocking(rows.studies)
    assert (study.is_here, study.at_hub_generation) == (True, 0)
    (kept,) = brought.read_blocking(lambda c: c.execute("SELECT kept FROM instance").fetchone())
    assert kept == Kept.HERE
    brought.close()


def test_files_that_are_to_go_are_found_by_their_index(bench: Bench) -> None:
    asked = f"EXPLAIN QUERY PLAN SELECT sha256 FROM instance WHERE kept = {Kept.GOING:d} LIMIT 10"
    (step,) = bench.catalog.read_blocking(lambda c: [row["detail"] for row in c.execute(asked)])
    assert "USING INDEX" in step

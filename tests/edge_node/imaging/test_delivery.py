"""Studies on their way to the hub: key image first, then manifest and objects, and whose they are."""

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from telemed import study as wire
from telemed.study import StudyManifest

from cloud_hub.access.claims import USERNAME
from edge_node.errors import BufferFull
from edge_node.imaging import part10, rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.delivery import LONGEST_REST_LOOKS, NS, Delivery, Offered, Quiet
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.objects import Objects
from edge_node.imaging.study import MATCHED, Episode
from tests.edge_node.imaging.test_rows import stored
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set

pytestmark = pytest.mark.anyio
GU = Episode("person-gu", frozenset({("BAOSHAN", "P-1")}))


@dataclass(slots=True)
class Bench:
    """A delivery with a clock that is moved by hand, and a transfer that only remembers."""

    folder: Path
    catalog: Catalog
    objects: Objects
    now_ns: int = 1_000 * NS
    offered: list[tuple[str, str, bool, bytes]] = field(default_factory=list)
    """Name, group, whether it is a preview, and content."""
    episodes: list[Episode] = field(default_factory=list)
    is_full: bool = False
    picture: bytes | None = b"JPEG"
    late: list[Picture] = field(default_factory=list)
    """What arrives while something is offered."""

    def made(self) -> Delivery:
        return Delivery(
            self.catalog,
            self.objects,
            self._offer,
            lambda: self.episodes,
            Quiet(2, 30),
            self._picture,
            ImagingMetrics(CollectorRegistry()),
            lambda: self.now_ns,
        )

    def arrive(self, *pictures: Picture) -> None:
        """Have objects arrive now."""
        for picture in pictures:
            data = data_set(picture)
            sha256 = self.objects.put(part10.head(CT, picture.uid, EXPLICIT), data)
            one = replace(stored(picture), sha256=sha256)
            self.catalog.write_blocking(lambda c, one=one: rows.take(c, one, self.now_ns))  # type: ignore[misc]

    def names(self) -> list[str]:
        return [name for name, _, _, _ in self.offered]

    def manifests(self) -> list[StudyManifest]:
        return [wire.unpack(content) for name, _, _, content in self.offered if name == wire.MANIFEST_NAME]

    async def _offer(self, file: Offered) -> None:
        if self.is_full:
            raise BufferFull("no room on the disk")
        while self.late:
            await asyncio.to_thread(self.arrive, self.late.pop())
        one = (file.name, file.group, file.is_preview, file.path.read_bytes())
        # As the transfer does.
        if one not in self.offered:
            self.offered.append(one)

    async def _picture(self, path: Path) -> bytes | None:
        return self.picture if path.stat().st_size else None  # noqa: ASYNC240


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    catalog = Catalog(tmp_path)
    yield Bench(tmp_path, catalog, Objects(tmp_path))
    catalog.close()


@pytest.fixture
def delivery(bench: Bench) -> Delivery:
    return bench.made()


SLICES = [Picture(uid=f"1.2.3.4.{number}", number=number) for number in range(3)]


async def test_the_key_image_goes_after_two_seconds_of_quiet_and_the_study_after_thirty(
    bench: Bench, delivery: Delivery
) -> None:
    bench.arrive(*SLICES)
    await delivery.look()
    assert (bench.names(), delivery.due_in_s) == ([], 2)
    bench.now_ns += 2 * NS
    await delivery.look()
    assert bench.names() == [wire.KEY_IMAGE_NAME, wire.MANIFEST_NAME]
    assert len(bench.manifests()[0].objects) == len(SLICES), "people at the hub see what is to come"
    bench.now_ns += 27 * NS
    await delivery.look()
    assert delivery.due_in_s == 1, "looked for when it is due, and not up to a second later"
    bench.now_ns += NS
    await delivery.look()
    assert bench.names() == [wire.KEY_IMAGE_NAME, wire.MANIFEST_NAME, *[wire.OBJECT_NAME] * 3]
    await delivery.look()
    assert len(bench.offered) == 5


async def test_the_files_of_a_study_share_a_group_and_what_is_small_goes_as_preview(
    bench: Bench, delivery: Delivery
) -> None:
    bench.arrive(*SLICES)
    bench.now_ns += 60 * NS
    await delivery.look()
    assert len({group for _, group, _, _ in bench.offered}) == 1
    assert [is_preview for _, _, is_preview, _ in bench.offered] == [True, True, False, False, False]
    (manifest,) = bench.manifests()
    assert manifest.study_id == bench.offered[0][1]
    sent = {part10.parted(content).data for name, _, _, content in bench.offered if name == wire.OBJECT_NAME}
    assert sent == {data_set(picture) for picture in SLICES}
    assert [each.sop_instance_uid for each in manifest.objects] == [picture.uid for picture in SLICES]
    assert len(manifest.key_image_sha256) == 64


async def test_what_comes_late_makes_a_new_manifest_with_everything(bench: Bench, delivery: Delivery) -> None:
    bench.arrive(*SLICES[:2])
    bench.now_ns += 30 * NS
    await delivery.look()
    bench.arrive(SLICES[2])
    await delivery.look()
    assert len(bench.manifests()) == 1
    bench.now_ns += 30 * NS
    await delivery.look()
    assert [(each.generation, len(each.objects)) for each in bench.manifests()] == [(2, 2), (3, 3)]
    assert bench.names().count(wire.KEY_IMAGE_NAME) == 1


async def test_a_study_of_somebody_who_is_here_is_theirs_and_of_others_waits_for_a_person(
    bench: Bench, delivery: Delivery
) -> None:
    bench.arrive(Picture(), Picture(uid="1.9.1", study="1.9", patient="P-UNKNOWN"))
    bench.episodes = [GU]
    bench.now_ns += 30 * NS
    await delivery.look()
    assert {each.study_uid: each.person_id for each in bench.manifests()} == {"1.2.3": "person-gu", "1.9": ""}
    assert delivery.held == {"studies": 2, "unassigned": 1, "conflicts": 0, "objects": 2}


async def test_who_comes_later_gets_their_study_and_the_hub_is_told(bench: Bench, delivery: Delivery) -> None:
    bench.arrive(Picture())
    bench.now_ns += 30 * NS
    await delivery.look()
    bench.episodes = [GU]
    await delivery.look()
    assert [each.person_id for each in bench.manifests()] == ["", "person-gu"]


async def test_what_arrives_while_something_is_offered_is_somebodys_too(bench: Bench, delivery: Delivery) -> None:
    bench.episodes = [GU]
    bench.arrive(Picture(patient="P-UNKNOWN"))
    await delivery.look()
    bench.late = [Picture(uid="1.9.1", study="1.9")]
    bench.now_ns += 2 * NS
    await delivery.look()
    await delivery.look()
    assert [study.study_uid for study in await bench.catalog.read(rows.unassigned)] == ["1.2.3"]


async def test_a_person_decides_whose_a_study_is_and_the_hub_is_told(bench: Bench, delivery: Delivery) -> None:
    bench.arrive(Picture(patient="P-UNKNOWN"))
    bench.now_ns += 30 * NS
    await delivery.look()
    (study,) = await bench.catalog.read(rows.unassigned)
    await bench.catalog.write(lambda c: rows.assign(c, study.study_id, "person-x", "clinic"))
    await delivery.look()
    assert [(each.person_id, each.assigned_by) for each in bench.manifests()] == [("", ""), ("person-x", "clinic")]


async def test_a_study_that_turns_out_to_be_of_two_patients_is_nobodys_again(bench: Bench, delivery: Delivery) -> None:
    bench.episodes = [GU]
    bench.arrive(Picture())
    await delivery.look()
    bench.arrive(Picture(uid="1.2.3.4.9", patient="P-2"))
    bench.now_ns += 30 * NS
    await delivery.look()
    (manifest,) = bench.manifests()
    assert (manifest.person_id, manifest.is_mixed) == ("", True)


async def test_whose_a_study_is_not_the_hub_is_told_while_it_is_still_coming(bench: Bench, delivery: Delivery) -> None:
    bench.episodes = [GU]
    bench.arrive(Picture())
    bench.now_ns += 2 * NS
    await delivery.look()
    assert [each.person_id for each in bench.manifests()] == [GU.person_id]
    bench.arrive(Picture(uid="1.2.3.4.9", patient="P-2"))
    await delivery.look()
    assert [each.person_id for each in bench.manifests()] == [GU.person_id, ""]
    await delivery.look()
    assert len(bench.manifests()) == 2


async def test_what_a_node_that_was_killed_had_not_announced_it_announces(bench: Bench, delivery: Delivery) -> None:
    bench.arrive(Picture())
    bench.now_ns += 2 * NS
    await delivery.look()
    bench.offered.pop()
    assert bench.names() == [wire.KEY_IMAGE_NAME]
    await bench.made().look()
    assert bench.names() == [wire.KEY_IMAGE_NAME, wire.MANIFEST_NAME]


async def test_a_study_without_a_picture_goes_without_one(bench: Bench, delivery: Delivery) -> None:
    bench.picture = None
    bench.arrive(Picture())
    bench.now_ns += 30 * NS
    await delivery.look()
    assert bench.names() == [wire.MANIFEST_NAME, wire.OBJECT_NAME]
    assert bench.manifests()[0].key_image_sha256 == ""


async def test_what_cannot_be_queued_now_is_queued_later_and_nothing_is_left_lying(
    bench: Bench, delivery: Delivery
) -> None:
    bench.arrive(Picture())
    bench.now_ns += 30 * NS
    bench.is_full = True
    await delivery.look()
    assert bench.offered == []
    bench.is_full = False
    await delivery.look()
    assert bench.names() == [wire.KEY_IMAGE_NAME, wire.MANIFEST_NAME, wire.OBJECT_NAME]
    assert list(bench.folder.glob("offered-*")) == []


async def test_an_object_that_is_gone_holds_up_its_own_study_alone(bench: Bench, delivery: Delivery) -> None:
    bench.picture = None
    bench.arrive(Picture(), Picture(uid="1.9.1", study="1.9"))
    bench.now_ns += 30 * NS
    with sqlite3.connect(bench.folder / "imaging.db") as other:
        (gone,) = other.execute("SELECT sha256 FROM instance WHERE sop_instance_uid = '1.9.1'").fetchone()
    other.close()
    bench.picture = b"JPEG"
    await bench.catalog.write(lambda c: c.execute("UPDATE study SET key_image = 'none'"))
    bench.objects.path(gone).unlink()
    await delivery.look()
    assert [each.study_uid for each in bench.manifests()].count("1.2.3") == 1
    assert [study.study_uid for study in await bench.catalog.read(rows.to_offer)] == ["1.9"]


async def test_a_node_that_sends_nothing_still_knows_whose_its_studies_are(bench: Bench) -> None:
    bench.episodes = [GU]
    bench.arrive(Picture())
    bench.now_ns += 60 * NS
    quiet = bench.made()
    quiet.offer = None
    await quiet.look()
    await quiet.look()
    assert bench.offered == []
    assert quiet.held["unassigned"] == 0


async def test_what_was_offered_is_not_read_again_when_something_is_new(bench: Bench, delivery: Delivery) -> None:
    bench.arrive(*SLICES[:2])
    bench.now_ns += 30 * NS
    await delivery.look()
    assert bench.names().count(wire.OBJECT_NAME) == 2
    (study,) = await bench.catalog.read(rows.studies)
    await bench.catalog.write(lambda c: rows.assign(c, study.study_id, "person-x", "clinic"))
    await delivery.look()
    assert bench.names().count(wire.OBJECT_NAME) == 2
    bench.arrive(SLICES[2])
    bench.now_ns += 30 * NS
    await delivery.look()
    assert bench.names().count(wire.OBJECT_NAME) == 3
    assert len(bench.manifests()) == 3


async def test_a_study_that_fails_is_tried_less_and_less_often_and_goes_on_where_it_failed(
    bench: Bench, delivery: Delivery
) -> None:
    bench.arrive(*SLICES)
    last = bench.objects.path((await bench.catalog.read(study_files))[-1])
    aside = last.rename(bench.folder / "aside")
    bench.now_ns += 30 * NS
    for _ in range(LONGEST_REST_LOOKS):
        await delivery.look()
    assert bench.names().count(wire.OBJECT_NAME) == 2
    assert len(bench.manifests()) < 10
    aside.rename(last)
    for _ in range(LONGEST_REST_LOOKS + 1):
        await delivery.look()
    assert bench.names().count(wire.OBJECT_NAME) == 3
    assert await bench.catalog.read(rows.to_offer) == []


def study_files(connection: sqlite3.Connection) -> list[str]:
    (study,) = rows.studies(connection)
    return [each.sha256 for each in rows.not_offered(connection, study.study_id)]


async def test_what_somebody_called_match_decided_is_not_undone(bench: Bench, delivery: Delivery) -> None:
    bench.arrive(Picture(), Picture(uid="1.2.3.4.9", patient="P-2"))
    (study,) = await bench.catalog.read(rows.studies)
    await bench.catalog.write(lambda c: rows.assign(c, study.study_id, "person-x", "match"))
    await delivery.look()
    assert [each.person_id for each in await bench.catalog.read(rows.studies)] == ["person-x"]
    assert not USERNAME.fullmatch(MATCHED)


async def test_a_study_of_more_objects_than_a_manifest_names_holds_up_no_other(
    bench: Bench, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.arrive(*SLICES, Picture(uid="1.9.1", study="1.9"))
    bench.now_ns += 30 * NS
    monkeypatch.setattr(wire, "MANIFEST_LIMIT_BYTES", 1000)
    await delivery.look()
    assert [each.study_uid for each in bench.manifests()] == ["1.9"]

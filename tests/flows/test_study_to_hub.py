"""A study that a modality sends with DCMTK is at the hub, key image and manifest first, and is read from there."""

import contextlib
import hashlib
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from telemed import study as wire
from telemed.study import StudyManifest

from edge_node.imaging import part10
from tests.fakes.dcmtk import needs_dcmtk, program
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set, relaying
from tests.fakes.ports import free_port
from tests.region.region import Clinic, Region, running, until

pytestmark = [needs_dcmtk, pytest.mark.slow, pytest.mark.timeout(180)]
PATIENT = "P-51018201-0093"
SIDE = 128
IMAGING = """
[imaging]
port = {port}
senders = ["STORESCU"]
complete_after_s = 2
preview_after_s = 0.5
"""


def slices(count: int, patient: str, study: str) -> Iterator[Picture]:
    """A study of one series, as large as its pixels make it."""
    for number in range(count):
        pixels = b"".join(struct.pack("<H", (x * y + number) % 4096) for y in range(SIDE) for x in range(SIDE))
        uid = f"{study}.1.{number}"
        yield Picture(uid, study, f"{study}.1", patient, SIDE, SIDE, pixels, number=number)


def written(folder: Path, pictures: Iterator[Picture]) -> list[str]:
    """Write a study as the files that a modality would have."""
    folder.mkdir()
    paths = []
    for picture in pictures:
        paths.append(folder / picture.uid)
        paths[-1].write_bytes(part10.head(CT, picture.uid, EXPLICIT) + data_set(picture))
    return [str(path) for path in paths]


def at_hub(region: Region) -> list[tuple[str, str, str]]:
    """Return name, group and hash of the files that are complete at the hub, in the order in which they were."""
    with contextlib.closing(sqlite3.connect(region.folder / "hub" / "care.db")) as database:
        asked = "SELECT name, group_id, sha256 FROM transfer WHERE state = 'complete' ORDER BY completed_ns"
        return database.execute(asked).fetchall()


def blob(region: Region, sha256: str) -> bytes:
    return next((region.folder / "hub" / "blobs").rglob(sha256)).read_bytes()


def manifests(region: Region) -> list[StudyManifest]:
    found = [sha256 for name, _, sha256 in at_hub(region) if name == wire.MANIFEST_NAME]
    return [wire.unpack(blob(region, sha256)) for sha256 in found]


def storescu(port: int, files: list[str]) -> None:
    command = [program("storescu"), "-aec", "YUANZHEN", "127.0.0.1", str(port), *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_a_study_of_somebody_who_is_here_is_at_the_hub_bit_for_bit_also_when_the_node_is_killed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    port = free_port()
    with running(Region(tmp_path_factory.mktemp("region"), (Clinic(extra=IMAGING.format(port=port)),))) as region:
        files = written(region.folder / "modality", slices(12, PATIENT, "1.2.3"))
        with relaying(port) as relay:
            storescu(relay.port, files[:6])
            region.kill("edge-clinic")
            region.start_edge()
            region.until_ready(region.page_url())
            storescu(relay.port, files)
            sent = set(relay.data_sets())
        assert len(sent) == len(files)

        def whole() -> StudyManifest | None:
            there = {sha256 for name, _, sha256 in at_hub(region) if name == wire.OBJECT_NAME}
            return next((each for each in manifests(region) if {one.sha256 for one in each.objects} == there), None)

        manifest = until(lambda: (found := whole()) and len(found.objects) == len(files) and found, 60, "the study")
        assert manifest
        kept = [part10.parted(blob(region, each.sha256)).data for each in manifest.objects]
        assert set(kept) == sent
        assert len(kept) == len(files)
        assert manifest.person_id != ""
        assert {group for _, group, _ in at_hub(region)} == {manifest.study_id}

        names = [name for name, _, _ in at_hub(region)]
        assert names[0] == wire.KEY_IMAGE_NAME
        assert names.index(wire.MANIFEST_NAME) < names.index(wire.OBJECT_NAME)
        assert blob(region, manifest.key_image_sha256).startswith(b"\xff\xd8\xff")
        assert hashlib.sha256(blob(region, manifest.key_image_sha256)).hexdigest() == manifest.key_image_sha256
        assert sorted(given_out(region, manifest)) == sorted(kept)
        assert subjects(region) == {"urn:oid:1.2.3": f"Patient/{manifest.person_id}"}

        decided = unknown_study(region, port, manifest.person_id)
        assert [(each.person_id, each.assigned_by) for each in decided] == [("", ""), (manifest.person_id, "clinic")]
        whose = dict.fromkeys(("urn:oid:1.2.3", "urn:oid:1.2.4"), f"Patient/{manifest.person_id}")
        until(lambda: subjects(region) == whose, 30, "the decision is in the index")


def given_out(region: Region, manifest: StudyManifest) -> list[bytes]:
    """Return the data sets of a study as WADO-RS gives them, once the index has all of its objects."""
    study = f"/dicom-web/studies/{manifest.study_uid}"
    with contextlib.closing(region.fhir()) as program:

        def indexed() -> bool:
            answer = program.get(f"{study}/instances")
            return answer.status_code == 200 and len(answer.json()) == len(manifest.objects)

        until(indexed, 60, "all objects are in the index")
        found = []
        for each in manifest.objects:
            address = f"{study}/series/{each.series_uid}/instances/{each.sop_instance_uid}"
            answer = program.get(address, headers={"Accept": "application/dicom"})
            assert answer.status_code == 200, answer.text
            assert hashlib.sha256(answer.content).hexdigest() == each.sha256
            found.append(part10.parted(answer.content).data)
        return found


def subjects(region: Region) -> dict[str, str]:
    """Return whose each study of the index is, by its identifier."""
    with contextlib.closing(region.fhir()) as program:
        entries = program.get("/fhir/R4/ImagingStudy").json().get("entry", [])
    found = [each["resource"] for each in entries]
    return {one["identifier"][0]["value"]: one["subject"].get("reference", "") for one in found}


def unknown_study(region: Region, port: int, person_id: str) -> list[StudyManifest]:
    """Send a study of nobody, have the clinic's doctor say whose it is, and return its manifests at the hub."""
    storescu(port, written(region.folder / "other", slices(1, "P-UNKNOWN", "1.2.4")))

    def told(count: int) -> list[StudyManifest]:
        found = [each for each in manifests(region) if each.study_uid == "1.2.4"]
        return found if len(found) == count else []

    (unassigned,) = until(lambda: told(1), 30, "its manifest is at the hub")
    with contextlib.closing(region.signed_in(region.page_url(), "clinic")) as doctor:
        listed = {each["study_id"]: each["patient_id"] for each in doctor.get("/api/v1/studies").json()["studies"]}
        assert listed[unassigned.study_id] == "P-UNKNOWN"
        answer = doctor.post(f"/api/v1/studies/{unassigned.study_id}/person", json={"person_id": person_id})
        assert answer.status_code == 200, answer.text
    return until(lambda: told(2), 30, "the decision is at the hub")

"""A head that a modality sends by C-STORE is read at the edge, and what was found is at the hub as DICOM objects.

Node, hub, broker, reader, worker and writer are real processes; the sender is DCMTK's; the bundle is signed, released
by the operator's command and comes over the transfer of files.
"""

import contextlib
import io
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from telemed import ai_report
from telemed.ai_report import Report
from telemed.ai_result import AiResult

from deploy.demo import model
from models.phantoms.swi_head import Mark, head
from tests.fakes import swi_dicom
from tests.fakes.dcmtk import needs_dcmtk, program
from tests.fakes.ports import free_port
from tests.region.region import Clinic, Region, until

pytestmark = [needs_dcmtk, pytest.mark.slow, pytest.mark.timeout(300)]
WITHIN_S = 90
EXTRA = """
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
[findings]
again_after_s = [1, 2]
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A node with the microbleed model on duty, and its hub."""

    region: Region
    port: int
    bundle_id: str

    def send(self, study: str) -> None:
        """Send the head as a modality does, under a study of its own."""
        files = swi_dicom.written(self.region.folder / study, study=study)
        command = [program("storescu"), "-aec", "YUANZHEN", "127.0.0.1", str(self.port), *map(str, files)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def at_hub(self, study: str, modality: str) -> Dataset | None:
        """Return the object of a modality that the hub gives out of a study; None where it has none."""
        with contextlib.closing(self.region.fhir()) as hub:
            answer = hub.get(f"/dicom-web/studies/{study}/instances", params={"Modality": modality})
            if answer.status_code != 200:
                return None
            (found,) = answer.json()
            series, instance = (found[tag]["Value"][0] for tag in ("0020000E", "00080018"))
            address = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"
            given = hub.get(address, headers={"Accept": "application/dicom"})
            assert given.status_code == 200, given.text
            return dcmread(io.BytesIO(given.content))

    def report(self, study: str) -> Report:
        """Return what the report of a study at the hub says, once it is there."""
        found = until(lambda: self.at_hub(study, "SR"), WITHIN_S, f"a report of {study} is at the hub")
        assert found is not None
        return ai_report.read_back(found)

    def audited(self) -> list[tuple[str, str]]:
        """Return action and result of what the node's trail says of studies and this bundle."""
        with contextlib.closing(sqlite3.connect(self.region.folder / "edge-clinic-buffer" / "care.db")) as database:
            asked = "SELECT action, result FROM audit WHERE object LIKE 'study/%/bundle/' || ? ORDER BY n"
            return [(action, result.split()[0]) for action, result in database.execute(asked, (self.bundle_id,))]

    @property
    def bundle_folder(self) -> Path:
        """Where the node keeps the bundle's files."""
        return self.region.folder / "edge-clinic-buffer" / "models" / "bundles" / self.bundle_id


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("region"), free_port()
    bundle = model.make(folder / "models")
    region = Region(folder, (Clinic(extra=EXTRA.format(port=port)),))
    region.prepare()
    config = folder / "edge-clinic.toml"
    config.write_text(config.read_text().replace("[transfer]\n", "[transfer]\nlook_every_s = 1\n"))
    try:
        region.start()
        found = Site(region, port, bundle.bundle_id)
        to = "baoshan-clinic/edge-clinic"
        region.run("cloud_hub", "release", "models/cmb.bundle", "--config", "hub.toml", "--to", to)
        until(lambda: "serving" in figures(region), WITHIN_S, "the bundle is on duty")
        yield found
    except BaseException:
        print(region.logs())
        raise
    finally:
        region.stop()


def figures(region: Region) -> str:
    """Return what the node's figures say of models that serve."""
    told = httpx.get(f"{region.page_url()}/metrics").text.splitlines()
    return "\n".join(line for line in told if line.startswith("edge_inference_serving{"))


def is_at(result: AiResult, bleed: Mark) -> bool:
    """Whether a finding points into a bleed, or at most 2 mm beside it."""
    gap_mm = float(np.linalg.norm(np.subtract(result.place.centre_mm, bleed.centre_mm)))
    return gap_mm < bleed.diameter_mm / 2 + 2


def test_every_bleed_of_a_head_that_a_modality_sent_is_in_a_report_at_the_hub(site: Site) -> None:
    study = "1.2.826.0.1.3680043.10.101"
    site.send(study)
    report = site.report(study)
    assert (report.outcome, report.bundle_id) == ("FOUND", site.bundle_id)
    truth = head(swi_dicom.HEAD, "hard").bleeds
    found = [[each for each in report.results if is_at(each, bleed)] for bleed in truth]
    assert [len(each) for each in found] == [1] * len(truth)
    assert [each[0].region for each in found] == [bleed.region.name.lower() for bleed in truth]
    assert any("PHANTOM-TRAINED" in comment for comment in report.comments)
    for modality in ("OT", "KO", "SEG"):
        until(lambda each=modality: site.at_hub(study, each), WITHIN_S, f"{modality} is at the hub")  # type: ignore[misc]
    picture, segments = site.at_hub(study, "OT"), site.at_hub(study, "SEG")
    assert picture is not None
    assert segments is not None
    assert (picture.BurnedInAnnotation, picture.TimezoneOffsetFromUTC) == ("YES", "+0800")
    assert len(segments.SegmentSequence) == len(report.results)
    assert (picture.PatientID, segments.PatientID) == (swi_dicom.PATIENT, swi_dicom.PATIENT)
    with contextlib.closing(site.region.fhir()) as hub:
        (series,) = hub.get(f"/dicom-web/studies/{study}/series", params={"Modality": "SR"}).json()
    # Not as a preview, which the hub counts for nothing.
    assert series["00201209"]["Value"] == [1]
    told = [("study-read", str(len(report.results)))]
    until(lambda: site.audited() == told, 30, f"the trail says so: {site.audited()}")


def test_with_one_weight_altered_on_the_disk_there_are_no_findings_and_the_report_says_why(site: Site) -> None:
    site.region.kill("edge-clinic")
    graph = site.bundle_folder / "detector.onnx"
    whole = graph.read_bytes()
    spoilt = bytearray(whole)
    spoilt[len(spoilt) // 2] ^= 1
    graph.write_bytes(spoilt)
    try:
        site.region.start_edge()
        site.region.until_ready(site.region.page_url())
        site.send("1.2.826.0.1.3680043.10.102")
        report = site.report("1.2.826.0.1.3680043.10.102")
        assert (report.outcome, report.reason, report.results) == ("NOT-READ", "engine-failed", ())
    finally:
        graph.write_bytes(whole)


def test_with_the_bundle_deleted_from_the_disk_there_are_no_findings_and_the_report_says_why(site: Site) -> None:
    site.region.kill("edge-clinic")
    shutil.rmtree(site.bundle_folder)
    site.region.start_edge()
    site.region.until_ready(site.region.page_url())
    site.send("1.2.826.0.1.3680043.10.103")
    report = site.report("1.2.826.0.1.3680043.10.103")
    assert (report.outcome, report.reason, report.results) == ("NOT-READ", "model-absent", ())
    told = [("study-not-read", "engine-failed"), ("study-not-read", "model-absent")]
    until(lambda: site.audited()[-2:] == told, 30, f"the trail says so: {site.audited()}")

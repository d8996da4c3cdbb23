"""From the hospital's archive to the hub: a real hub that is told of a person by a real node, and a real Orthanc."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.cloud_hub.imaging.archive_world import STUDY, of_archive
from tests.fakes import orthanc
from tests.region.region import Region, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), orthanc.needed]
SYSTEM = "BAOSHAN"
"""Of the numbers that the node of the region knows its persons by."""


def test_a_study_of_the_archive_is_fetched_by_a_hub_of_its_own_configuration(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "orthanc").mkdir()
    with orthanc.running(tmp_path / "orthanc") as archive:

        class Configured(Region):
            """A region whose hub knows the archive."""

            def _hub_config(self) -> str:
                (self.folder / "hub" / "archive-password").write_text(orthanc.PASSWORD + "\n")
                return Region._hub_config(self) + (
                    f'[imaging.archive]\nurl = "{archive.url}"\nidentifier_system = "{SYSTEM}"\n'
                    f'user = "{orthanc.USER}"\npassword_file = "hub/archive-password"\n'
                )

        with running(Configured(tmp_path / "region")) as region:
            number = region.clinics[0].patient_id("B02")
            archive.store(*of_archive(shared_data, STUDY, number, PatientBirthDate="19520314", PatientSex="F"))
            _look_and_fetch(region, number)


def _look_and_fetch(region: Region, number: str) -> None:
    with closing(region.fhir()) as fhir, closing(region.signed_in(region.hub_url, "physician")) as physician:
        person = until(lambda: _person(fhir.get(f"/fhir/R4/Patient?identifier={number}").json()), 20, "the person")
        path = f"/api/v1/persons/{person}/archive"
        (study,) = physician.get(path).json()["studies"]
        assert (study["study_uid"], study["images"], study["differs"]) == (STUDY, 4, [])
        begun = physician.post(f"{path}/{STUDY}/fetch")
        assert begun.status_code == 202, begun.text
        until(lambda: physician.get(f"{path}/{STUDY}/fetch").json()["state"] == "done", 30, "the study")
        rows = physician.get(f"/api/v1/studies?person={person}").json()
        assert [(row["study_uid"], row["images"]) for row in rows["studies"]] == [(STUDY, 4)]
        assert rows["has_archive"]


def _person(bundle: dict[str, list[dict[str, dict[str, str]]]]) -> str:
    return next((entry["resource"]["id"] for entry in bundle.get("entry", [])), "")

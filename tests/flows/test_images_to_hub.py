"""Studies of a site are read back by a DICOMweb client, each instance once and with its bytes, after kills too."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.pixels import pixel_array  # type: ignore[attr-defined]
from telemed import study
from telemed.study import StudyManifest

from tests.region.region import Clinic, Region, running, until

CLINIC = Clinic(beds=("B01",))
NAMES = ("CT1_UNC", "MR1_J2KR", "US1_RLE", "NM1_JLSL", "XA1_JPLL")
"""One of each modality: the others of a modality bear the same SOP Instance UID."""


def send(region: Region, name: str, content: bytes, group: str) -> None:
    (region.folder / name).write_bytes(content)
    more = ("--kind", "study", "--group", group, "--name", name)
    said = region.run("edge_node", "send", "--config", "edge-clinic.toml", *more, name)
    assert said.startswith("queued: ")


@contextlib.contextmanager
def client_of(region: Region) -> Iterator[DICOMwebClient]:
    with contextlib.closing(region.fhir()) as program, contextlib.closing(requests.Session()) as session:
        session.headers["Authorization"] = program.headers["Authorization"]
        yield DICOMwebClient(f"{region.hub_url}/dicom-web", session=session)


def images_of(client: DICOMwebClient) -> list[dict[str, Any]]:
    return list(client.search_for_instances(limit=1000))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_instance_is_at_the_hub_once_although_it_is_killed_on_the_way(
    tmp_path_factory: pytest.TempPathFactory, shared_data: Path
) -> None:
    files = {name: (shared_data / "dicom" / "wg04" / f"{name}.dcm").read_bytes() for name in NAMES}
    with running(Region(tmp_path_factory.mktemp("region"), (CLINIC,))) as region:
        for number, (name, content) in enumerate(files.items()):
            send(region, f"{name}.dcm", content, f"g{number}")
            manifest = study.pack(StudyManifest(f"g{number}", "", 1))
            send(region, study.MANIFEST_NAME, manifest, f"g{number}")
            if number == 2:
                region.kill("hub")
                region.start_hub()
        with client_of(region) as client:
            until(lambda: len(images_of(client)) >= len(files), 90, "all images")
            _compare(client, images_of(client), files)


def _compare(client: DICOMwebClient, found: list[dict[str, Any]], files: dict[str, bytes]) -> None:
    by_uid = {str(pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID): content for content in files.values()}
    assert len(by_uid) == len(files)
    for row in found:
        study, series, instance = (row[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        named: dict[str, Any] = {
            "study_instance_uid": study,
            "series_instance_uid": series,
            "sop_instance_uid": instance,
        }
        expected = pydicom.dcmread(io.BytesIO(by_uid.pop(instance)))
        assert client.retrieve_instance(**named, media_types=(("application/dicom", "*"),)) == expected
        assert client.retrieve_instance_metadata(**named)["00280010"]["Value"] == [expected.Rows]
        first: dict[str, Any] = {"frame_numbers": [1]} | named
        (stored,) = client.retrieve_instance_frames(**first, media_types=(("application/octet-stream", "*"),))
        (plain,) = client.retrieve_instance_frames(**first, media_types=("application/octet-stream",))
        assert plain == np.ascontiguousarray(pixel_array(expected, raw=True)).tobytes()
        assert (stored == plain) == (not expected.file_meta.TransferSyntaxUID.is_encapsulated)
        picture = client.retrieve_instance_rendered(**named, media_types=("image/png",))
        assert picture.startswith(b"\x89PNG")
    assert not by_uid

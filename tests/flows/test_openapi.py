"""Both faces answer as their OpenAPI documents say, whoever asks and whatever: no failure of the server, no other form.

FACES_EXAMPLES makes more requests of each operation than the default (`make fuzz-http`).
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from telemed import study
from telemed.study import StudyManifest

from tests.edge_node.node_process import EXAMPLE
from tests.fakes import dicom_files
from tests.fuzz.faces import Face, Signed
from tests.region.region import Clinic, Region, running, until
from tests.region.screen import Screen

EXAMPLES = int(os.environ.get("FACES_EXAMPLES", "20"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 10 * EXAMPLES)]
BED = "baoshan-clinic:B02"
REFERRAL = "01930000-0000-7000-8000-000000000001"
PEOPLE = ("physician", "clinic", "caregiver", "operator")


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    with running(Region(tmp_path_factory.mktemp("region"), (Clinic(),))) as started:
        yield started


@pytest.fixture(scope="module")
def known(region: Region) -> dict[str, str]:
    """A bed with measurements, an alarm, a referral and an image, by the names of parameters and fields."""
    at = datetime.now(UTC).strftime("%Y%m%d%H%M%S.000+0000")
    message = EXAMPLE.format(at=at, control=f"O{time.time_ns()}", hr=135, rr=26, spo2=90)
    with socket.create_connection(("127.0.0.1", region.ports["edge-clinic.hl7"]), timeout=10) as line:
        line.sendall(b"\x0b" + message.encode() + b"\x1c\r")
        assert b"MSA|AA" in line.recv(4096)
    body = {"referral_id": REFERRAL, "bed_key": BED, "main_signs": ["speech"], "callback": "13800000000"}
    with contextlib.closing(region.signed_in(region.page_url(), "clinic")) as doctor:
        assert doctor.post("/api/v1/referrals", json=body).status_code < 300
    with contextlib.closing(region.signed_in(region.hub_url, "physician")) as client:
        alarm = until(lambda: _snapshot(client)["alarms"], 20, "an alarm at the hub")[0]["alarm_id"]
        until(lambda: _snapshot(client)["referrals"], 20, "the referral at the hub")
    with contextlib.closing(region.fhir()) as client:
        ids = {name: _first_id(client, name) for name in ("Patient", "Device")}
    names = {"key": BED, "bed_key": BED, "alarm_id": alarm, "referral_id": REFERRAL} | image_of(region, ids["Patient"])
    return names | {"person_id": ids["Patient"], "fhir_id": ids["Device"]}


def image_of(region: Region, person_id: str) -> dict[str, str]:
    """Send an image of a person to the hub and return what names it and its parts."""
    manifest = study.pack(StudyManifest("g1", "1.2.3", 1, person_id))
    for name, content in ((study.OBJECT_NAME, dicom_files.image()), (study.MANIFEST_NAME, manifest)):
        (region.folder / name).write_bytes(content)
        more = ("--kind", "study", "--group", "g1", "--name", name)
        region.run("edge_node", "send", "--config", "edge-clinic.toml", *more, name)
    with contextlib.closing(region.fhir()) as client:
        asked = f"/fhir/R4/ImagingStudy?patient={person_id}"
        until(lambda: client.get(asked).json().get("entry"), 60, "the image is in the index")
    return {"study": "1.2.3", "series": "1.2.3.4", "instance": "1.2.3.4.5", "numbers": "1", "tags": "7FE00010"}


def _snapshot(client: httpx.Client) -> dict[str, Any]:
    screen = Screen(client)
    screen.socket.close()
    return screen.snapshot


def _first_id(client: httpx.Client, name: str) -> str:
    found = client.get(f"/fhir/R4/{name}").json()
    return str(found["entry"][0]["resource"]["id"])


def signed_in(region: Region, url: str, who: str) -> Signed:
    """How somebody signs in: a person by a session, the program by a token, a stranger not at all."""

    def signed() -> dict[str, Any]:
        if who == "stranger":
            return {"headers": {"Origin": url}}
        if who == "program":
            with contextlib.closing(region.fhir()) as client:
                return {"headers": {"Authorization": client.headers["Authorization"]}}
        with contextlib.closing(region.signed_in(url, who)) as client:
            headers = {"Origin": url, "X-CSRF-Token": client.headers["X-CSRF-Token"]}
            return {"headers": headers, "cookies": dict(client.cookies)}

    return signed


@pytest.mark.parametrize("who", [*PEOPLE, "program", "stranger"])
def test_the_hub_answers_as_its_document_says(region: Region, known: dict[str, str], who: str) -> None:
    face = Face(region.hub_url, signed_in(region, region.hub_url, who), EXAMPLES, known)
    face.run()
    assert json.dumps(face.wrong, indent=1, ensure_ascii=False) == "{}"
    assert face.requests > EXAMPLES


@pytest.mark.parametrize("who", ["physician", "clinic", "caregiver", "stranger"])
def test_a_bedside_page_answers_as_its_document_says(region: Region, known: dict[str, str], who: str) -> None:
    face = Face(region.page_url(), signed_in(region, region.page_url(), who), EXAMPLES, known)
    face.run()
    assert json.dumps(face.wrong, indent=1, ensure_ascii=False) == "{}"
    assert face.requests > EXAMPLES


def test_every_refusal_is_described_at_both_faces(region: Region) -> None:
    for url in (region.hub_url, region.page_url()):
        document = httpx.get(f"{url}/openapi.json").json()
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                lacking = {"400", "401", "403", "404", "429"} - set(operation["responses"])
                assert not lacking, f"{method} {path}"

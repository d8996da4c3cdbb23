"""DiagnosticReport: what is told of a model's report before and after physicians judged it, and to whom."""

import io
import json
from dataclasses import replace
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from sqlalchemy import Connection, select

from cloud_hub.access.oauth import OAuth
from cloud_hub.store import accounts
from cloud_hub.store.schema import audit
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.fhir.test_resources import problems_of, r4_schema
from tests.cloud_hub.imaging.test_dicomweb import pacs
from tests.cloud_hub.imaging.test_reviews import Desk, desk, results, said
from tests.cloud_hub.role_world import stores

__all__ = ["desk", "hashed", "pacs", "r4_schema", "results", "stores"]
pytestmark = pytest.mark.anyio
ADDRESS = "/fhir/R4/DiagnosticReport"


async def listed(desk: Desk, query: str = "") -> list[dict[str, Any]]:
    answer = await desk.pacs.get(ADDRESS + query)
    assert answer.status_code == 200, answer.text
    return [one["resource"] for one in answer.json().get("entry", [])]


async def told(desk: Desk) -> dict[str, Any]:
    (found,) = await listed(desk)
    return found


def observations(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in report["contained"] if one["resourceType"] == "Observation"]


async def judge(desk: Desk) -> None:
    """Change the first finding and reject the second."""
    finding = (await desk.report())["findings"][0]
    await desk.say(0, "edited", said=said(finding, diameter_mm=4.5))
    await desk.say(1, "rejected", reason="vessel")


async def test_a_report_is_preliminary_and_says_so_of_each_finding(desk: Desk) -> None:
    report = await told(desk)
    assert (report["status"], report["subject"]) == ("preliminary", {"reference": "Patient/own"})
    assert report["imagingStudy"] == [{"reference": f"ImagingStudy/{desk.key}"}]
    first, second = observations(report)
    assert report["result"] == [{"reference": f"#{one['id']}"} for one in (first, second)]
    assert (first["status"], second["status"]) == ("preliminary", "preliminary")
    assert first["component"][0]["valueQuantity"]["value"] == 3.0
    assert first["note"][0]["text"] == "AI 未经核实 · AI, not verified"
    assert "resultsInterpreter" not in report
    assert report["conclusion"].startswith("AI 未经核实")


async def test_it_is_final_once_each_finding_was_judged_and_names_who_did(desk: Desk) -> None:
    await judge(desk)
    report = await told(desk)
    assert (report["status"], report["resultsInterpreter"]) == ("final", [{"display": "clinic"}])
    assert not report["conclusion"].startswith("AI 未经核实")
    first, second = observations(report)
    assert (first["status"], first["component"][0]["valueQuantity"]["value"]) == ("final", 4.5)
    assert first["valueCodeableConcept"]["coding"][0]["code"] == "52101004"
    assert (second["valueCodeableConcept"]["coding"][0]["code"], "component" in second) == ("2667000", False)
    assert second["note"][0]["text"] == "rejected (vessel)"
    await desk.say(1, "accepted")
    assert (await told(desk))["status"] == "amended"


async def test_it_is_valid_by_the_r4_schema_before_and_after(desk: Desk, r4_schema: Any) -> None:
    for step in (None, judge):
        if step is not None:
            await step(desk)
        text = (await desk.pacs.get(f"{ADDRESS}/{(await told(desk))['id']}")).text
        assert problems_of(r4_schema, json.loads(text)) == []
        DiagnosticReport.model_validate_json(text)


async def test_a_search_finds_what_matches_and_pages_hold_each_once(desk: Desk) -> None:
    report = await told(desk)
    uid = report["identifier"][0]["value"]
    for query, count in {
        "?patient=own": 1,
        "?subject=Patient/other": 0,
        f"?_id={report['id']}": 1,
        f"?identifier={uid}": 1,
        "?identifier=1.2.3": 0,
        "?status=preliminary": 1,
        "?status=final,amended": 0,
        "?_count=1": 1,
    }.items():
        assert len(await listed(desk, query)) == count, query
    assert (await desk.pacs.get(f"{ADDRESS}?code=x")).status_code == 400
    assert (await desk.pacs.get(f"{ADDRESS}/{'0' * 64}")).status_code == 404


async def test_reading_is_written_down_each_time(desk: Desk) -> None:
    for _ in range(2):
        await told(desk)
    query = select(audit.c.object).where(audit.c.action == "diagnosticreport-read")
    rows = desk.pacs.stores.care.read_blocking(lambda c: c.execute(query).scalars().all())
    assert rows == ["Patient/own", "Patient/own"]


async def with_scope(desk: Desk, scope: str) -> httpx.Response:
    """Ask as a program that has this scope alone."""

    def narrow(connection: Connection) -> None:
        account = accounts.account_of(connection, "program")
        assert account is not None
        accounts.save_account(connection, replace(account, scopes=(scope,)), world.NOW_NS)

    await desk.pacs.stores.care.write(narrow)
    transport = desk.pacs.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    grant = await OAuth(transport.app.state.access).for_program("program", world.PASSWORD, "", "test")  # type: ignore[attr-defined]
    headers = {"Authorization": f"Bearer {grant.access_token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as client:
        return await client.get(ADDRESS)


async def test_a_program_needs_the_scope_for_reports(desk: Desk) -> None:
    assert (await with_scope(desk, "system/ImagingStudy.rs")).status_code == 403
    answer = await with_scope(desk, "system/DiagnosticReport.rs")
    assert (answer.status_code, answer.json()["total"]) == (200, 1)


async def test_a_report_is_as_closed_as_the_record_it_belongs_to(desk: Desk) -> None:
    report = await told(desk)
    await desk.sign_in("far-clinic")
    assert await listed(desk) == []
    assert (await desk.pacs.get(f"{ADDRESS}/{report['id']}")).status_code == 404


async def test_a_persons_own_copy_has_what_was_said_of_their_findings(desk: Desk) -> None:
    await judge(desk)
    answer = await desk.pacs.get("/api/v1/persons/own/export")
    with ZipFile(io.BytesIO(answer.content)) as copy:
        (line,) = copy.read("DiagnosticReport.ndjson").decode().splitlines()
    assert (json.loads(line)["status"], json.loads(line)["id"]) == ("final", (await told(desk))["id"])

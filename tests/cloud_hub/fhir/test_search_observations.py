"""Searching Observations over HTTP: the example of clinical 3.1 and what surrounds it."""

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from telemed.v1 import sample_pb2

pytestmark = pytest.mark.anyio
PATH = "/fhir/R4/Observation"


def body(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.text, parse_float=Decimal)
    return found


def resources(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [entry["resource"] for entry in body(response).get("entry", [])]


def codes_of(resource: dict[str, Any]) -> set[str]:
    return {coding["code"] for coding in resource["code"]["coding"]}


async def test_the_example_message_gives_exactly_the_six_observations_named_in_clinical_3_1(
    hub: Any, example_set: Any
) -> None:
    hub.store(1, example_set())
    async with hub.client() as client:
        found = resources(await client.get(PATH, params={"patient": "Patient/p-1"}))
    assert len(found) == 6
    by_mdc = {code: one for one in found for code in codes_of(one)}
    quantities = {code: by_mdc[code]["valueQuantity"] for code in ("147842", "151562", "150456", "149530", "150364")}
    assert [str(one["value"]) for one in quantities.values()] == ["112", "22", "93", "112", "38.40"]
    assert [one["code"] for one in quantities.values()] == ["/min", "/min", "%", "/min", "Cel"]
    assert {"2708-6", "59408-5"} <= codes_of(by_mdc["150456"])
    assert codes_of(by_mdc["147842"]) == {"8867-4", "147842"}
    panel = by_mdc["85354-9"]
    assert panel["effectiveDateTime"] == "2026-11-20T07:28:10+08:00"
    assert [str(one["valueQuantity"]["value"]) for one in panel["component"]] == ["105", "62", "76"]
    assert by_mdc["147842"]["effectiveDateTime"] == "2026-11-20T07:30:15+08:00"
    assert {one["subject"]["reference"] for one in found} == {"Patient/p-1"}
    assert {one["device"]["reference"] for one in found} == {"Device/baoshan-clinic.edge-clinic.mon-b02"}
    assert {one["status"] for one in found} == {"preliminary"}
    assert {tag["code"] for one in found for tag in one["meta"]["tag"]} == {"valid", "demo"}


async def test_a_cuff_reading_sent_again_with_every_message_is_one_observation(hub: Any, example_set: Any) -> None:
    hub.store(1, *(example_set(f"2026-11-20T07:{minute}:00+08:00") for minute in (29, 30, 31)))
    async with hub.client() as client:
        panels = resources(await client.get(PATH, params={"code": "http://loinc.org|85354-9"}))
        rates = resources(await client.get(PATH, params={"code": "urn:iso:std:iso:11073:10101|147842"}))
    assert len(panels) == 1
    assert len(rates) == 3


async def test_a_repeated_cuff_reading_stands_on_one_page_alone(hub: Any, example_set: Any) -> None:
    hub.store(1, *(example_set(f"2026-11-20T07:{minute}:00+08:00") for minute in (29, 30, 31)))
    seen: list[str] = []
    async with hub.client() as client:
        url: str | None = f"{PATH}?_count=2"
        while url:
            page = await client.get(url)
            seen += [one["id"] for one in resources(page)]
            url = next((link["url"] for link in body(page)["link"] if link["relation"] == "next"), None)
    assert len(seen) == len(set(seen)) == 16


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"code": "8867-4"}, 2),
        ({"code": "http://loinc.org|9279-1"}, 1),
        ({"code": "urn:iso:std:iso:11073:10101|150456"}, 1),
        ({"code": "http://loinc.org|150456"}, 0),
        ({"code": "9279-1,8310-5"}, 2),
        ({"code": "8480-6"}, 0),
        ({"combo-code": "8480-6"}, 1),
        ({"category": "vital-signs"}, 6),
        ({"category": "laboratory"}, 0),
        ({"date": "2026-11-20"}, 6),
        ({"date": "2026-11-19"}, 0),
        ({"date": "ge2026-11-20T07:29:00+08:00"}, 5),
        ({"date": "lt2026-11-19T23:29:00Z"}, 1),
        ({"date": "gt2026-11-20T07:30:15+08:00"}, 0),
        ({"date": "eq2026-11-20T07:28:10 08:00"}, 1),
        ({"date": "ne2026-11-20T07:28:10+08:00"}, 5),
        ({"device": "Device/baoshan-clinic.edge-clinic.mon-b02"}, 6),
        ({"device": "baoshan-clinic.edge-clinic.other"}, 0),
        ({"patient": "p-2"}, 0),
        ({"subject": "Patient/p-1", "code": "8310-5"}, 1),
        ({"_lastUpdated": "ge2026-11-21"}, 6),
        ({"_lastUpdated": "lt2026-11-21"}, 0),
    ],
)
async def test_each_parameter_narrows_as_it_says(
    hub: Any, example_set: Any, params: dict[str, str], expected: int
) -> None:
    hub.store(1, example_set())
    async with hub.client() as client:
        response = await client.get(PATH, params=params)
    assert len(resources(response)) == expected
    assert body(response)["total"] == expected


@pytest.mark.parametrize(
    "query",
    [
        "colour=red",
        "date=yesterday",
        "date=2026-13-01",
        "date=ap2026-11-20",
        "_count=1e9",
        "_count=0",
        "_count=-1",
        "patient=Group/1",
        "patient='%20OR%201=1",
        "code:not=1",
        "code=",
        "code=http://loinc.org|",
        "_cursor=xx",
        "_sort=date",
        "_format=xml",
    ],
)
async def test_a_parameter_that_cannot_be_understood_is_400_with_an_operation_outcome(hub: Any, query: str) -> None:
    async with hub.client() as client:
        response = await client.get(f"{PATH}?{query}")
    assert response.status_code == 400
    outcome = body(response)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["expression"]


async def test_pages_are_at_most_200_long_and_together_give_everything_once(hub: Any, numeric_set: Any) -> None:
    hub.store(1, *(numeric_set(second) for second in range(450)))
    hub.store(2, *(numeric_set(second) for second in range(30)))
    seen: list[str] = []
    sizes = []
    async with hub.client() as client:
        url: str | None = f"{PATH}?_count=1000000"
        while url:
            page = await client.get(url)
            sizes.append(len(resources(page)))
            seen += [one["id"] for one in resources(page)]
            url = next((link["url"] for link in body(page)["link"] if link["relation"] == "next"), None)
    assert sizes == [200, 200, 80]
    assert len(set(seen)) == 480


async def test_a_page_may_end_in_the_middle_of_a_set(hub: Any, example_set: Any) -> None:
    hub.store(1, example_set())
    seen: list[str] = []
    async with hub.client() as client:
        url: str | None = f"{PATH}?_count=4"
        while url:
            page = await client.get(url)
            seen += [one["id"] for one in resources(page)]
            url = next((link["url"] for link in body(page)["link"] if link["relation"] == "next"), None)
    assert len(seen) == 6
    assert len(set(seen)) == 6


async def test_many_records_of_one_instant_do_not_hold_up_the_scan(hub: Any, numeric_set: Any) -> None:
    hub.store(1, *(numeric_set(0, str(rate)) for rate in range(60, 160)))
    async with hub.client() as client:
        assert len(resources(await client.get(f"{PATH}?_count=200"))) == 100


async def test_each_observation_can_be_read_by_its_id(hub: Any, example_set: Any) -> None:
    hub.store(1, example_set())
    async with hub.client() as client:
        for one in resources(await client.get(PATH)):
            response = await client.get(f"{PATH}/{one['id']}")
            assert body(response) == one
            assert response.headers["content-type"] == "application/fhir+json"
        for unknown in ("nothing", "1-0-" + "0" * 40, "zz-1-" + "0" * 40, "f" * 16 + "-" + "f" * 12 + "-" + "0" * 40):
            assert (await client.get(f"{PATH}/{unknown}")).status_code == 404


async def test_a_retraction_replaces_the_value_it_retracts(hub: Any, example_set: Any) -> None:
    wrong = example_set()
    for value in wrong.values:
        value.status, value.quality = "W", sample_pb2.QUALITY_RETRACTED
    hub.store(1, example_set(), wrong)
    async with hub.client() as client:
        found = resources(await client.get(PATH))
    assert len(found) == 6
    assert {one["status"] for one in found} == {"entered-in-error"}


async def test_replayed_and_test_and_unassigned_values_have_no_subject(hub: Any, numeric_set: Any) -> None:
    replayed, test, unassigned = numeric_set(1), numeric_set(2), numeric_set(3)
    replayed.origin = sample_pb2.ORIGIN_REPLAY
    test.origin = sample_pb2.ORIGIN_TEST
    unassigned.assignment = sample_pb2.ASSIGNMENT_UNASSIGNED
    hub.store(1, replayed, test, unassigned)
    async with hub.client() as client:
        found = resources(await client.get(PATH))
        assert resources(await client.get(PATH, params={"patient": "p-1"})) == []
    assert len(found) == 3
    assert not any("subject" in one for one in found)
    assert [one["meta"]["tag"][1]["code"] for one in found] == ["unassigned", "test", "replay"]


async def test_measurements_from_before_the_stay_belong_to_nobody(hub: Any, example_set: Any) -> None:
    hub.store(1, example_set("2026-11-18T07:30:15+08:00", "2026-11-18T07:28:10+08:00"))
    async with hub.client() as client:
        found = resources(await client.get(PATH))
    assert len(found) == 6
    assert not any("subject" in one for one in found)


async def test_values_that_are_missing_or_implausible_have_a_reason_and_no_value(hub: Any, numeric_set: Any) -> None:
    missing, wild = numeric_set(1, ""), numeric_set(2, "400")
    missing.values[0].quality = sample_pb2.QUALITY_MISSING
    wild.values[0].quality = sample_pb2.QUALITY_IMPLAUSIBLE
    hub.store(1, missing, wild)
    async with hub.client() as client:
        newer, older = resources(await client.get(PATH))
    assert newer["dataAbsentReason"]["coding"][0]["code"] == "error"
    assert newer["extension"] == [{"url": "urn:yuanzhen:raw-value", "valueString": "400 /min"}]
    assert older["dataAbsentReason"]["coding"][0]["code"] == "unknown"
    assert "valueQuantity" not in newer | older


async def test_garbage_in_the_store_is_passed_over(hub: Any, example_set: Any) -> None:
    hub.store(1, example_set())
    hub.samples.write_blocking(lambda c: c.exec_driver_sql("UPDATE record SET payload = x'ffff'"))
    hub.store(1, example_set("2026-11-20T08:00:00+08:00"))
    async with hub.client() as client:
        assert len(resources(await client.get(PATH))) == 6


async def test_nothing_of_another_site_is_seen_and_its_patient_is_404_and_audited(
    hub: Any, example_set: Any, audit_of: Any
) -> None:
    hub.store(1, example_set())
    hub.store(2, example_set())
    async with hub.client("clinic-api") as client:
        found = resources(await client.get(PATH))
        assert {one["subject"]["reference"] for one in found} == {"Patient/p-1"}
        assert resources(await client.get(PATH, params={"patient": "p-2"})) == []
        assert (await client.get("/fhir/R4/Patient/p-2")).status_code == 404
        theirs = "heming-home.edge-home.mon-h01"
        assert (await client.get(f"/fhir/R4/Device/{theirs}")).status_code == 404
        assert [one["id"] for one in resources(await client.get("/fhir/R4/Patient"))] == ["p-1"]
    async with hub.client() as client:
        stranger = next(one for one in resources(await client.get(PATH, params={"patient": "p-2"})))
    async with hub.client("clinic-api") as client:
        assert (await client.get(f"{PATH}/{stranger['id']}")).status_code == 404
    assert ("clinic-api", "refused", "GET /fhir/R4/Patient/p-2", "not-found") in audit_of()
    assert ("clinic-api", "observation-read", "Patient/p-1", "ok") in audit_of()


async def test_a_token_reads_only_what_its_scopes_name(hub: Any, example_set: Any) -> None:
    hub.store(1, example_set())
    async with hub.client(scope="system/Observation.s") as client:
        found = resources(await client.get(PATH))
        assert (await client.get(f"{PATH}/{found[0]['id']}")).status_code == 403
        assert (await client.get("/fhir/R4/Patient")).status_code == 403
        assert (await client.get("/fhir/R4/Device")).status_code == 403


async def test_a_caregiver_sees_their_own_persons_measurements_and_nothing_else(hub: Any, example_set: Any) -> None:
    hub.store(1, example_set())
    hub.store(2, example_set(), example_set("2026-11-18T07:30:15+08:00", "2026-11-18T07:28:10+08:00"))
    opened = await hub.access.sign_in("caregiver", "amber-birch-cedar-0003", "here")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=hub.app), base_url="http://hub", cookies={"yz_session": opened.token}
    ) as client:
        found = resources(await client.get(PATH))
        assert len(found) == 6
        assert {one["subject"]["reference"] for one in found} == {"Patient/p-2"}
        assert resources(await client.get(PATH, params={"patient": "p-1"})) == []
        for path in ("Patient/p-1", "Patient/p-2", "Device"):
            assert (await client.get(f"/fhir/R4/{path}")).status_code == 403
    async with hub.client() as client:
        theirs = resources(await client.get(PATH, params={"patient": "p-1"}))[0]["id"]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=hub.app), base_url="http://hub", cookies={"yz_session": opened.token}
    ) as client:
        assert (await client.get(f"{PATH}/{theirs}")).status_code == 404


async def test_a_search_for_what_is_rare_ends_after_a_bounded_scan_with_a_link_to_go_on(
    hub: Any, numeric_set: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_hub.fhir.scan.SCAN_LIMIT", 100)
    hub.store(1, *(numeric_set(second) for second in range(250)))
    pages = 0
    async with hub.client() as client:
        url: str | None = f"{PATH}?code=8310-5"
        while url:
            page = await client.get(url)
            assert resources(page) == []
            pages += 1
            url = next((link["url"] for link in body(page)["link"] if link["relation"] == "next"), None)
    assert pages == 3


async def test_a_corrected_time_is_the_effective_one_and_the_observation_says_what_the_node_s_clock_said(
    hub: Any, example_set: Any
) -> None:
    hour_ns = 3600 * 10**9
    hub.store(1, example_set(at="2026-11-20T02:30:15+08:00", cuff_at="2026-11-20T02:28:10+08:00"), shift_ns=5 * hour_ns)
    async with hub.client() as client:
        found = resources(
            await client.get(PATH, params={"patient": "Patient/p-1", "date": "ge2026-11-20T07:00:00+08:00"})
        )
        again = [await client.get(f"{PATH}/{one['id']}") for one in found]

    assert len(found) == 6
    assert {one["effectiveDateTime"] for one in found} == {"2026-11-20T07:30:15+08:00", "2026-11-20T07:28:10+08:00"}
    assert all("the node's clock said 2026-11-20T02:" in one["note"][0]["text"] for one in found)
    assert [one.status_code for one in again] == [200] * 6

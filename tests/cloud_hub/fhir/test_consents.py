"""Consent: who agreed to what, one person at a time, to whom that may be told, and that it was looked at."""

from typing import Any

import pytest
from fhir.resources.R4B.consent import Consent
from sqlalchemy import Connection
from telemed.roles import Role
from telemed.topics import NodeAddress
from telemed.v1 import event_pb2

from cloud_hub.access.passwords import hash_password
from cloud_hub.fhir import consent_reads, record
from cloud_hub.store import events, persons
from cloud_hub.store.accounts import Account, save_account
from tests.cloud_hub.fhir.conftest import REGION, SECRET, Hub, ns
from tests.cloud_hub.fhir.test_resources import problems_of, r4_schema

__all__ = ["r4_schema"]
pytestmark = pytest.mark.anyio
SITE = "baoshan-clinic"
NODE = NodeAddress(REGION, SITE, "edge-clinic")
AT_NS = ns("2026-11-20T07:00:00+08:00")
DAY_NS = 86_400 * 10**9
FAMILY = ("son", "daughter")
SCOPE = "system/Consent.rs"


def given(purpose: str, **more: Any) -> dict[str, Any]:
    fields = {"person_id": "p-1", "giver": "self", "method": "verbal", **more}
    return {"consent_given": event_pb2.ConsentGiven(purpose=purpose, **fields)}


def withdrawn(purpose: str, grantee: str = "") -> dict[str, Any]:
    return {"consent_withdrawn": event_pb2.ConsentWithdrawn(person_id="p-1", purpose=purpose, grantee=grantee)}


def take(hub: Hub, *bodies: dict[str, Any]) -> None:
    """Let the site's log have these steps, a day apart."""

    def work(c: Connection) -> None:
        for body in bodies:
            said = next(iter(body.values()))
            key = f"{said.person_id}/{said.purpose}"
            n = events.head(c, SITE) + 1
            event = event_pb2.Event(
                event_id=f"e-{n}",
                aggregate_type="consent",
                aggregate_id=key,
                base_version=events.version(c, NODE, "consent", key),
                at_unix_ns=AT_NS + n * DAY_NS,
                actor=event_pb2.Actor(username="clinic", role="clinic"),
                **body,
            )
            assert not events.take_proposal(c, NODE, event, AT_NS).refused

    hub.care.write_blocking(work)


def fill(hub: Hub) -> None:
    """p-1 agreed to care, to research by a guardian, to two of the family; took video back, and the camera is over."""

    def people(c: Connection) -> None:
        hashed = hash_password(SECRET)
        save_account(c, Account("clinic", Role.CLINIC, "黄", "H", (SITE,), hashed), 1)
        save_account(c, Account("reader", Role.PROGRAM, "读", "R", (), hashed, (SCOPE, "system/*.rs")), 1)
        save_account(c, Account("far-reader", Role.PROGRAM, "远", "F", ("heming-home",), hashed, (SCOPE,)), 1)

    hub.care.write_blocking(people)
    take(
        hub,
        given("C1", method="paper"),
        given("C7", giver="guardian", giver_name="儿子", method="signature"),
        *(given("C5", grantee=name) for name in FAMILY),
        given("C3"),
        withdrawn("C3"),
        given("C6", until_unix_ns=AT_NS + 30 * DAY_NS),
    )


async def ask(hub: Hub, path: str, client_id: str = "reader", scope: str = SCOPE) -> Any:
    async with hub.client(client_id, scope) as client:
        return await client.get(f"/fhir/R4/Consent{path}")


def found(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [one["resource"] for one in answer.json().get("entry", [])]


async def test_each_consent_is_a_resource_that_r4_accepts(hub: Hub, r4_schema: Any) -> None:
    fill(hub)
    resources = found(await ask(hub, "?patient=Patient/p-1"))
    assert {one["status"] for one in resources} == {"active", "inactive"}
    for one in resources:
        assert problems_of(r4_schema, one) == []
        Consent.model_validate(one)
        alone = await ask(hub, f"/{one['id']}")
        assert alone.json() == one


async def test_what_was_agreed_to_when_by_whom_and_what_for_is_said(hub: Hub) -> None:
    fill(hub)
    (research,) = found(await ask(hub, "?patient=p-1&category=C7"))
    assert research["scope"]["coding"][0]["code"] == "research"
    assert research["patient"] == {"reference": "Patient/p-1"}
    assert research["dateTime"].startswith("2026-11-21T23:00:00")
    assert [one["code"] for one in research["provision"]["purpose"]] == ["C7", "HRESCH"]
    assert research["provision"]["type"] == "permit"
    assert research["verification"] == [
        {"verified": True, "verifiedWith": {"display": "儿子"}, "verificationDate": research["dateTime"]}
    ]
    (own,) = found(await ask(hub, "?patient=p-1&category=C1"))
    assert own["performer"] == [{"reference": "Patient/p-1"}]
    assert own["extension"] == [{"url": record.CONSENT_METHOD, "valueCode": "paper"}]


async def test_what_was_taken_back_or_is_over_denies(hub: Hub) -> None:
    fill(hub)
    gone = found(await ask(hub, "?patient=p-1&status=inactive"))
    assert [one["id"] for one in gone] == ["p-1-C3"]
    assert gone[0]["provision"]["type"] == "deny"
    assert "verification" not in gone[0]
    p1 = hub.care.read_blocking(lambda c: persons.person(c, REGION, "p-1"))
    assert p1 is not None
    late = hub.care.read_blocking(lambda c: consent_reads.of_person(c, p1, AT_NS + 60 * DAY_NS))
    (camera,) = [dict[str, Any](one.resource) for one in late if one.fhir_id == "p-1-C6"]
    assert (camera["status"], camera["provision"]["type"]) == ("inactive", "deny")
    assert camera["dateTime"].startswith("2026-12-19")


async def test_an_id_stays_with_its_consent_when_another_one_ends(hub: Hub) -> None:
    fill(hub)
    before = {one["provision"]["actor"][0]["reference"]["display"]: one for one in await family(hub)}
    assert before.keys() == set(FAMILY)
    assert before["son"]["id"] != before["daughter"]["id"]
    take(hub, withdrawn("C5", "son"))
    assert await family(hub) == [before["daughter"]]


async def family(hub: Hub) -> list[dict[str, Any]]:
    return found(await ask(hub, "?patient=p-1&category=urn:yuanzhen:consent-purpose|C5"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("patient=p-1", 6),
        ("patient=p-1&status=active", 5),
        ("patient=p-1&status=active,inactive&category=C1,C3", 2),
        ("patient=p-1&category=http://loinc.org|59284-0", 6),
        ("patient=p-1&category=C9", 0),
        ("_id=p-1-C1", 1),
        ("_id=p-1-C1,p-1-C7&patient=p-1", 2),
        ("_id=p-1-C1&patient=p-2", 0),
        ("patient=p-1&date=ge2026-11-25", 2),
        ("patient=nobody", 0),
        ("_id=nonsense", 0),
    ],
)
async def test_a_search_finds_what_it_names(hub: Hub, query: str, expected: int) -> None:
    fill(hub)
    assert len(found(await ask(hub, f"?{query}"))) == expected


async def test_pages_follow_each_other_without_a_hole(hub: Hub) -> None:
    fill(hub)
    seen: list[str] = []
    path = "?patient=p-1&_count=4"
    for _ in range(2):
        answer = await ask(hub, path)
        seen += [one["id"] for one in found(answer)]
        following = [one["url"] for one in answer.json()["link"] if one["relation"] == "next"]
        path = f"?{following[0].partition('?')[2]}" if following else ""
    assert (path, len(seen), len(set(seen))) == ("", 6, 6)


@pytest.mark.parametrize(
    "query", ["?patient=Device/x", "?_cursor=x", "?date=never", "?nurse=p-1", "?patient=p-1&status:not=x"]
)
async def test_what_is_not_understood_is_refused(hub: Hub, query: str) -> None:
    fill(hub)
    answer = await ask(hub, query)
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


async def test_a_search_is_for_few_persons(hub: Hub) -> None:
    fill(hub)
    names = ",".join(f"p-{number}" for number in range(consent_reads.PERSONS_LIMIT + 1))
    assert (await ask(hub, f"?patient={names}")).status_code == 400


async def test_only_a_scope_that_names_consent_opens_it(hub: Hub) -> None:
    fill(hub)
    assert (await ask(hub, "?patient=p-1", scope="system/*.rs")).status_code == 403
    assert (await ask(hub, "/p-1-C1", scope="system/*.rs")).status_code == 403
    assert (await ask(hub, "?patient=p-1")).status_code == 200


async def test_a_person_out_of_scope_is_not_there(hub: Hub) -> None:
    fill(hub)
    assert found(await ask(hub, "?patient=p-1", "far-reader")) == []
    assert (await ask(hub, "/p-1-C1", "far-reader")).status_code == 404
    assert (await ask(hub, "/p-1-C9")).status_code == 404
    # Whoever said no to being shown outside of their site is not shown by their consents either.
    take(hub, withdrawn("C2"))
    assert found(await ask(hub, "?patient=p-1")) == []


async def test_every_look_is_in_the_trail_also_one_that_found_no_consent(hub: Hub, audit_of: Any) -> None:
    fill(hub)
    await ask(hub, "?patient=p-1,p-2,nobody&category=C1")
    await ask(hub, "/p-1-C1")
    await ask(hub, "?patient=p-1", "far-reader")
    looked = [(actor, target) for actor, action, target, _ in audit_of() if action == "consent-read"]
    assert looked == [("reader", "Patient/p-1"), ("reader", "Patient/p-2"), ("reader", "Patient/p-1")]


async def test_a_page_that_is_full_notes_nobody_of_whom_it_says_nothing(hub: Hub, audit_of: Any) -> None:
    fill(hub)
    third = event_pb2.PersonRegistered(family_name="三")
    hub.care.write_blocking(lambda c: persons.save_person(c, (REGION, SITE), "p-3", third, AT_NS))
    take(hub, given("C1", person_id="p-3"))

    def looked() -> list[str]:
        return [target for _, action, target, _ in audit_of() if action == "consent-read"]

    query = "?patient=p-1,p-2,p-3&status=active&_count=5"
    answer = await ask(hub, query)
    assert [one["patient"]["reference"] for one in found(answer)] == ["Patient/p-1"] * 5
    assert looked() == ["Patient/p-1"]
    (following,) = [one["url"] for one in answer.json()["link"] if one["relation"] == "next"]
    assert len(found(await ask(hub, f"?{following.partition('?')[2]}"))) == 1
    assert looked() == ["Patient/p-1", "Patient/p-1", "Patient/p-2", "Patient/p-3"]

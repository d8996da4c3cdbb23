"""AuditEvent: who looked at whom, from the hub's trail and those of the nodes, each within scope."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from sqlalchemy import Connection
from telemed import audit
from telemed.audit import Entry
from telemed.audit_wire import entry_message
from telemed.roles import Role
from telemed.topics import NodeAddress

from cloud_hub.access.passwords import hash_password
from cloud_hub.access.rights import Principal
from cloud_hub.fhir import audit_event, audit_reads, parameters
from cloud_hub.fhir.audit_reads import ROUNDS_LIMIT, AuditSearch
from cloud_hub.store import audit_search, audit_trail, edge_trails
from cloud_hub.store.accounts import Account, save_account
from cloud_hub.store.audit_search import HUB, Event, Filter
from tests.cloud_hub.fhir.conftest import REGION, SECRET, Hub, ns
from tests.cloud_hub.fhir.test_resources import problems_of, r4_schema

__all__ = ["r4_schema"]
pytestmark = pytest.mark.anyio
AT_NS = ns("2026-11-20T07:00:00+08:00")
HOME = NodeAddress(REGION, "heming-home", "edge-home")
TRAIL = "e" * 32
MINUTE_NS = 60 * 10**9
FAR = [
    parameters.write_cursor(at_ns, "", n, "")
    for at_ns, n in (("9" * 19, 1), (1, "9" * 19), (1 << 63, 1), (1, 1 << 63), ("1" * 20, 1), ("\u0663", 1), ("-1", 1))
]


def entry(minute: int, actor: str, action: str, target: str, result: str = "ok", site: str = "") -> Entry:
    return Entry(AT_NS + minute * MINUTE_NS, actor, "physician", action, target, result, REGION, site)


def fill(hub: Hub) -> None:
    """Put entries into both trails: views of p-1 and p-2, and what is about no person."""
    own = [
        entry(0, "duzhong", "sign-in", "account/duzhong", "sign-in-refused"),
        entry(1, "duzhong", "sign-in", "account/duzhong"),
        entry(2, "duzhong", "live-view", "Patient/p-1"),
        entry(2, "duzhong", "live-view", "Patient/p-2"),
        entry(6, "edge-home", "edge-head", f"trail/{TRAIL}/3", "0" * 40, "heming-home"),
    ]
    entries = [
        entry(2, "xiaohe", "live-view", "Patient/p-2", site="heming-home"),
        entry(4, "xiaohe", "alarm-accept", "alarm/a1", site="heming-home"),
        entry(5, "edge-home", "shed", "stream/mon-h01/wave/0/1-3", "no-room", "heming-home"),
    ]
    links = audit.chain(TRAIL, 0, audit.begin(TRAIL), entries)

    def work(c: Connection) -> None:
        audit_trail.append(c, own)
        for link in links:
            edge_trails.take_entry(c, HOME, entry_message(TRAIL, link), AT_NS)
        scopes = ("system/AuditEvent.rs", "system/*.rs")
        hashed = hash_password(SECRET)
        save_account(c, Account("auditor", Role.PROGRAM, "审", "A", (), hashed, scopes), 1)
        save_account(c, Account("site-auditor", Role.PROGRAM, "审", "A", ("baoshan-clinic",), hashed, scopes), 1)

    hub.care.write_blocking(work)


def told(answer: Any) -> list[tuple[str, str]]:
    """The actions and agents of a bundle, in its order."""
    assert answer.status_code == 200, answer.text
    rows = [one["resource"] for one in answer.json().get("entry", [])]
    return [(row["subtype"][-1]["code"], row["agent"][0]["altId"]) for row in rows]


async def ask(hub: Hub, query: str, client_id: str = "auditor") -> Any:
    async with hub.client(client_id, "system/AuditEvent.rs") as client:
        return await client.get(f"/fhir/R4/AuditEvent?{query}")


async def test_who_looked_at_a_person_is_found_in_both_trails(hub: Hub) -> None:
    fill(hub)
    looked = [("live-view", "xiaohe"), ("live-view", "duzhong")]
    assert told(await ask(hub, "patient=p-2&subtype=live-view")) == looked
    assert told(await ask(hub, "entity=Patient/p-2&subtype=live-view")) == looked
    assert told(await ask(hub, "patient=p-1")) == [("live-view", "duzhong")]


async def test_looking_into_the_trail_is_in_the_trail(hub: Hub) -> None:
    fill(hub)
    await ask(hub, "patient=p-1")
    assert told(await ask(hub, "patient=p-1&subtype=audit-read")) == [("audit-read", "auditor")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("agent=xiaohe", ["alarm-accept", "live-view"]),
        ("agent=Practitioner/xiaohe", ["alarm-accept", "live-view"]),
        ("altid=xiaohe,edge-home", ["edge-head", "shed", "alarm-accept", "live-view", "edge-trail"]),
        ("type=110114", ["sign-in", "sign-in"]),
        (
            f"type={audit_event.DICOM}|110110",
            ["alarm-accept", "live-view", "live-view", "live-view"],
        ),
        ("subtype=110122&outcome=4", ["sign-in"]),
        ("outcome=4", ["sign-in"]),
        ("date=ge2026-11-20T07:04:00%2B08:00", ["edge-head", "shed", "alarm-accept"]),
        ("date=2026-11-20T07:02%2B08:00", ["live-view", "live-view", "live-view"]),
        ("date=2026-11-19", []),
        ("patient=nobody", []),
    ],
)
async def test_every_parameter_narrows_the_search(hub: Hub, query: str, expected: list[str]) -> None:
    fill(hub)
    found = [action for action, agent in told(await ask(hub, query + "&date=lt2026-11-21")) if agent != "auditor"]
    assert found == expected


@pytest.mark.parametrize(
    "query", ["entity=Device/x", "date=x", "who=x", "_cursor=eHw", "agent=", *(f"_cursor={one}" for one in FAR)]
)
async def test_what_cannot_be_understood_is_refused(hub: Hub, query: str) -> None:
    fill(hub)
    assert (await ask(hub, query)).status_code == 400


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_pages_miss_nothing_and_repeat_nothing(hub_on_both: Hub, count: int) -> None:
    fill(hub_on_both)
    who = Principal("a", Role.PROGRAM, "", "", REGION, None)
    search = AuditSearch.read([("_count", str(count)), ("date", "lt2026-11-21")], timedelta(hours=8))
    found: list[Event] = []
    while True:
        page = hub_on_both.care.read_blocking(lambda c, s=search: audit_reads.events(c, who, s))  # type: ignore[misc]
        found += page.events
        if page.following is None:
            break
        search = replace(search, start=page.following)
    positions = [one.position for one in found]
    assert positions == sorted(set(positions), reverse=True)
    assert len(positions) == 9


async def test_a_site_sees_what_it_wrote_and_what_is_about_its_persons_and_nothing_else(hub: Hub) -> None:
    fill(hub)
    assert told(await ask(hub, "date=lt2026-11-21", "site-auditor")) == [("live-view", "duzhong")]
    (home,) = (await ask(hub, "agent=xiaohe&subtype=live-view")).json()["entry"]
    async with hub.client("site-auditor", "system/AuditEvent.rs") as client:
        assert (await client.get(f"/fhir/R4/AuditEvent/{home['resource']['id']}")).status_code == 404


async def test_a_caregiver_sees_who_looked_at_their_own_person_wherever_that_was_written(hub: Hub) -> None:
    fill(hub)
    who = Principal("family", Role.CAREGIVER, "", "", REGION, frozenset({"heming-home"}), persons=frozenset({"p-2"}))
    for query, expected in (([], 2), ([("patient", "p-2")], 2), ([("patient", "p-1")], 0)):
        search = AuditSearch.read(query, timedelta(hours=8))
        page = hub.care.read_blocking(lambda c, s=search: audit_reads.events(c, who, s))  # type: ignore[misc]
        assert len(page.events) == expected


async def test_one_event_can_be_read_by_its_id_and_no_other_id_is_one(hub: Hub) -> None:
    fill(hub)
    found = (await ask(hub, "date=lt2026-11-21")).json()["entry"]
    async with hub.client("auditor", "system/AuditEvent.rs") as client:
        for one in found:
            answer = await client.get(f"/fhir/R4/AuditEvent/{one['resource']['id']}")
            assert answer.json() == one["resource"]
        for odd in ("h-1-00000000", "h-x-00000000", "e--1-00000000", "x", "h-1", f"h-{'9' * 30}-00000000"):
            assert (await client.get(f"/fhir/R4/AuditEvent/{odd}")).status_code == 404


async def test_an_id_is_found_at_once_whatever_its_age_and_no_wildcard_is_an_id(hub: Hub) -> None:
    fill(hub)
    ids = [one["resource"]["id"] for one in (await ask(hub, "date=lt2026-11-21")).json()["entry"]]
    hub.care.write_blocking(
        lambda c: audit_trail.append(c, [entry(60 + number, "d", "x", "y") for number in range(2 * ROUNDS_LIMIT)])
    )
    for one in ids:
        found = (await ask(hub, f"_id={one}&_count=1")).json()
        assert [row["resource"]["id"] for row in found["entry"]] == [one]
    both = (await ask(hub, f"_id={ids[-1]},{ids[0]},h-1-xxxxxxxx")).json()
    assert [row["resource"]["id"] for row in both["entry"]] == [ids[0], ids[-1]]
    pages = [ids[0]], [ids[-1]]
    answer = (await ask(hub, f"_id={ids[-1]},{ids[0]}&_count=1")).json()
    assert [row["resource"]["id"] for row in answer["entry"]] == pages[0]
    position = answer["link"][1]["url"].rpartition("_cursor=")[2]
    answer = (await ask(hub, f"_id={ids[-1]},{ids[0]}&_count=1&_cursor={position}")).json()
    assert [row["resource"]["id"] for row in answer["entry"]] == pages[1]
    for query in (f"_id={ids[0]}&_id={ids[1]}", f"_id={ids[0]}&subtype=nothing", f"_id={ids[0]}&patient=p-9"):
        assert (await ask(hub, query)).json().get("entry", []) == []
    for shown in ("%" * 8, "_" * 8):
        for trail in (HUB, TRAIL):
            place = (trail, 1, shown)
            assert hub.care.read_blocking(lambda c, p=place: audit_search.one(c, Filter(REGION), *p)) is None  # type: ignore[misc]


async def test_an_action_is_looked_for_in_the_store_however_rare_it_is(hub: Hub) -> None:
    fill(hub)
    hub.care.write_blocking(
        lambda c: audit_trail.append(c, [entry(60 + number, "d", "x", "y") for number in range(2 * ROUNDS_LIMIT)])
    )
    for query in ("subtype=shed", f"subtype={audit_event.ACTION}|shed"):
        answer = await ask(hub, f"{query}&_count=1")
        assert told(answer) == [("shed", "edge-home")]
        assert answer.json()["total"] == 1


async def test_nobody_sees_it_without_the_right_and_the_scope_by_its_name(hub: Hub) -> None:
    fill(hub)
    for client_id, scope in (("clinic-api", ""), ("auditor", "system/*.rs")):
        async with hub.client(client_id, scope) as client:
            assert (await client.get("/fhir/R4/AuditEvent")).status_code == 403


async def test_every_event_is_valid_by_the_schema_of_r4(hub: Hub, r4_schema: Any) -> None:
    fill(hub)
    hub.care.write_blocking(
        lambda c: audit_trail.append(c, [entry(9, "d", "break-glass", "Patient/p-1"), entry(9, "", "x", "")])
    )
    for one in (await ask(hub, "_count=50")).json()["entry"]:
        resource = one["resource"]
        assert problems_of(r4_schema, resource) == []
        AuditEvent.model_validate(resource)


def test_a_refusal_and_a_break_of_the_glass_can_be_told_from_the_rest() -> None:
    glass = audit_event.compose(Event(entry(0, "d", "break-glass-begin", "Patient/p-1"), "", 1, "0" * 64), timedelta(0))
    assert glass["purposeOfEvent"] == [{"coding": [{"system": audit_event.REASON, "code": "BTG"}]}]
    read = Event(entry(0, "d", "patient-read", "Patient/p-1", "ok-btg"), "", 1, "0" * 64)
    assert audit_event.outcome_of(read) == audit_event.SUCCESS
    assert audit_event.compose(read, timedelta(0))["purposeOfEvent"] == glass["purposeOfEvent"]
    begun = Event(entry(0, "d", "authority-next", "authority/next", "begun"), "", 1, "0" * 64)
    assert audit_event.outcome_of(begun) == audit_event.SUCCESS
    refused = Event(entry(0, "d", "refused", "GET /x", "not-found"), "", 1, "0" * 64)
    assert audit_event.outcome_of(refused) == audit_event.REFUSED
    assert audit_event.kind_of("refused").code == "110113"

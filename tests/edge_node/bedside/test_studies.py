"""Studies at the bedside: what the images say stands beside a person's decision whose they are."""

import httpx
import pytest

from .conftest import START_NS, House, Study, sign_in

pytestmark = pytest.mark.anyio
PATH = "/api/v1/studies"


async def test_a_study_of_nobody_is_shown_with_what_its_images_say(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    assert (await client.get(PATH)).json() == {
        "studies": [
            {
                "study_id": "s-1",
                "person_id": "",
                "assigned_by": "",
                "patient_id": "P-UNKNOWN",
                "patient_name": "Gu^Yu",
                "birth_date": "19520314",
                "study_date": "20261126",
                "description": "Head",
                "is_mixed": False,
                "conflicts": 0,
                "newest_ms": START_NS // 1_000_000,
                "is_here": True,
            }
        ]
    }


async def test_the_list_comes_page_by_page_and_only_what_a_page_shows_is_written_down(
    client: httpx.AsyncClient, house: House
) -> None:
    assert house.images is not None
    house.images.older = tuple(Study(f"s-{number}") for number in range(2, 6))
    await sign_in(client)
    seen, after = [], ""
    while page := (await client.get(PATH, params={"limit": 2, "after": after})).json()["studies"]:
        seen += [one["study_id"] for one in page]
        after = seen[-1]
        shown = [entry[2] for entry in house.audit.entries if entry[1] == "study-read"]
        assert shown == [f"study/{study_id}" for study_id in seen]
    assert seen == [f"s-{number}" for number in range(1, 6)]
    assert (await client.get(PATH, params={"limit": 1000})).status_code == 422


async def test_a_decision_is_kept_with_who_made_it_and_written_down(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    answer = await client.post(f"{PATH}/s-1/person", json={"person_id": "p-2"})
    assert answer.status_code == 200
    assert [(one["person_id"], one["assigned_by"]) for one in answer.json()["studies"]] == [("p-2", "clinic")]
    assert ("clinic", "study-assign", "Patient/p-2/study/s-1", "ok") in house.audit.entries
    await client.get(PATH)


async def test_whom_the_list_shows_is_written_down_and_so_is_what_is_nobodys_yet(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    for _ in range(2):
        await client.get(PATH)
    await client.post(f"{PATH}/s-1/person", json={"person_id": "p-2"})
    await client.get(PATH)
    shown = [entry for entry in house.audit.entries if entry[1] == "study-read"]
    assert shown == [("clinic", "study-read", "study/s-1", "ok"), ("clinic", "study-read", "Patient/p-2", "ok")]


@pytest.mark.parametrize(("study_id", "person_id"), [("s-1", "p-99"), ("s-99", "p-1")])
async def test_nobody_and_nothing_can_be_named(
    client: httpx.AsyncClient, house: House, study_id: str, person_id: str
) -> None:
    await sign_in(client)
    answer = await client.post(f"{PATH}/{study_id}/person", json={"person_id": person_id})
    assert answer.status_code == 404
    assert house.images is not None
    assert house.images.study.person_id == ""
    assert [entry for entry in house.audit.entries if entry[1] == "study-assign"] == []


async def test_what_could_not_be_stored_is_said_so(client: httpx.AsyncClient, house: House) -> None:
    assert house.images is not None
    house.images.is_failing = True
    await sign_in(client)
    answer = await client.post(f"{PATH}/s-1/person", json={"person_id": "p-2"})
    assert answer.status_code == 500
    assert "disk" not in answer.text
    assert [entry for entry in house.audit.entries if entry[1] == "study-assign"] == []


async def test_a_node_without_images_has_none(client: httpx.AsyncClient, house: House) -> None:
    object.__setattr__(house.station.around, "studies", None)
    await sign_in(client)
    assert (await client.get(PATH)).json() == {"studies": []}
    assert (await client.post(f"{PATH}/s-1/person", json={"person_id": "p-2"})).status_code == 404

"""STOW-RS at the bedside's address: each file is answered for by itself, and only who may store is heard."""

from collections.abc import AsyncIterator

import httpx
import pytest

from edge_node.bedside.jsonguard import BODY_LIMIT_BYTES
from edge_node.bedside.refusals import STRANGERS_A_MINUTE
from edge_node.bedside.store_routes import MOST_PARTS

from .conftest import TOKEN, House, Images, multipart, sign_in

pytestmark = pytest.mark.anyio
PATH = "/dicom-web/studies"
DEVICE = {"authorization": f"Bearer {TOKEN}"}


def images(house: House) -> Images:
    assert house.images is not None
    return house.images


async def stored(
    client: httpx.AsyncClient, *files: bytes, path: str = PATH, kind: str = "application/dicom"
) -> httpx.Response:
    body = multipart(*files, kind=kind)
    return await client.post(path, content=body["content"], headers=body["headers"] | DEVICE)


async def test_a_device_stores_with_its_token_and_is_told_of_each_file(client: httpx.AsyncClient, house: House) -> None:
    answer = await stored(client, b"one", b"two")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert [each[0] for each in images(house).taken] == ["SCANNER"] * 2
    assert [each[2] for each in images(house).taken] == [b"one", b"two"]
    told = answer.json()
    assert "00081198" not in told
    assert [each["00081155"]["Value"] for each in told["00081199"]["Value"]] == [["1.2.3.4.1"], ["1.2.3.4.2"]]
    assert house.audit.entries == [("SCANNER", "images-store", "study/1.2.3", "ok")]
    assert list(images(house).folder.iterdir()) == []


async def test_a_signed_in_doctor_stores_with_the_token_of_the_session(client: httpx.AsyncClient, house: House) -> None:
    body = multipart(b"one")
    await sign_in(client)
    assert (await client.post(f"{PATH}/1.2.3", **body)).status_code == 200
    assert images(house).taken == [("STOW", "1.2.3", b"one")]
    assert ("clinic", "images-store", "study/1.2.3", "ok") in house.audit.entries
    del client.headers["X-CSRF-Token"]
    assert (await client.post(PATH, **body)).status_code == 403


async def test_tokens_of_nobody_are_written_down_and_a_crowd_of_them_once_a_minute(
    client: httpx.AsyncClient, house: House
) -> None:
    body = multipart(b"one")
    for _ in range(STRANGERS_A_MINUTE + 5):
        answer = await client.post(
            PATH, content=body["content"], headers=body["headers"] | {"authorization": "Bearer x"}
        )
        assert answer.status_code == 401
    told = [("", "images-store", "token", "token-refused")] * STRANGERS_A_MINUTE
    assert house.audit.entries == [*told, ("", "images-store", "token", "many-refused")]


@pytest.mark.parametrize("header", ["Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x"])
async def test_nobody_else_stores_anything(client: httpx.AsyncClient, house: House, header: str) -> None:
    body = multipart(b"one")
    for headers in ({}, {"authorization": header}):
        assert (await client.post(PATH, content=body["content"], headers=body["headers"] | headers)).status_code == 401
    await sign_in(client)
    answer = await client.post(PATH, content=body["content"], headers=body["headers"] | {"authorization": header})
    assert answer.status_code == 401, "a wrong token is not made good by a session"
    assert images(house).taken == []


async def test_what_is_not_stored_is_named_with_its_reason_and_a_conflict_with_a_warning(
    client: httpx.AsyncClient, house: House
) -> None:
    images(house).statuses = {b"bad": 0xC000, b"again": 0xB000}
    answer = await stored(client, b"good", b"bad", b"again")
    assert answer.status_code == 202
    told = answer.json()
    (lost,) = told["00081198"]["Value"]
    assert (lost["00081155"]["Value"], lost["00081197"]["Value"]) == (["1.2.3.4.2"], [0xC000])
    good, warned = told["00081199"]["Value"]
    assert "00081196" not in good
    assert warned["00081196"]["Value"] == [0xB000]


@pytest.mark.parametrize(("status", "code"), [(0xC000, 409), (0xA900, 409), (0xA700, 503)])
async def test_where_nothing_is_stored_the_answer_says_whether_to_try_again(
    client: httpx.AsyncClient, house: House, status: int, code: int
) -> None:
    images(house).statuses = {b"one": status}
    answer = await stored(client, b"one")
    assert answer.status_code == code
    assert ("retry-after" in answer.headers) == (code == 503)
    assert house.audit.entries == []


async def test_files_may_be_larger_than_what_else_is_sent_and_over_their_own_limit_they_are_refused_alone(
    client: httpx.AsyncClient, house: House
) -> None:
    answer = await stored(client, b"x" * (BODY_LIMIT_BYTES + 1), b"one", b"")
    assert answer.status_code == 202
    assert answer.json()["00081198"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}] * 2
    assert [each[2] for each in images(house).taken] == [b"one"]


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/dicom", b"one", 415),
        ("", b"one", 415),
        ('multipart/related; type="application/dicom+json"; boundary=B', b"--B\r\n\r\none\r\n--B--", 415),
        ("multipart/related", b"--B\r\n\r\none\r\n--B--", 422),
        ("multipart/related; boundary=B", b"", 422),
        ("multipart/related; boundary=B", b"--B--", 422),
        ("multipart/related; boundary=B", b"--B\r\n\r\none", 422),
    ],
)
async def test_a_body_of_another_kind_or_cut_short_is_refused_and_nothing_is_left_half_way(
    client: httpx.AsyncClient, house: House, content_type: str, body: bytes, code: int
) -> None:
    answer = await client.post(PATH, content=body, headers=DEVICE | {"content-type": content_type})
    assert (answer.status_code, answer.headers["content-type"]) == (code, "application/problem+json")
    assert images(house).taken == []
    assert list(images(house).folder.iterdir()) == []


async def test_metadata_apart_from_bulk_data_is_refused(client: httpx.AsyncClient) -> None:
    assert (await stored(client, b"{}", kind="application/dicom+json")).status_code == 415


async def test_no_end_of_files_at_once_is_taken(client: httpx.AsyncClient, house: House) -> None:
    assert (await stored(client, *[b"one"] * (MOST_PARTS + 1))).status_code == 422
    assert len(images(house).taken) == MOST_PARTS


async def test_a_sender_that_stalls_is_cut_off(client: httpx.AsyncClient, house: House) -> None:
    config = house.station.around.config
    assert config.imaging is not None
    hasty = config.imaging.model_copy(update={"stall_s": 0})
    object.__setattr__(house.station.around, "config", config.model_copy(update={"imaging": hasty}))

    async def body() -> AsyncIterator[bytes]:
        yield b"--B\r\n\r\none"

    headers = DEVICE | {"content-type": "multipart/related; boundary=B"}
    assert (await client.post(PATH, content=body(), headers=headers)).status_code == 422


async def test_too_many_at_once_are_told_to_come_again(client: httpx.AsyncClient, house: House) -> None:
    while not house.station.storing.locked():
        await house.station.storing.acquire()
    answer = await stored(client, b"one")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


async def test_a_node_without_images_takes_none(client: httpx.AsyncClient, house: House) -> None:
    object.__setattr__(house.station.around, "studies", None)
    assert (await stored(client, b"one")).status_code == 404


async def test_a_disk_that_fails_half_way_is_told_and_the_next_file_is_taken(
    client: httpx.AsyncClient, house: House
) -> None:
    images(house).folder.joinpath("half-0").write_bytes(b"in the way")
    answer = await stored(client, b"one")
    assert answer.status_code == 503

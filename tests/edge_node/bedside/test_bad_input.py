"""Bad input on HTTP (reliability 4.4 rows 28, 30, 33): a clear answer, and the station goes on."""

import httpx
import pytest

from edge_node.bedside.jsonguard import BadBody, check

from .conftest import SITE, House, sign_in

pytestmark = pytest.mark.anyio
OBSERVE = f"/api/v1/beds/{SITE}:B01/observations"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"[" * 10_000 + b"]" * 10_000, 400, "body"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, "body"),
        (b'{"acvpu": "A", "acvpu": "C"}', 400, "acvpu"),
        (b'{"acvpu": "A"' + b" " * 10_000_000 + b"}", 413, "body"),
        (b'{"acvpu": "A\\u0000"}', 422, "body.acvpu"),
        (b'{"acvpu": ', 400, "body"),
        (b"\xff\xfe", 400, "body"),
        (b"", 422, "body"),
        (b'{"acvpu": "Z"}', 422, "body.acvpu"),
        (b'{"acvpu": "A", "extra": 1}', 422, "body.extra"),
        (b'{"o2_flow_l_min": NaN}', 422, "body.o2_flow_l_min"),
        (b"{}", 422, "acvpu"),
        (b'"A"', 422, "body"),
    ],
)
async def test_a_bad_body_is_refused_by_field(client: httpx.AsyncClient, body: bytes, status: int, field: str) -> None:
    await sign_in(client)
    answer = await client.post(OBSERVE, content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert field in problem["fields"]
    assert problem["text"]["zh"]
    assert "Traceback" not in answer.text
    assert (await client.post(OBSERVE, json={"acvpu": "A"})).status_code == 201


@pytest.mark.parametrize(
    "query", ["limit=1e9", "limit=1000000000", "limit=0", "limit=-1", "limit=%00", "limit=1%00", "x=%00"]
)
async def test_a_bad_query_is_refused(client: httpx.AsyncClient, query: str) -> None:
    await sign_in(client)
    answer = await client.get(f"/api/v1/referrals?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("hours", ["0", "169", "x", "1e9"])
async def test_trends_of_an_absurd_time_are_refused(client: httpx.AsyncClient, hours: str) -> None:
    await sign_in(client)
    assert (await client.get(f"/api/v1/beds/{SITE}:B01/trends?hours={hours}")).status_code == 422


async def test_an_unknown_address_is_told_so_in_both_languages(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["text"]["zh"]) == (404, "没有找到")
    assert (await client.put("/api/v1/session", json={})).status_code == 405


async def test_a_store_that_is_full_says_that_nothing_was_saved(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    house.is_full = True
    answer = await client.post(OBSERVE, json={"acvpu": "A"})
    assert (answer.status_code, answer.json()["code"]) == (503, "store-full")


async def test_every_answer_carries_the_headers_of_a_page_with_patients(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/station", "/api/v1/nothing", "/healthz"):
        headers = (await client.get(path)).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "object-src 'none'" in headers["content-security-policy"]
        assert "script-src" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


async def test_a_text_may_hold_brackets_and_quotes() -> None:
    check(b'{"text": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[ \\" {{{ \\\\"}')
    with pytest.raises(BadBody):
        check(b'{"a": {"b": 1, "b": 2}}')

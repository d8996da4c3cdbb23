"""Signing in over HTTP: cookie, CSRF token, origin, and what is worth nothing afterwards (row 33)."""

from typing import Any

import httpx
import pytest

from cloud_hub.access.sign_in import Access

pytestmark = pytest.mark.anyio
PATH = "/api/v1/session"


async def sign_in(client: httpx.AsyncClient, account: str, password: str) -> httpx.Response:
    return await client.post(PATH, json={"username": account, "password": password})


async def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(
    stranger: httpx.AsyncClient, password: str
) -> None:
    response = await sign_in(stranger, "clinic", password)
    assert response.status_code == 200
    cookie = response.headers.get_list("set-cookie")[0]
    assert cookie.startswith("yz_session=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert response.headers["cache-control"] == "no-store"
    me = (await stranger.get(PATH)).json()
    assert me == response.json()
    assert me["role"] == "clinic"
    assert me["sites"] == ["baoshan-clinic"]
    assert me["name"] == {"zh": "黄芪", "en": "Huang Qi"}


async def test_over_https_the_cookie_is_bound_to_host_and_tls(stranger: httpx.AsyncClient, password: str) -> None:
    stranger.base_url = httpx.URL("https://hub")
    response = await sign_in(stranger, "clinic", password)
    assert response.headers["set-cookie"].startswith("__Host-yz_session=")
    assert all("Secure" in one for one in response.headers.get_list("set-cookie"))
    assert (await stranger.get(PATH)).status_code == 200


@pytest.mark.parametrize("account", ["clinic", "nobody", "api"])
async def test_a_wrong_password_and_an_unknown_name_get_the_same_problem(
    stranger: httpx.AsyncClient, account: str
) -> None:
    response = await sign_in(stranger, account, "wrong")
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == "sign-in-refused"
    assert problem["text"]["zh"]
    assert problem["text"]["en"]
    assert "set-cookie" not in response.headers


async def test_too_many_attempts_are_told_how_long_to_wait(stranger: httpx.AsyncClient) -> None:
    for _ in range(3):
        await sign_in(stranger, "clinic", "wrong")
    response = await sign_in(stranger, "clinic", "wrong")
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1


async def test_a_change_without_csrf_token_or_from_another_origin_is_refused(
    stranger: httpx.AsyncClient, password: str
) -> None:
    token = (await sign_in(stranger, "clinic", password)).json()["csrf_token"]
    wrong: tuple[dict[str, Any], ...] = (
        {},
        {"X-CSRF-Token": "wrong"},
        {"X-CSRF-Token": b"\xfc"},
        {"X-CSRF-Token": token, "Origin": "http://evil.example"},
        {"X-CSRF-Token": token, "Origin": "null"},
    )
    for headers in wrong:
        response = await stranger.delete(PATH, headers=headers)
        assert response.status_code == 403, headers
        assert response.json()["code"] == "refused-origin"
    response = await stranger.delete(PATH, headers={"X-CSRF-Token": token, "Origin": "http://hub"})
    assert response.status_code == 204


async def test_over_https_the_end_of_the_cookie_is_one_that_browsers_take(
    stranger: httpx.AsyncClient, password: str
) -> None:
    stranger.base_url = httpx.URL("https://hub")
    me = (await sign_in(stranger, "clinic", password)).json()
    ended = await stranger.delete(PATH, headers={"X-CSRF-Token": me["csrf_token"]})
    word = ended.headers["set-cookie"]
    assert word.startswith('__Host-yz_session="";')
    assert "Secure" in word
    assert "HttpOnly" in word


async def test_a_cookie_replayed_after_signing_out_is_worth_nothing(stranger: httpx.AsyncClient, password: str) -> None:
    signed_in = await sign_in(stranger, "clinic", password)
    cookie = stranger.cookies["yz_session"]
    await stranger.delete(PATH, headers={"X-CSRF-Token": signed_in.json()["csrf_token"]})
    stranger.cookies.clear()
    response = await stranger.get(PATH, headers={"Cookie": f"yz_session={cookie}"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_another_site_cannot_sign_somebody_in(stranger: httpx.AsyncClient, password: str) -> None:
    body = {"username": "clinic", "password": password}
    response = await stranger.post(PATH, json=body, headers={"Origin": "http://evil.example"})
    assert response.status_code == 403


async def test_the_session_changes_with_each_sign_in(
    stranger: httpx.AsyncClient, password: str, access: Access
) -> None:
    await sign_in(stranger, "clinic", password)
    first = stranger.cookies["yz_session"]
    await sign_in(stranger, "clinic", password)
    assert stranger.cookies["yz_session"] != first
    assert await access.resolve(first, "cookie") is None


async def test_a_body_that_is_wrong_names_the_field_and_not_the_value(stranger: httpx.AsyncClient) -> None:
    response = await stranger.post(PATH, json={"username": "clinic", "password": ["hush-hush"], "more": 1})
    assert response.status_code == 422
    problem = response.json()
    assert set(problem["fields"]) == {"body.password", "body.more"}
    assert "hush-hush" not in response.text

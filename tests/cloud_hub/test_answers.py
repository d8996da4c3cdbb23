"""What every answer of the hub's HTTP face carries, and what a browser of another site can do with it: nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, select

from cloud_hub import server
from cloud_hub.store.schema import CARE, SAMPLES
from cloud_hub.web import static_files
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.role_world import app, stores
from tests.rights.table import routes

__all__ = ["app", "hashed", "stores"]
pytestmark = pytest.mark.anyio
EVIL = "https://evil.example"
PEOPLE = ("physician", "clinic", "operator", "auditor", "caregiver")
CHANGE_BY_THEMSELVES = {"audit", "session", "audit_chain"}
"""Tables that a question may add to: who looked, and when a session was used."""
PATHS = ("/api/v1/session", "/api/v1/referrals", "/fhir/R4/Patient", "/fhir/R4/metadata", "/oauth/authorize")
NAMES = {"key": "clinic:B01", "person_id": "own", "fhir_id": "none", "break_id": "none", "rest": "x", "path": "wall"}
NAMES |= world.image_names("own") | {"study_key": world.study_key("own"), "study_uid": "1.2.3"}


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://hub") as client:
        yield client


async def sign_in(browser: httpx.AsyncClient, username: str) -> httpx.Response:
    answer = await browser.post("/api/v1/session", json={"username": username, "password": world.PASSWORD})
    assert answer.status_code == 200, answer.text
    return answer


async def answers(browser: httpx.AsyncClient) -> list[httpx.Response]:
    """Answers of each kind: to a stranger and to somebody, good ones and refusals."""
    found = [await browser.get(path) for path in (*PATHS, "/", "/healthz", "/nowhere")]
    found.append(await browser.post("/api/v1/session", json={"username": "physician", "password": "wrong"}))
    found.append(await sign_in(browser, "physician"))
    return found + [await browser.get(path) for path in (*PATHS, "/metrics")]


async def test_no_other_origin_may_read_an_answer(browser: httpx.AsyncClient) -> None:
    browser.headers["Origin"] = "https://hub"
    await sign_in(browser, "physician")
    browser.headers["Origin"] = EVIL
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-csrf-token"}
    for path in (*PATHS, "/", "/metrics"):
        for answer in (await browser.get(path), await browser.options(path, headers=asked)):
            assert [name for name in answer.headers if name.startswith("access-control")] == [], path
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_the_policy_lets_scripts_come_from_our_own_files_alone(browser: httpx.AsyncClient) -> None:
    for path in ("/", "/api/v1/session", "/nowhere"):
        headers = (await browser.get(path)).headers
        policy = {
            name: words for name, *words in (each.split() for each in headers["content-security-policy"].split(";"))
        }
        assert policy["default-src"] == ["'self'"], path
        assert policy["script-src"] == ["'self'", "'wasm-unsafe-eval'"], path
        assert "script-src-elem" not in policy
        for name in ("object-src", "base-uri", "frame-ancestors"):
            assert policy[name] == ["'none'"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert int(headers["strict-transport-security"].split(";")[0].removeprefix("max-age=")) >= 31_536_000


async def test_nothing_about_people_is_kept_by_browsers_or_on_the_way(browser: httpx.AsyncClient) -> None:
    for answer in await answers(browser):
        if answer.url.path.startswith(("/api/", "/fhir/", "/oauth/")):
            assert answer.headers["cache-control"] == "no-store", (answer.url.path, answer.status_code)


async def test_every_answer_says_its_type_and_a_text_its_character_set(browser: httpx.AsyncClient) -> None:
    for answer in await answers(browser):
        kind, _, more = answer.headers["content-type"].partition(";")
        assert kind, answer.url.path
        if kind.startswith("text/"):
            assert "charset=utf-8" in more, answer.url.path
        if kind.endswith("json"):
            answer.json()


async def test_the_token_of_a_session_is_in_the_cookie_alone(browser: httpx.AsyncClient) -> None:
    opened = await sign_in(browser, "physician")
    token = browser.cookies["__Host-yz_session"]
    for answer in (opened, *[await browser.get(path) for path in PATHS]):
        assert token not in answer.text
        assert [name for name, value in answer.headers.items() if token in value] in ([], ["set-cookie"])


async def test_trace_is_not_served_and_no_folder_is_listed(browser: httpx.AsyncClient, tmp_path: Path) -> None:
    for path in ("/", "/api/v1/session", "/fhir/R4/Patient"):
        assert (await browser.request("TRACE", path)).status_code in (404, 405)
    bundle = tmp_path / "hub"
    (bundle / "assets").mkdir(parents=True)
    (bundle / "index.html").write_text("<title>page</title>")
    (bundle / "assets" / "secret-name.js").write_text("1")
    (bundle.parent / ".git").mkdir()
    (bundle.parent / ".git" / "config").write_text("[remote]")
    app = FastAPI()
    static_files.install(app, bundle)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://hub") as client:
        for path in ("/assets", "/assets/", "/.", "/.git/", "/.git/config", "/%2e%2e/.git/config"):
            text = (await client.get(path)).text
            assert "secret-name" not in text
            assert "[remote]" not in text


async def test_addresses_that_headers_claim_do_not_count(browser: httpx.AsyncClient, app: FastAPI) -> None:
    assert server.make(app).config.proxy_headers is False
    wrong = {"username": "physician", "password": "wrong"}
    statuses = []
    for number in range(5):
        claimed = {
            "X-Forwarded-For": f"192.0.2.{number}",
            "X-Real-IP": f"192.0.2.{number}",
            "Forwarded": f"for={number}",
        }
        statuses.append((await browser.post("/api/v1/session", json=wrong, headers=claimed)).status_code)
    assert statuses[:3] == [401, 401, 401]
    assert statuses[4] == 429


async def test_asking_changes_nothing(browser: httpx.AsyncClient, stores: Stores) -> None:
    asked = [row.path.replace(":path", "") for row in routes("hub_routes.csv") if row.method in ("GET", "*")]
    paths = [path.format(**NAMES) for path in asked]
    assert len(paths) > 15
    before = await everything(stores)
    for username in PEOPLE:
        browser.cookies.clear()
        await sign_in(browser, username)
        statuses = {(await browser.get(path)).status_code for path in paths}
        assert 200 in statuses
        assert not {status for status in statuses if status >= 500} - {503}
    assert await everything(stores) == before


async def everything(stores: Stores) -> dict[str, list[tuple[object, ...]]]:
    """Every row of both databases, but of what a question may add to."""

    def rows(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
        tables = [each for metadata in (CARE, SAMPLES) for each in metadata.sorted_tables]
        return {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in tables
            if table.name in present(connection) and table.name not in CHANGE_BY_THEMSELVES
        }

    return await stores.care.read(rows) | await stores.samples.read(rows)


def present(connection: Connection) -> set[str]:
    """Return the names of the tables of this database."""
    return set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())

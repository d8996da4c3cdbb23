"""Deny by default: rights by route, WebSockets, and what is refused before a route sees it."""

import json
from collections.abc import AsyncIterator, MutableMapping
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.access.oauth import OAuth
from cloud_hub.access.rights import Principal, Right
from cloud_hub.access.sign_in import Access
from cloud_hub.errors import BadRequest, ConfigRefused, HubError, NotFound, StepRefused, StoreFailure
from cloud_hub.web import guard, problems
from cloud_hub.web.api import session
from cloud_hub.web.limits import DEPTH_LIMIT, JsonRefused, RequestLimits, check_json


@pytest.fixture
def app(access: Access) -> FastAPI:
    app = FastAPI()
    app.state.access = access
    problems.install(app)
    app.add_middleware(RequestLimits)
    app.include_router(session.router)

    @app.post("/triage/{site}")
    async def triage(
        site: str, body: dict[str, Any], who: Annotated[Principal, Depends(guard.require(Right.TRIAGE))]
    ) -> dict[str, str]:
        who.demand_site(site)
        return {"done": site}

    @app.get("/fail/{kind}")
    async def fail(kind: str, who: Annotated[Principal, Depends(guard.require(Right.SIGNED_IN))]) -> None:
        raise {
            "step": StepRefused("no", ["CLOSED"]),
            "missing": NotFound("no"),
            "fields": BadRequest("no", ["a"]),
            "store": StoreFailure("no"),
            "bug": ValueError("patient 秋禾"),
        }[kind]

    @app.websocket("/live")
    async def live(
        socket: WebSocket, who: Annotated[Principal, Depends(guard.require_socket(Right.SEE_VITALS))]
    ) -> None:
        await socket.accept()
        await socket.send_text(who.username)
        await socket.close()

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        yield client


async def signed_in(client: httpx.AsyncClient, name: str, password: str) -> dict[str, str]:
    response = await client.post("/api/v1/session", json={"username": name, "password": password})
    return {"X-CSRF-Token": response.json()["csrf_token"]}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "status"), [("physician", 200), ("clinic", 403), ("caregiver", 403), ("operator", 403)]
)
async def test_a_route_is_open_to_the_roles_that_have_its_right(
    client: httpx.AsyncClient, password: str, name: str, status: int, audit_of: Any
) -> None:
    headers = await signed_in(client, name, password)
    response = await client.post("/triage/a", json={}, headers=headers)
    assert response.status_code == status
    if status == 403:
        assert response.json()["code"] == "refused-rights"
        assert audit_of()[-1] == (name, "refused", "POST /triage/a", "refused-rights")


@pytest.mark.anyio
async def test_without_signing_in_there_is_401_whatever_was_asked(client: httpx.AsyncClient) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer nothing"},
        {"Authorization": "Basic eDp5"},
        {"Cookie": "yz_session=x"},
    ):
        response = await client.post("/triage/a", json={}, headers=headers)
        assert response.status_code == 401
        assert response.json()["code"] == "not-signed-in"


@pytest.mark.anyio
async def test_a_bearer_token_needs_no_csrf_token_and_opens_only_its_scopes(
    client: httpx.AsyncClient, access: Access, password: str
) -> None:
    grant = await OAuth(access).for_program("api", password, "", "a")
    headers = {"Authorization": f"Bearer {grant.access_token}"}
    assert (await client.get("/api/v1/session", headers=headers)).status_code == 200
    assert (await client.post("/triage/a", json={}, headers=headers)).status_code == 403


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("step", 409, "refused-illegal-state"),
        ("missing", 404, "not-found"),
        ("fields", 422, "bad-request"),
        ("store", 503, "store-failure"),
        ("bug", 500, "hub-error"),
    ],
)
async def test_each_failure_has_its_status_and_both_languages_and_no_inner_detail(
    client: httpx.AsyncClient, password: str, kind: str, status: int, code: str
) -> None:
    await signed_in(client, "clinic", password)
    response = await client.get(f"/fail/{kind}")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert status < 500 or kind == "store" or response.headers["x-content-type-options"] == "nosniff"
    assert response.json()["text"]["zh"] != response.json()["text"]["en"]
    assert "秋禾" not in response.text


def test_every_failure_of_the_hub_has_a_text_or_never_leaves_it() -> None:
    def tree(kind: type[HubError]) -> list[type[HubError]]:
        return [kind, *(one for child in kind.__subclasses__() for one in tree(child))]

    inner = {"care-error", ConfigRefused.code}
    missing = {kind.code for kind in tree(HubError) if kind.code not in problems.TEXT_OF} - inner
    assert not {code for code in missing if problems.status_of(_of(code, tree(HubError))("")) < 500}
    assert all(text.zh and text.en and text.zh != text.en for text in problems.TEXT_OF.values())


def _of(code: str, kinds: list[type[HubError]]) -> Any:
    return next(kind for kind in kinds if kind.code == code)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("cookie", "origin", "outcome"),
    [
        ("caregiver", "http://hub", "caregiver"),
        ("caregiver", None, "caregiver"),
        ("caregiver", "http://evil.example", guard.CLOSE_NOT_PERMITTED),
        ("operator", "http://hub", guard.CLOSE_NOT_PERMITTED),
        (None, "http://hub", guard.CLOSE_NOT_SIGNED_IN),
    ],
)
async def test_a_socket_is_guarded_like_a_route(
    app: FastAPI, client: httpx.AsyncClient, password: str, cookie: str | None, origin: str | None, outcome: str | int
) -> None:
    headers = [(b"host", b"hub")]
    if cookie:
        await signed_in(client, cookie, password)
        headers.append((b"cookie", f"yz_session={client.cookies['yz_session']}".encode()))
    if origin:
        headers.append((b"origin", origin.encode()))
    sent = await open_socket(app, headers)
    if isinstance(outcome, str):
        assert [one["type"] for one in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
        assert sent[1]["text"] == outcome
    else:
        assert [(one["type"], one["code"]) for one in sent] == [("websocket.close", outcome)]


async def open_socket(app: FastAPI, headers: list[tuple[bytes, bytes]]) -> list[MutableMapping[str, Any]]:
    """Speak ASGI as a server does; return what the application sent."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": "/live",
        "raw_path": b"/live",
        "query_string": b"",
        "headers": headers,
        "subprotocols": [],
    }
    await app(scope, receive, send)
    return sent


def test_the_rights_of_all_routes_can_be_listed(app: FastAPI) -> None:
    assert guard.rights_by_route(app) == {
        ("POST", "/api/v1/session"): None,
        ("GET", "/api/v1/session"): Right.SIGNED_IN,
        ("DELETE", "/api/v1/session"): Right.SIGNED_IN,
        ("POST", "/triage/{site}"): Right.TRIAGE,
        ("GET", "/fail/{kind}"): Right.SIGNED_IN,
        ("WS", "/live"): Right.SEE_VITALS,
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, "body"),
        (b"[" * 10_000, 400, "body"),
        (b'{"a": 1, "a": 2}', 400, "body.a"),
        (b'{"a": "\\u0000"}', 400, "body"),
        (b'{"a": NaN}', 400, "body"),
        (b"{", 400, "body"),
        (b"\xff\xfe", 400, "body"),
        (b'"' + b"x" * 10_000_000 + b'"', 413, "body"),
    ],
)
async def test_json_over_a_limit_is_refused_before_a_route_sees_it(
    client: httpx.AsyncClient, password: str, body: bytes, status: int, field: str
) -> None:
    headers = await signed_in(client, "physician", password) | {"Content-Type": "application/json"}
    response = await client.post("/triage/a", content=body, headers=headers)
    assert response.status_code == status
    assert response.json()["fields"] == [field]
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.anyio
async def test_queries_with_nul_or_of_absurd_length_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/session?a=%00")).status_code == 422
    assert (await client.get("/api/v1/session?a=" + "x" * 9000)).status_code == 414


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_characters="\0", codec="utf-8")), inner)
    ),
)


@given(_JSON)
def test_ordinary_json_always_passes(value: Any) -> None:
    check_json(json.dumps(value).encode())
    check_json(json.dumps(value, ensure_ascii=False).encode())


@given(st.binary(max_size=300))
def test_bytes_either_pass_or_are_refused_and_nothing_else_happens(body: bytes) -> None:
    try:
        check_json(body)
    except JsonRefused as error:
        assert error.fields  # noqa: PT017 - either way is right


def test_depth_is_counted_outside_of_texts_alone() -> None:
    check_json(json.dumps("[" * 1000).encode())
    check_json(b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT)
    with pytest.raises(JsonRefused):
        check_json(b"[" * (DEPTH_LIMIT + 1) + b"]" * (DEPTH_LIMIT + 1))

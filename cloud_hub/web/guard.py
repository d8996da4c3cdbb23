"""Who may pass: every route names a right, and nothing is open but `OPEN_PATHS` (decision 15).

The application keeps its `Access` in `app.state.access`.  A cookie counts for requests that change something
only with the CSRF token of its session and from our own origin; a bearer token needs neither.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Final, Literal
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketException
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts
from starlette.requests import HTTPConnection
from telemed.roles import MACHINES

from cloud_hub.access.rights import Principal, Right
from cloud_hub.access.sign_in import Access
from cloud_hub.errors import NotPermitted, NotSignedIn, RequestForged

COOKIE = "yz_session"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS: Final = frozenset(
    {
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/fhir/R4/metadata",
        "/api/v1/session",
        "/api/v1/sign-in-ways",
        "/api/v1/oidc/begin",
        "/api/v1/oidc/callback",
        "/api/v1/oidc/key/begin",
        "/api/v1/oidc/second-factor",
        "/api/v1/oidc/back-channel-logout",
        "/api/v1/passkeys/sign-in/begin",
        "/api/v1/passkeys/sign-in",
        "/api/v1/passkeys/proof/begin",
        "/api/v1/passkeys/proof",
        "/api/v1/displays/pair",
        "/oauth/token",
        "/oauth/authorize",
        "/oauth/authorize/key",
        "/oauth/key.js",
        "/oauth/page.css",
        "/.well-known/smart-configuration",
    }
)
"""What a stranger may ask (decision 15), beside the static files of the sign-in page; `/metrics` guards itself."""
CLOSE_NOT_SIGNED_IN, CLOSE_NOT_PERMITTED = 4401, 4403


def bound_name(connection: HTTPConnection, cookie: str = COOKIE) -> str:
    """Return how a cookie of the hub is called: bound to host and TLS by its prefix where there is TLS."""
    return f"__Host-{cookie}" if _is_secure(connection) else cookie


def keep_cookie(
    connection: HTTPConnection,
    response: Response,
    value: str,
    lifetime_s: int,
    cookie: str = COOKIE,
    samesite: Literal["lax", "strict"] = "lax",
) -> None:
    """Have the browser keep a value where no script reads it.

    Args:
        connection: who asks.
        response: what goes to the browser.
        value: to be sent back with each request.
        lifetime_s: how long.
        cookie: which of the hub's; `bound_name` calls it.
        samesite: strict is not sent with what another site sends the browser to, such as a provider's redirect.
    """
    secure = _is_secure(connection)
    name = bound_name(connection, cookie)
    response.set_cookie(name, value, max_age=lifetime_s, path="/", secure=secure, httponly=True, samesite=samesite)


def drop_cookie(connection: HTTPConnection, response: Response, cookie: str = COOKIE) -> None:
    """Have the browser forget what `keep_cookie` had it keep."""
    # Browsers take no word about a `__Host-` cookie, not even its end, that is not Secure.
    secure = _is_secure(connection)
    response.delete_cookie(bound_name(connection, cookie), path="/", secure=secure, httponly=True, samesite="lax")


def _is_secure(connection: HTTPConnection) -> bool:
    return connection.url.scheme in ("https", "wss")


def access_of(connection: HTTPConnection) -> Access:
    """Return the application's identity store."""
    access: Access = connection.app.state.access
    return access


def session_token(connection: HTTPConnection) -> tuple[str, str]:
    """Return (token, kind) of a request: the bearer token if one is sent, else the cookie; empty if neither."""
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip(), "bearer"
    return connection.cookies.get(bound_name(connection), ""), "cookie"


def require(right: Right) -> Callable[[Request], Awaitable[Principal]]:
    """Return the dependency that lets pass whoever has `right`, and gives the route its Principal.

    The dependency raises NotSignedIn (401), RequestForged (403) or NotPermitted (403); which site or person is
    asked for is judged by the route itself, with `principal.demand_site` (404).
    """

    async def guard(request: Request) -> Principal:
        principal = await identify(request)
        request.state.principal = principal
        if request.method not in SAFE_METHODS and principal.csrf_token:
            check_not_forged(request, principal)
        principal.demand(right)
        return principal

    guard.right = right  # type: ignore[attr-defined]  # read by `right_of`, for the matrix test
    return guard


def require_socket(right: Right) -> Callable[[WebSocket], Awaitable[Principal]]:
    """Return the dependency for a WebSocket route; a refusal closes it with 4401 or 4403 before it is accepted.

    Whoever keeps the socket open asks `access_of(socket).present(*session_token(socket))` from time to time:
    a session that has ended ends its sockets.
    """

    async def guard(websocket: WebSocket) -> Principal:
        try:
            principal = await identify(websocket)
            check_origin(websocket)
            principal.demand(right)
        except NotSignedIn as error:
            raise WebSocketException(CLOSE_NOT_SIGNED_IN, error.code) from error
        except (NotPermitted, RequestForged) as error:
            raise WebSocketException(CLOSE_NOT_PERMITTED, error.code) from error
        return principal

    guard.right = right  # type: ignore[attr-defined]
    return guard


def demand_browser(principal: Principal) -> None:
    """Pass where a person asks on the hub's own page: how somebody signs in is no program's business, nor a display's.

    Raises:
        NotPermitted: it is a program that acts in their name, or a wall display.
    """
    if not principal.csrf_token or principal.role in MACHINES:
        raise NotPermitted("only on the hub's own page")


async def identify(connection: HTTPConnection) -> Principal:
    """Return who asks.

    Raises:
        NotSignedIn: no token, or one that is worth nothing.
    """
    token, kind = session_token(connection)
    principal = await access_of(connection).resolve(token, kind) if token else None
    if principal is None:
        raise NotSignedIn("sign in first")
    return principal


def check_not_forged(request: Request, principal: Principal) -> None:
    """Pass where a request that changes something was sent by a page of ours.

    Raises:
        RequestForged: CSRF token missing or wrong, or another origin.
    """
    sent = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(sent.encode(), principal.csrf_token.encode()):
        raise RequestForged("CSRF token missing or wrong")
    check_origin(request)


def check_origin(connection: HTTPConnection) -> None:
    """Pass where no origin is named (not a browser, or an old one) or it is the host that was asked.

    Raises:
        RequestForged: a page of another origin sent this.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return
    if urlsplit(origin).netloc.lower() != connection.headers.get("host", "").lower():
        raise RequestForged("another origin")


def right_of(dependant: Dependant) -> Right | None:
    """Return the right that a route's dependencies ask for; None where it asks for none."""
    for inner in dependant.dependencies:
        right = getattr(inner.call, "right", None) or right_of(inner)
        if isinstance(right, Right):
            return right
    return None


def rights_by_route(app: FastAPI) -> dict[tuple[str, str], Right | None]:
    """Return (method, path) -> right for all API routes of the application; method is WS for a WebSocket."""
    found: dict[tuple[str, str], Right | None] = {}
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute | APIWebSocketRoute):
            methods = context.methods if isinstance(route, APIRoute) else None
            for method in methods or {"WS"}:
                found[method, context.path or ""] = right_of(context.dependant)
    return found

"""Who is asking: cookie, CSRF token and origin of each request; every route takes one of these.

Routes and what they depend on are coroutines, so that they run on the node's own thread: what a plain function reads in
a thread of its own, accounts, beds or streams, may change under it.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection
from telemed.roles import Right

from edge_node.bedside.accounts import Session, is_csrf_token
from edge_node.bedside.problems import Refusal
from edge_node.bedside.station import Station

CSRF_HEADER = "x-csrf-token"


def cookie_of(request: HTTPConnection) -> str:
    """Name of this page's session cookie, bound to host and TLS by its prefix where there is TLS.

    Browsers keep cookies by host, not by port: hub and edges on one machine must not sign each other out.
    """
    prefix = "__Host-" if request.url.scheme in ("https", "wss") else ""
    return f"{prefix}yz_session_{request.url.port or 0}"


def station_of(request: HTTPConnection) -> Station:
    """Return the station this application serves."""
    station: Station = request.app.state.station
    return station


async def at_station(request: HTTPConnection) -> Station:
    """Return the station this application serves, to a route."""
    return station_of(request)


def is_own_origin(request: HTTPConnection) -> bool:
    """True where a browser says that one of our own pages asks, or where nobody said anything."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


async def own_origin(request: HTTPConnection) -> None:
    """Refuse what another site's page sends."""
    _own_origin(request)


def _own_origin(request: HTTPConnection) -> None:
    if not is_own_origin(request):
        raise Refusal("refused-csrf", "origin is not this station")


async def signed_in(request: HTTPConnection) -> Session:
    """Return who is signed in, or refuse."""
    session = station_of(request).accounts.session(request.cookies.get(cookie_of(request)))
    if session is None:
        raise Refusal("not-signed-in", "no session")
    return session


async def changing(request: HTTPConnection, session: Annotated[Session, Depends(signed_in)]) -> Session:
    """Return who asks for a change: needs the session's CSRF token and our own origin."""
    _own_origin(request)
    if not is_csrf_token(session, request.headers.get(CSRF_HEADER, "")):
        raise Refusal("refused-csrf", "X-CSRF-Token is missing or not that of the session")
    return session


AtStation = Annotated[Station, Depends(at_station)]
SignedIn = Annotated[Session, Depends(signed_in)]
Changing = Annotated[Session, Depends(changing)]
Guard = Callable[..., Awaitable[Session]]
"""Dependency that gives a route its Session; raises Refusal."""


def require(right: Right) -> Guard:
    """Return the dependency of a route that reads: lets pass whoever has `right` at this station."""

    async def guard(session: SignedIn, station: AtStation) -> Session:
        if not station.may(session, right):
            raise Refusal("refused-rights", f"{session.who.role} may not {right}")
        return session

    guard.right = right  # type: ignore[attr-defined]  # read by the matrix test
    return guard


def require_changing(right: Right) -> Guard:
    """Return the dependency of a route that changes something; its CSRF token and origin are judged first."""

    async def guard(session: Changing, station: AtStation) -> Session:
        if not station.may(session, right):
            raise Refusal("refused-rights", f"{session.who.role} may not {right}")
        return session

    guard.right = right  # type: ignore[attr-defined]
    return guard

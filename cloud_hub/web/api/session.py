"""`/api/v1/session`: sign in, who am I, sign out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from telemed.roles import MACHINES
from telemed.screen import Me, SignIn, Text2

from cloud_hub.access import sources
from cloud_hub.access.rights import Principal, Right
from cloud_hub.access.sign_in import Opened
from cloud_hub.web import known_browsers
from cloud_hub.web.guard import access_of, check_origin, drop_cookie, keep_cookie, require, session_token
from cloud_hub.web.machine import machine_of

router = APIRouter(prefix="/api/v1/session", tags=["session"])

SignedIn = Annotated[Principal, Depends(require(Right.SIGNED_IN))]


@router.post("")
async def sign_in(body: SignIn, request: Request, response: Response) -> Me:
    """Open a session: the cookie carries it, and the answer has the token that every change must name."""
    check_origin(request)
    old, kind = session_token(request)
    opened = await access_of(request).sign_in(
        body.username,
        body.password,
        source_of(request, body.username),
        old if kind == "cookie" else "",
        body.code,
        machine_of(request),
    )
    set_cookie(request, response, opened)
    return me(opened.principal)


def set_cookie(request: Request, response: Response, opened: Opened) -> None:
    """Give the browser the session just opened, in place of the one it had; it is known to the account from now on."""
    keep_cookie(request, response, opened.token, opened.lifetime_s)
    if opened.principal.role not in MACHINES:
        known_browsers.remember(request, response, opened.principal.username)
    response.headers["Cache-Control"] = "no-store"


@router.get("")
async def who_am_i(response: Response, principal: SignedIn) -> Me:
    """Say who is signed in."""
    response.headers["Cache-Control"] = "no-store"
    return me(principal)


@router.delete("", status_code=204)
async def sign_out(request: Request, response: Response, _principal: SignedIn) -> None:
    """End this session; its token is worth nothing from now on."""
    token, _kind = session_token(request)
    await access_of(request).sign_out(token)
    drop_cookie(request, response)


def me(principal: Principal) -> Me:
    """Return what the screens are told about who is signed in."""
    return Me(
        username=principal.username,
        role=principal.role.value,
        name=Text2(zh=principal.name_zh, en=principal.name_en),
        sites=sorted(principal.sites or ()),
        csrf_token=principal.csrf_token,
        must_change=principal.must_change,
        must_enrol=principal.must_enrol,
    )


def source_of(request: Request, username: str) -> str:
    """Return what failures under this name are counted against: a browser that it is known in, else the address."""
    return known_browsers.browser_of(request, username) or address_of(request)


def address_of(request: Request) -> str:
    """Return what failed attempts are counted against, as `sources` counts; of the peer itself, never of a header."""
    return sources.source_of(request.client.host) if request.client else ""

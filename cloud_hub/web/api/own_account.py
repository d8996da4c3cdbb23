"""`/api/v1/account`: one's own password, and where one is signed in."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from telemed import screen

from cloud_hub.access.own_account import OwnAccount
from cloud_hub.access.rights import Principal, Right
from cloud_hub.web.api.session import me, set_cookie, source_of
from cloud_hub.web.guard import access_of, demand_browser, require, session_token

router = APIRouter(prefix="/api/v1/account", tags=["session"])
Oneself = Annotated[Principal, Depends(require(Right.SIGNED_IN))]
NS_PER_MS = 1_000_000


@router.post("/password")
async def change_password(
    body: screen.PasswordBody, request: Request, response: Response, principal: Oneself
) -> screen.Me:
    """Take another password into use; asks for the present one, and ends all other sessions."""
    demand_browser(principal)
    own, token = OwnAccount(access_of(request)), session_token(request)[0]
    source = source_of(request, principal.username)
    opened = await own.change_password(principal, body.password, body.new_password, source, token)
    set_cookie(request, response, opened)
    return me(opened.principal)


@router.get("/sessions")
async def sessions(request: Request, principal: Oneself) -> screen.OwnSessions:
    """List where one is signed in, the newest use first."""
    found = await OwnAccount(access_of(request)).sessions(principal, session_token(request)[0])
    return screen.OwnSessions(
        sessions=[
            screen.OwnSession(
                session_id=one.session_id,
                is_program=one.kind == "bearer",
                machine=one.machine,
                scopes=list(one.scopes),
                made_ms=one.made_ns // NS_PER_MS,
                used_ms=one.used_ns // NS_PER_MS,
                is_this=one.is_this,
            )
            for one in found
        ]
    )


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: str, request: Request, principal: Oneself) -> None:
    """End one of one's own sessions."""
    demand_browser(principal)
    await OwnAccount(access_of(request)).end_session(principal, session_id)


@router.delete("/sessions", status_code=204)
async def end_others(request: Request, principal: Oneself) -> None:
    """Sign out everywhere but here."""
    demand_browser(principal)
    await OwnAccount(access_of(request)).end_others(principal, session_token(request)[0])

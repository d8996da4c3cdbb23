"""`/api/v1/second-factor`: set up an authenticator app for oneself, and take it away again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from telemed import screen

from cloud_hub.access import factors
from cloud_hub.access.rights import Principal, Right
from cloud_hub.web.api.session import me, set_cookie, source_of
from cloud_hub.web.guard import access_of, demand_browser, require, session_token

router = APIRouter(prefix="/api/v1/second-factor", tags=["session"])
Oneself = Annotated[Principal, Depends(require(Right.SIGNED_IN))]


@router.get("")
async def how_far(request: Request, principal: Oneself) -> screen.SecondFactorState:
    """Say whether one is needed, and whether there is one."""
    access = access_of(request)
    found = await access.database.read(lambda c: factors.state(c, principal.username))
    return screen.SecondFactorState(
        required=principal.role in access.second.roles,
        has_totp=found.has_totp,
        recovery_codes_left=found.recovery_codes_left,
    )


@router.post("/totp")
async def begin(request: Request, principal: Oneself) -> screen.TotpBegun:
    """Make a new secret for an authenticator app; it counts for nothing until it is confirmed."""
    demand_browser(principal)
    begun = await access_of(request).begin_totp(principal, session_token(request)[0])
    return screen.TotpBegun(secret=begun.secret, address=begun.address, picture=begun.picture)


@router.post("/totp/confirm")
async def confirm(
    body: screen.TotpConfirmBody, request: Request, response: Response, principal: Oneself
) -> screen.TotpConfirmed:
    """Take the app into use; the session is replaced by one that has the second factor."""
    demand_browser(principal)
    access = access_of(request)
    codes, opened = await access.confirm_totp(principal, body.code, session_token(request)[0])
    set_cookie(request, response, opened)
    return screen.TotpConfirmed(recovery_codes=codes, me=me(opened.principal))


@router.post("/totp/remove", status_code=204)
async def remove(body: screen.ProofBody, request: Request, principal: Oneself) -> None:
    """Take the app away; asks once more who one is, and ends all sessions of the account."""
    demand_browser(principal)
    await access_of(request).remove_totp(principal, body.password, body.code, source_of(request, principal.username))

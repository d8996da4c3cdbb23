"""`/api/v1/displays`: wall displays are made and revoked by an operator, and paired by typing a code."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from telemed import screen

from cloud_hub.access.rights import Principal, Right
from cloud_hub.access.wall_displays import WallDisplays, check_name
from cloud_hub.store.displays import Display
from cloud_hub.web.api.session import address_of, me, set_cookie
from cloud_hub.web.guard import access_of, check_origin, require, session_token
from cloud_hub.web.views import ms, ms_or_none

router = APIRouter(prefix="/api/v1/displays", tags=["displays"])
Operator = Annotated[Principal, Depends(require(Right.MANAGE_DISPLAYS))]
DisplayId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]


@router.get("")
async def listed(request: Request, principal: Operator) -> screen.Displays:
    """Return the displays of the sites within scope, oldest first."""
    found = await _displays(request).listed(principal)
    return screen.Displays(displays=[_view(one) for one in found])


@router.post("", status_code=201)
async def make(body: screen.DisplayBody, request: Request, principal: Operator) -> screen.DisplayMade:
    """Make a display; its code is shown once and must be typed on it within ten minutes."""
    made, code = await _displays(request).make(principal, body.site, check_name(body.name))
    return screen.DisplayMade(display=_view(made), code=code)


@router.post("/pair")
async def pair(body: screen.PairBody, request: Request, response: Response) -> screen.Me:
    """Open the session of a display on this browser: read-only, one site's wall, without idle end."""
    check_origin(request)
    old, kind = session_token(request)
    opened = await _displays(request).pair(body.code, address_of(request), old if kind == "cookie" else "")
    set_cookie(request, response, opened)
    return me(opened.principal)


@router.delete("/{display_id}", status_code=204)
async def revoke(display_id: DisplayId, request: Request, principal: Operator) -> None:
    """End a display; what it shows disappears within ten seconds."""
    await _displays(request).revoke(principal, display_id)


def _displays(request: Request) -> WallDisplays:
    """The one that counts wrong codes, made on first use."""
    state = request.app.state
    if not hasattr(state, "wall_displays"):
        state.wall_displays = WallDisplays(access_of(request))
    found: WallDisplays = state.wall_displays
    return found


def _view(found: Display) -> screen.Display:
    return screen.Display(
        display_id=found.display_id,
        site=found.site,
        name=found.name,
        made_by=found.made_by,
        made_ms=ms(found.made_ns),
        paired_ms=ms_or_none(found.paired_ns),
    )

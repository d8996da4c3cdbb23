"""`/api/v1/consults`: call a bedside, hang up."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from telemed import screen

from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import NotFound
from cloud_hub.web.guard import access_of, require
from cloud_hub.web.parts import parts_of

router = APIRouter(prefix="/api/v1/consults", tags=["consults"])
Caller = Annotated[Principal, Depends(require(Right.START_CONSULT))]
ConsultId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]


@router.post("", status_code=201)
async def start(body: screen.ConsultBody, request: Request, principal: Caller) -> screen.Consult:
    """Call the bedside of this bed; calling again gives the same consult, 409 where somebody else calls it."""
    consult = parts_of(request).calls.start(principal, body.bed_key, body.referral_id)
    await _note(request, principal, "consult-start", consult)
    return consult


@router.post("/{consult_id}/end")
async def end(consult_id: ConsultId, request: Request, principal: Caller) -> screen.Consult:
    """End a consult for everybody in it."""
    consult = parts_of(request).calls.end(principal, consult_id)
    await _note(request, principal, "consult-end", consult)
    return consult


@router.post("/{consult_id}/recording")
async def record(consult_id: ConsultId, request: Request, principal: Caller) -> None:
    """Refuse to record a consult: 409 without the person's consent, and with it while this hub cannot record."""
    parts = parts_of(request)
    held = [one for one in parts.signals.consults(principal) if one.consult_id == consult_id]
    bed = parts.live.picture.beds.get(held[0].bed_key) if held else None
    if bed is None:
        raise NotFound("no such consult within scope")
    await parts.consents.record(principal, bed.person.person_id if bed.person else "")


async def _note(request: Request, principal: Principal, action: str, consult: screen.Consult) -> None:
    site = consult.bed_key.partition(":")[0]
    await access_of(request).audit(principal, action, f"consult/{consult.consult_id}", site=site)

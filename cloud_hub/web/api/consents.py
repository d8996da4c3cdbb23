"""`/api/v1/persons/{person_id}/consents`: who agreed to what, and taking it back."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from telemed import screen

from cloud_hub.access.rights import Principal, Right
from cloud_hub.web.guard import require
from cloud_hub.web.parts import parts_of
from cloud_hub.web.viewed import viewed_of

router = APIRouter(prefix="/api/v1/persons/{person_id}/consents", tags=["consents"])
Reader = Annotated[Principal, Depends(require(Right.SEE_CONSENT))]
Changer = Annotated[Principal, Depends(require(Right.CHANGE_CONSENT))]
PersonId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]


@router.get("")
async def listed(person_id: PersonId, request: Request, principal: Reader) -> screen.Consents:
    """Return where a person stands on every purpose of clinical 9.4."""
    found = await parts_of(request).consents.of(principal, person_id)
    await viewed_of(request).show(principal, "consent-read", [person_id])
    return found


@router.post("")
async def give(
    person_id: PersonId, body: screen.ConsentGiveBody, request: Request, principal: Changer
) -> screen.Consents:
    """Record that the person, or their guardian, agreed; 409 where it changed since the page saw it."""
    return await parts_of(request).consents.give(principal, person_id, body)


@router.post("/withdrawal")
async def withdraw(
    person_id: PersonId, body: screen.ConsentWithdrawBody, request: Request, principal: Changer
) -> screen.Consents:
    """Record that the person takes it back; open pages that need it show nothing from now on."""
    return await parts_of(request).consents.withdraw(principal, person_id, body)

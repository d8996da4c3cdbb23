"""`/api/v1/referrals`: the list, and the hub's steps."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel
from telemed import screen
from telemed.referral import LEVELS, State

from cloud_hub.access.rights import Principal, Right
from cloud_hub.desk.referrals import TRIAGE_ACCEPT, Step
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.web.guard import require
from cloud_hub.web.live_load import one_referral
from cloud_hub.web.parts import parts_of
from cloud_hub.web.viewed import viewed_of

router = APIRouter(prefix="/api/v1/referrals", tags=["referrals"])
Reader = Annotated[Principal, Depends(require(Right.SEE_REFERRALS))]
ReferralId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]


class Referrals(BaseModel):
    """Answer of `GET /api/v1/referrals`."""

    referrals: list[screen.Referral]


@router.get("")
async def listed(request: Request, principal: Reader) -> Referrals:
    """Return the referrals of the sites within scope, newest first."""
    live = parts_of(request).live
    await viewed_of(request).show(principal, "referral-read", live.picture.referred_for(principal))
    return Referrals(referrals=live.picture.referrals_for(principal, live.now_ns()))


@router.post("/{referral_id}/moves")
async def move(
    referral_id: ReferralId, body: screen.ReferralActionBody, request: Request, principal: Reader
) -> screen.Referral:
    """Take a step; 409 with what is allowed where it is not legal, or where the referral has moved since.

    Seeing referrals opens this route; who may take which step is in the table of the life cycle.
    """
    parts = parts_of(request)
    await parts.referrals.move(principal, referral_id, _step(body))
    region = parts.config.region
    found = await parts.stores.care.read(lambda c: one_referral(c, region, referral_id))
    if found is None:
        raise NotFound("no such referral within scope")
    return parts.live.picture.referral_view(*found, parts.live.now_ns())


def _step(body: screen.ReferralActionBody) -> Step:
    if body.level and body.level not in LEVELS:
        raise BadRequest("level is not T0 to T4", ["body.level"])
    if body.action == "move" and body.to_state not in list(State):
        raise BadRequest("no such state", ["body.to_state"])
    to_states = tuple(map(str, TRIAGE_ACCEPT)) if body.action == "triage-accept" else (body.to_state,)
    return Step(to_states, body.version, body.level, body.reason_code, body.text)

"""`/api/v1/persons/{person_id}/care-team`: who of family and care workers is related to a person."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel

from cloud_hub.access.care_teams import CareTeams
from cloud_hub.access.rights import Principal, Right
from cloud_hub.web.guard import access_of, require
from cloud_hub.web.viewed import viewed_of
from cloud_hub.web.views import ms

router = APIRouter(prefix="/api/v1/persons/{person_id}/care-team", tags=["care team"])
Planner = Annotated[Principal, Depends(require(Right.CHANGE_PLAN))]
PersonId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]
Username = Annotated[str, Path(min_length=1, max_length=64)]


class Member(BaseModel):
    """Somebody in a care team."""

    username: str
    added_by: str
    since_ms: int


class Team(BaseModel):
    """The care team of a person."""

    members: list[Member]


@router.get("")
async def listed(person_id: PersonId, request: Request, principal: Planner) -> Team:
    """Return the care team, longest member first."""
    found = await _team(request, principal, person_id)
    await viewed_of(request).show(principal, "care-team-read", [person_id])
    return found


@router.put("/{username}")
async def join(person_id: PersonId, username: Username, request: Request, principal: Planner) -> Team:
    """Put somebody into the care team; harmless where they are in it."""
    await CareTeams(access_of(request)).change(principal, person_id, username, is_member=True)
    return await _team(request, principal, person_id)


@router.delete("/{username}")
async def leave(person_id: PersonId, username: Username, request: Request, principal: Planner) -> Team:
    """Take somebody out of the care team; harmless where they are not in it."""
    await CareTeams(access_of(request)).change(principal, person_id, username, is_member=False)
    return await _team(request, principal, person_id)


async def _team(request: Request, principal: Principal, person_id: str) -> Team:
    found = await CareTeams(access_of(request)).of(principal, person_id)
    rows = [Member(username=one.username, added_by=one.added_by, since_ms=ms(one.since_ns)) for one in found]
    return Team(members=rows)

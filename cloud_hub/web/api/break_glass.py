"""`/api/v1/break-glass`: open a closed record in an emergency; who is told of it; the queue of reviews."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from telemed import screen

from cloud_hub.access.glass import Glass, Proof, Reason
from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import NotPermitted
from cloud_hub.store.broken_glass import Broken
from cloud_hub.web.api.session import source_of
from cloud_hub.web.guard import access_of, require
from cloud_hub.web.views import ms

router = APIRouter(prefix="/api/v1/break-glass", tags=["break glass"])
Breaker = Annotated[Principal, Depends(require(Right.BREAK_GLASS))]
Reviewer = Annotated[Principal, Depends(require(Right.REVIEW_GLASS))]
Oneself = Annotated[Principal, Depends(require(Right.SIGNED_IN))]
BreakId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]


@router.get("")
async def mine(request: Request, principal: Breaker) -> screen.BrokenList:
    """Return the records that one has open now."""
    return _views(await Glass(access_of(request)).mine(principal))


@router.post("", status_code=201)
async def smash(body: screen.BreakGlassBody, request: Request, principal: Breaker) -> screen.Broken:
    """Open a record for half an hour; asks once more who one is, and tells those who answer for the person."""
    reason = Reason(body.reason_code, body.text)
    proof = Proof(body.password, body.code, source_of(request, principal.username))
    return _view(await Glass(access_of(request)).smash(principal, body.person, reason, proof))


@router.post("/{break_id}/renew")
async def renew(break_id: BreakId, body: screen.ProofBody, request: Request, principal: Breaker) -> screen.Broken:
    """Let it last another half hour, once."""
    proof = Proof(body.password, body.code, source_of(request, principal.username))
    return _view(await Glass(access_of(request)).renew(principal, break_id, proof))


@router.post("/{break_id}/close", status_code=204)
async def close(break_id: BreakId, request: Request, principal: Breaker) -> None:
    """Close the record before its time."""
    await Glass(access_of(request)).close(principal, break_id)


@router.get("/review")
async def queue(request: Request, principal: Reviewer) -> screen.BrokenList:
    """Return the openings within scope whose review is owed, most urgent first."""
    return _views(await Glass(access_of(request)).owed(principal))


@router.post("/{break_id}/review", status_code=204)
async def review(break_id: BreakId, body: screen.ReviewBody, request: Request, principal: Reviewer) -> None:
    """Close a review; nobody reviews what they did themselves."""
    await Glass(access_of(request)).review(principal, break_id, body.verdict, body.text)


@router.get("/notices")
async def notices(request: Request, principal: Oneself) -> screen.BrokenList:
    """Return the openings of which one is told and which one has not seen yet, newest first."""
    _demand_page(principal)
    return _views(await Glass(access_of(request)).unseen(principal))


@router.post("/{break_id}/seen", status_code=204)
async def seen(break_id: BreakId, request: Request, principal: Oneself) -> None:
    """Note that one has seen of an opening."""
    _demand_page(principal)
    await Glass(access_of(request)).saw(principal, break_id)


def _demand_page(principal: Principal) -> None:
    """What stands in a notice is about patients: for people on the hub's own page, once their sign-in is complete."""
    if principal.must_change or principal.must_enrol or principal.scopes is not None:
        raise NotPermitted("only on the hub's own page, once fully signed in")


def _views(found: list[Broken]) -> screen.BrokenList:
    return screen.BrokenList(broken=[_view(one) for one in found])


def _view(found: Broken) -> screen.Broken:
    return screen.Broken(
        break_id=found.break_id,
        site=found.site,
        person_id=found.person_id,
        username=found.username,
        role=found.role,
        reason_code=found.reason_code,
        text=found.text,
        opened_ms=ms(found.opened_ns),
        until_ms=ms(found.until_ns),
        due_ms=ms(found.due_ns),
        renewed=found.is_renewed,
    )

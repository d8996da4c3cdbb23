"""`/api/v1/persons/{person_id}/consents` at the bedside: the same resource as the hub's."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from telemed import screen
from telemed.consent import GIVEN_BY, WITHDRAWN_BY, aggregate_id
from telemed.roles import Right

from edge_node.bedside.accounts import Session
from edge_node.bedside.consents import demand
from edge_node.bedside.gate import AtStation, require, require_changing
from edge_node.bedside.station import Station
from edge_node.errors import NotFound

Reader = Annotated[Session, Depends(require(Right.SEE_CONSENT))]
Changer = Annotated[Session, Depends(require_changing(Right.CHANGE_CONSENT))]
PersonId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]
router = APIRouter(prefix="/api/v1/persons/{person_id}/consents")


@router.get("")
async def listed(person_id: PersonId, station: AtStation, session: Reader) -> screen.Consents:
    """Where a person stands on every purpose of clinical 9.4."""
    _demand(station, session, person_id)
    await station.note_views(session, "consent-read", [person_id])
    return station.consents.of(person_id, session.who.role)


@router.post("")
async def give(
    person_id: PersonId, body: screen.ConsentGiveBody, station: AtStation, session: Changer
) -> screen.Consents:
    """Record that the person, or their guardian, agreed; with the hub gone too."""
    demand(GIVEN_BY, body.purpose, session.who.role)
    _demand(station, session, person_id)
    await station.consents.give(person_id, body, session.who)
    await _note(station, session, "consent-give", aggregate_id(person_id, body.purpose))
    return station.consents.of(person_id, session.who.role)


@router.post("/withdrawal")
async def withdraw(
    person_id: PersonId, body: screen.ConsentWithdrawBody, station: AtStation, session: Changer
) -> screen.Consents:
    """Record that the person takes it back; open pages that need it show nothing from now on."""
    demand(WITHDRAWN_BY, body.purpose, session.who.role)
    _demand(station, session, person_id)
    await station.consents.withdraw(person_id, body, session.who)
    await _note(station, session, "consent-withdraw", aggregate_id(person_id, body.purpose))
    return station.consents.of(person_id, session.who.role)


def _demand(station: Station, session: Session, person_id: str) -> None:
    if not station.sees_person(session, person_id):
        raise NotFound("no such person at this site")


async def _note(station: Station, session: Session, action: str, which: str) -> None:
    await station.around.audit.note(session.who, action, f"Patient/{which}")

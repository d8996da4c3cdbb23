"""`/api/v1/studies` at the bedside: what images came, and a person's decision whose they are (decision 30)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from telemed.roles import Right
from telemed.screen import SiteStudies, SiteStudy, StudyPersonBody

from edge_node.bedside.accounts import Session
from edge_node.bedside.gate import AtStation, require, require_changing
from edge_node.bedside.ports import StudyNow
from edge_node.errors import NotFound

MS = 1_000_000
Reader = Annotated[Session, Depends(require(Right.SEE_RECORD))]
Decider = Annotated[Session, Depends(require_changing(Right.CHANGE_PLAN))]
StudyId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[str, Query(max_length=36, pattern=r"^[A-Za-z0-9-]*$")]
router = APIRouter(prefix="/api/v1/studies")


@router.get("")
async def listed(station: AtStation, session: Reader, limit: Limit = 100, after: After = "") -> SiteStudies:
    """Studies that came to this node, page by page: `after` is the last one of the page before.

    Empty behind the last one, and where the node receives none.
    """
    studies = station.around.studies
    found = [] if studies is None else await studies.listed(limit, after)
    shown = [f"Patient/{study.person_id}" if study.person_id else f"study/{study.study_id}" for study in found]
    await station.note_shown(session, "study-read", sorted(set(shown)))
    return SiteStudies(studies=[_view(study) for study in found])


@router.post("/{study_id}/person")
async def decide(study_id: StudyId, body: StudyPersonBody, station: AtStation, session: Decider) -> SiteStudies:
    """File a study under a person of this site; the hub is told by a new manifest."""
    if not station.sees_person(session, body.person_id):
        raise NotFound("no such person at this site")
    studies = station.around.studies
    if studies is None or not await studies.assign(study_id, body.person_id, session.who.username):
        raise NotFound("no such study at this site")
    await station.around.audit.note(session.who, "study-assign", f"Patient/{body.person_id}/study/{study_id}")
    decided = await studies.found(study_id)
    return SiteStudies(studies=[_view(decided)] if decided is not None else [])


def _view(study: StudyNow) -> SiteStudy:
    patient = study.patient
    return SiteStudy(
        study_id=study.study_id,
        person_id=study.person_id,
        assigned_by=study.assigned_by,
        patient_id=patient.patient_id,
        patient_name=patient.name,
        birth_date=patient.birth_date,
        study_date=study.study_date,
        description=study.description,
        is_mixed=study.is_mixed,
        conflicts=study.conflicts,
        newest_ms=study.last_ns // MS,
        is_here=study.is_here,
    )

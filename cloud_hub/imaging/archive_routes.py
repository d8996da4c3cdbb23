"""`/api/v1/persons/{person_id}/archive`: what the archive has of a person, and fetching from it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Response
from telemed import answers, screen

from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import ArchiveAbsent
from cloud_hub.imaging.archived import ArchivedStudy
from cloud_hub.imaging.face import NO_STORE, RIGHT, Face, Guard, demand
from cloud_hub.imaging.fetching import Fetching, Here, OfPerson, Progress
from cloud_hub.imaging.storing import open_person
from cloud_hub.store.persons import Person

PREFIX = "/api/v1/persons/{person_id}/archive"
PersonId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]
StudyUid = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$")]
_SEX = {"M": "male", "F": "female", "O": "other"}


def router(face: Face, fetching: Fetching | None, guard: Guard) -> APIRouter:
    """Return the routes, to be mounted at the root of the application; `fetching` is None where there is no archive."""
    routes = APIRouter(prefix=PREFIX, tags=["studies"], responses=answers.refusals())
    reader = Annotated[Principal, Depends(guard(RIGHT))]
    doctor = Annotated[Principal, Depends(guard(Right.CHANGE_PLAN))]

    async def configured(principal: Principal, person_id: str) -> Fetching:
        """Return the archive, once it is sure that the person is open to whoever asks."""
        await face.care.read(lambda c: open_person(c, principal, person_id))
        if fetching is None:
            raise ArchiveAbsent("no archive of images is configured", [])
        return fetching

    @routes.get("")
    async def archived(person_id: PersonId, response: Response, principal: reader) -> screen.ArchivedStudies:
        """Ask the archive for the studies of a person."""
        response.headers.update(NO_STORE)
        demand(principal, "s")
        archive = await configured(principal, person_id)
        found = await archive.look(principal, person_id)
        told = [_told(one, found, archive.progress(person_id, one.study_uid)) for one in found.studies]
        return screen.ArchivedStudies(is_numbered=found.is_numbered, studies=told, is_more=found.is_more)

    @routes.post("/{study_uid}/fetch", status_code=202)
    async def fetch(
        person_id: PersonId, study_uid: StudyUid, response: Response, principal: doctor
    ) -> screen.ArchiveFetch:
        """Have a study fetched, or what is missing of it here."""
        response.headers.update(NO_STORE)
        archive = await configured(principal.for_changes(), person_id)
        return _progress(await archive.begin(principal.for_changes(), person_id, study_uid))

    @routes.get("/{study_uid}/fetch")
    async def fetched(
        person_id: PersonId, study_uid: StudyUid, response: Response, principal: reader
    ) -> screen.ArchiveFetch:
        """Return how far the fetch of a study is; `none` where the hub remembers none."""
        response.headers.update(NO_STORE)
        demand(principal, "r")
        archive = await configured(principal, person_id)
        return _progress(archive.progress(person_id, study_uid))

    return routes


def _told(study: ArchivedStudy, found: OfPerson, progress: Progress | None) -> screen.ArchivedStudy:
    here = found.here.get(study.study_uid, Here("", 0))
    return screen.ArchivedStudy(
        study_uid=study.study_uid,
        study_date=study.study_date,
        study_time=study.study_time,
        modalities=list(study.modalities),
        description=study.description,
        images=study.images,
        here=here.images,
        study_key=here.study_key,
        patient_name=study.patient_name,
        birth_date=study.birth_date,
        sex=study.sex,
        differs=_differing(study, found.person),
        fetch=_progress(progress),
    )


def _differing(study: ArchivedStudy, person: Person) -> list[Literal["birth-date", "sex"]]:
    """Return what both sides know and say otherwise: a wrong number leads to the images of somebody else."""
    found = list[Literal["birth-date", "sex"]]()
    known_day = person.birth_date.replace("-", "")
    if study.birth_date and len(known_day) == len(study.birth_date) and known_day != study.birth_date:
        found.append("birth-date")
    if study.sex in _SEX and person.gender in _SEX.values() and _SEX[study.sex] != person.gender:
        found.append("sex")
    return found


def _progress(found: Progress | None) -> screen.ArchiveFetch:
    if found is None:
        return screen.ArchiveFetch(state="none", images=0, of=None, left_out=0, reason="")
    return screen.ArchiveFetch(
        state=found.state.value, images=found.images, of=found.of, left_out=found.left_out, reason=found.reason
    )

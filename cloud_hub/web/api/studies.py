"""`/api/v1/studies`: the studies of images that somebody may see, as lists show them; the images are at DICOMweb."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from telemed import screen

from cloud_hub.access import images
from cloud_hub.access.rights import Principal, Right
from cloud_hub.desk import readings
from cloud_hub.errors import NotPermitted
from cloud_hub.store.studies import Narrowing
from cloud_hub.web.guard import require
from cloud_hub.web.parts import parts_of
from cloud_hub.web.study_read import Asked, read_studies
from cloud_hub.web.viewed import viewed_of

LIMIT_MOST = 100
RESOURCE = "ImagingStudy"
"""FHIR type by whose scopes a program's token is judged here too."""
SEARCH = "images-search"
"""What the trail calls it, as where DICOMweb is searched."""

router = APIRouter(prefix="/api/v1/studies", tags=["studies"])
Reader = Annotated[Principal, Depends(require(Right.SEE_RECORD))]
Doctor = Annotated[Principal, Depends(require(Right.CHANGE_PLAN))]
StudyKey = Annotated[str, Path(min_length=64, max_length=64, pattern=r"^[0-9a-f]+$")]
PersonId = Annotated[str, Query(max_length=36, pattern=r"^[A-Za-z0-9-]*$")]
Filed = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]
StudyUid = Annotated[str, Query(max_length=64, pattern=r"^[0-9.]*$")]
SiteName = Annotated[str, Query(max_length=40, pattern=r"^[a-z0-9-]*$")]
Modality = Annotated[str, Query(max_length=16, pattern=r"^[A-Z0-9]*$")]
Offset = Annotated[int, Query(ge=0, le=100_000)]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MOST)]


def _narrowing(person: PersonId = "", study: StudyUid = "", filed: Filed = "", site: SiteName = "") -> Narrowing:
    keys, uids = _named(filed), _named(study)
    return Narrowing(sites=_named(site), persons=_named(person), study_keys=keys, study_uids=uids)


def _asked(
    narrowing: Annotated[Narrowing, Depends(_narrowing)],
    modality: Modality = "",
    unread: bool = False,
    offset: Offset = 0,
    limit: Limit = 50,
) -> Asked:
    return Asked(narrowing, modality, unread, offset, limit)


def _named(value: str) -> frozenset[str] | None:
    return frozenset({value}) if value else None


@router.get("")
async def listed(request: Request, principal: Reader, asked: Annotated[Asked, Depends(_asked)]) -> screen.StudyRows:
    """Return a page of studies, the newest day first."""
    if not principal.may_read(RESOURCE, "s"):
        raise NotPermitted(f"the token has no scope for {RESOURCE}.s")
    parts = parts_of(request)
    now_ns = parts.live.now_ns()
    found = await parts.stores.care.read(lambda c: read_studies(c, principal, asked, now_ns))
    seen = dict.fromkeys(images.audited(principal, one) for one in found.shown)
    await viewed_of(request).show_things(principal, SEARCH, list(seen))
    return found.rows.model_copy(update={"has_archive": parts.config.imaging.archive is not None})


@router.post("/{study_key}/read", status_code=204)
async def read(study_key: StudyKey, body: screen.StudyReadBody, request: Request, principal: Doctor) -> None:
    """Say that one has read what the page showed of a study."""
    parts = parts_of(request)
    now_ns = parts.live.now_ns()
    await parts.stores.care.write(lambda c: readings.mark_read(c, principal, study_key, body.images, now_ns))


@router.delete("/{study_key}/read", status_code=204)
async def unread(study_key: StudyKey, request: Request, principal: Doctor) -> None:
    """Say that a study is to be read again."""
    parts = parts_of(request)
    now_ns = parts.live.now_ns()
    await parts.stores.care.write(lambda c: readings.mark_unread(c, principal, study_key, now_ns))

"""QIDO-RS: `/dicom-web/studies`, `/series` and `/instances`, alone and within each other (PS3.18 10.6)."""

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from cloud_hub.access.rights import Principal
from cloud_hub.imaging import looking, matching, media
from cloud_hub.imaging.attributes import Level
from cloud_hub.imaging.face import NO_STORE, RIGHT, SEARCH, Face, Guard, accepted, address, demand, documented
from cloud_hub.imaging.looking import Uids

Uid = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9.]+$")]
MORE = '299 yuanzhen "There are additional results that can be requested"'
_ANSWERS = documented(media.DICOM_JSON, s204="Nothing matches")


def add(routes: APIRouter, face: Face, guard: Guard) -> None:
    """Add the routes of searches."""
    who = Annotated[Principal, Depends(guard(RIGHT))]

    @routes.get("/studies", responses=_ANSWERS)
    async def studies(request: Request, principal: who) -> Response:
        """Search studies."""
        return await _search(face, request, principal, Level.STUDY, Uids())

    @routes.get("/series", responses=_ANSWERS)
    async def all_series(request: Request, principal: who) -> Response:
        """Search series of all studies."""
        return await _search(face, request, principal, Level.SERIES, Uids())

    @routes.get("/instances", responses=_ANSWERS)
    async def all_instances(request: Request, principal: who) -> Response:
        """Search instances of all studies."""
        return await _search(face, request, principal, Level.INSTANCE, Uids())

    @routes.get("/studies/{study}/series", responses=_ANSWERS)
    async def series(study: Uid, request: Request, principal: who) -> Response:
        """Search the series of a study."""
        return await _search(face, request, principal, Level.SERIES, Uids(study))

    @routes.get("/studies/{study}/instances", responses=_ANSWERS)
    async def instances(study: Uid, request: Request, principal: who) -> Response:
        """Search the instances of a study."""
        return await _search(face, request, principal, Level.INSTANCE, Uids(study))

    @routes.get("/studies/{study}/series/{series}/instances", responses=_ANSWERS)
    async def instances_of_series(study: Uid, series: Uid, request: Request, principal: who) -> Response:
        """Search the instances of a series."""
        return await _search(face, request, principal, Level.INSTANCE, Uids(study, series))


async def _search(face: Face, request: Request, principal: Principal, level: Level, uids: Uids) -> Response:
    demand(principal, "s")
    media.demand_json(accepted(request))
    query, root = matching.read(level, request.query_params.multi_items()), address(request)
    page = await face.care.read(lambda c: looking.search(c, principal, query, uids, root))
    await face.shown(principal, SEARCH, page.shown)
    headers = NO_STORE | ({"Warning": MORE} if page.has_more else {})
    if not page.told:
        return Response(status_code=204, headers=headers)
    body = json.dumps([dict(sorted(one.items())) for one in page.told], ensure_ascii=False, allow_nan=False)
    return Response(body.encode("utf-8", "replace"), media_type=media.DICOM_JSON, headers=headers)

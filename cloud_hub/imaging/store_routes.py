"""STOW-RS: files from a PACS, a modality or a program of a person's own (PS3.18 10.5)."""

import json
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import BadRequest
from cloud_hub.imaging import media
from cloud_hub.imaging.face import NO_STORE, Face, Guard, accepted, address
from cloud_hub.imaging.looking import RETRIEVE_URL, Uids
from cloud_hub.imaging.storing import Stored, Storing

STORED, STORED_IN_PART, STORED_NONE = 200, 202, 409
Uid = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9.]+$")]
Person = Annotated[str, Query(max_length=36, pattern=r"^[A-Za-z0-9-]*$")]
_TOLD: dict[str, Any] = {"content": {media.DICOM_JSON: {}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    STORED: _TOLD | {"description": "All are stored"},
    STORED_IN_PART: _TOLD | {"description": "Some are stored; the others are named with the reason"},
    STORED_NONE: {"content": {media.DICOM_JSON: {}, "application/problem+json": {}}, "description": "None is stored"},
}
_BODY = {"requestBody": {"required": True, "content": {media.MULTIPART: {"schema": {"type": "string"}}}}}


def add(routes: APIRouter, face: Face, guard: Guard) -> None:
    """Add the routes that store."""
    who = Annotated[Principal, Depends(guard(Right.ENTER_VITALS))]

    @routes.post("/studies", responses=_ANSWERS, openapi_extra=_BODY)
    async def store(request: Request, principal: who, person: Person = "") -> Response:
        """Store files; `person` says whose they are, where their study is not known yet."""
        return await _store(face, request, principal.for_changes(), ("", person))

    @routes.post("/studies/{study}", responses=_ANSWERS, openapi_extra=_BODY)
    async def store_in_study(study: Uid, request: Request, principal: who, person: Person = "") -> Response:
        """Store files of one study."""
        return await _store(face, request, principal.for_changes(), (study, person))


async def _store(face: Face, request: Request, principal: Principal, what: tuple[str, str]) -> Response:
    study, person = what
    media.demand_json(accepted(request))
    boundary = _boundary(request.headers.get("content-type", ""))
    storing = Storing(face.care, face.files, principal, person, study)
    found = await storing.run(boundary, request.stream(), time.time_ns())
    kept = [one for one in found if not one.failure]
    status = STORED if len(kept) == len(found) else STORED_IN_PART if kept else STORED_NONE
    body = json.dumps(_told(found, address(request)))
    return Response(body, status, media_type=media.DICOM_JSON, headers=NO_STORE)


def _boundary(content_type: str) -> str:
    """Return the boundary of a body.

    Raises:
        BadRequest: it is not multipart/related of DICOM files.
    """
    kind, parameters = media.parsed(content_type)
    if kind != media.MULTIPART or parameters.get("type", media.DICOM).lower() != media.DICOM:
        raise BadRequest(f'files are taken as {media.MULTIPART}; type="{media.DICOM}"', ["Content-Type"])
    return parameters.get("boundary", "")


def _told(found: list[Stored], root: str) -> dict[str, Any]:
    """Return the Store Instances Response Module (PS3.18 I.2)."""
    kept = [_reference(one) | _url(root, one.uids) for one in found if not one.failure]
    lost = [_reference(one) | {"00081197": {"vr": "US", "Value": [one.failure]}} for one in found if one.failure]
    told: dict[str, Any] = {}
    studies = {one.uids[0] for one in found if not one.failure}
    if len(studies) == 1:
        told |= _url(root, (studies.pop(),))
    if lost:
        told["00081198"] = {"vr": "SQ", "Value": lost}
    return told | ({"00081199": {"vr": "SQ", "Value": kept}} if kept else {})


def _reference(one: Stored) -> dict[str, Any]:
    pairs = (("00081150", one.sop_class_uid), ("00081155", one.uids[2]))
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in pairs if value}


def _url(root: str, uids: tuple[str, ...]) -> dict[str, Any]:
    return {RETRIEVE_URL: {"vr": "UR", "Value": [root + Uids(*uids).path]}}

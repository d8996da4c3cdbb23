"""`GET /api/v1/studies/{study_key}/key-image`: the picture that a site sent ahead of a study, for pages."""

import asyncio
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from telemed import answers

from cloud_hub.access.rights import Principal
from cloud_hub.errors import NotFound
from cloud_hub.imaging import looking, media
from cloud_hub.imaging.face import NO_STORE, READ, RIGHT, Face, Guard, demand, documented
from cloud_hub.imaging.findings_routes import PREFIX
from cloud_hub.imaging.matching import STUDY_KEY

LIMIT_BYTES = 2 * 1024 * 1024
BEGINNINGS = {b"\xff\xd8\xff": media.JPEG, b"\x89PNG\r\n\x1a\n": media.PNG}
StudyKey = Annotated[str, Path(pattern=f"^{STUDY_KEY}$")]


def router(face: Face, guard: Guard) -> APIRouter:
    """Return the route, to be mounted at the root of the application."""
    routes = APIRouter(prefix=PREFIX, tags=["studies"], responses=answers.refusals())
    who = Annotated[Principal, Depends(guard(RIGHT))]

    @routes.get("/{study_key}/key-image", response_class=Response, responses=documented(media.JPEG, media.PNG))
    async def key_image(study_key: StudyKey, principal: who) -> Response:
        """Return the picture: for a first look, compressed with losses."""
        demand(principal, "r")
        path_of = face.files.blobs.path
        study, sha256 = await face.care.read(lambda c: looking.key_image(c, principal, study_key))
        await face.shown(principal, READ, [study])
        content, media_type = await asyncio.to_thread(_picture, path_of(sha256))
        return Response(content, media_type=media_type, headers=NO_STORE)

    return routes


def _picture(path: FilePath) -> tuple[bytes, str]:
    """Return a picture and its media type.

    Raises:
        NotFound: it is gone from the disk, or no picture: whoever sent it may call anything one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except FileNotFoundError:
        content = b""
    for beginning, media_type in BEGINNINGS.items():
        if content.startswith(beginning) and len(content) <= LIMIT_BYTES:
            return content, media_type
    raise NotFound("no such picture")

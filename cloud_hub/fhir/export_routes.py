"""`/api/v1/persons/{person_id}/export`: a person's own copy of everything, streamed and audited."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import StreamingResponse

from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import NotFound, NotPermitted, NotSignedIn
from cloud_hub.fhir import export
from cloud_hub.fhir.routes import Face, Guard

PersonId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]

_ZIP: dict[int | str, dict[str, Any]] = {200: {"content": {"application/zip": {}}, "description": "The archive"}}


def router(face: Face, guard: Guard) -> APIRouter:
    """Return the route, to be mounted at the root of the application."""
    routes = APIRouter(prefix="/api/v1/persons", tags=["export"])
    reader = guard(Right.EXPORT_PERSON)
    who = Annotated[Principal, Depends(reader)]

    @routes.get("/{person_id}/export", response_class=StreamingResponse, responses=_ZIP)
    async def everything(person_id: PersonId, principal: who, request: Request) -> StreamingResponse:
        """Return everything about one person as a zip of FHIR NDJSON with an index in both languages."""
        now_ns = time.time_ns()
        found = await face.care.read(lambda c: export.subject(c, principal, person_id, now_ns))

        async def may_go_on() -> bool:
            try:
                # Counted as use: whoever waits for a long copy is not signed out as idle meanwhile.
                fresh = await reader(request)
                await face.care.read(lambda c: export.demand(c, fresh, person_id))
            except (NotSignedIn, NotPermitted, NotFound):
                return False
            return True

        # Before the first byte: whoever breaks off in the middle has part of it.
        await face.audit(principal, [("patient-export", f"Patient/{person_id}", "ok")])
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="yuanzhen-{person_id}.zip"',
        }
        chunks = export.stream(face, found, now_ns, may_go_on)
        return StreamingResponse(chunks, media_type="application/zip", headers=headers)

    return routes

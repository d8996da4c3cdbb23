"""`/api/v1/persons/{person_id}/imports` at the bedside: a photo of a wound, or a PDF, beside the person's other images.

The file is kept as it came and made into DICOM by the node's own process for that; the page asks what became of it.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.requests import ClientDisconnect
from telemed import long_string, screen
from telemed.roles import Right

from edge_node.bedside.accounts import Session
from edge_node.bedside.gate import AtStation, require, require_changing
from edge_node.bedside.ports import ArrivingImport, ImportsView
from edge_node.bedside.problems import Refusal
from edge_node.bedside.station import Station
from edge_node.bedside.store_routes import AGAIN_AFTER_S, unstalled
from edge_node.errors import NotFound

LIMIT_BYTES = 64 * 1024 * 1024
"""A photo of a phone is a tenth of it, a scanned record of many pages less."""
ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "application/pdf": ".pdf"}
Reader = Annotated[Session, Depends(require(Right.SEE_RECORD))]
Doctor = Annotated[Session, Depends(require_changing(Right.CHANGE_PLAN))]
PersonId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]
ImportId = Annotated[str, Path(min_length=32, max_length=32, pattern=r"^[0-9a-f]+$")]
Description = Annotated[str, Query(max_length=long_string.MOST_CHARS, pattern=long_string.PATTERN)]
_BODY = {"requestBody": {"required": True, "content": {kind: {"schema": {"type": "string"}} for kind in ENDINGS}}}
router = APIRouter(prefix="/api/v1/persons/{person_id}/imports")


@router.post("", status_code=202, openapi_extra=_BODY)
async def hand(
    person_id: PersonId, request: Request, station: AtStation, session: Doctor, description: Description = ""
) -> screen.ImportLaid:
    """Keep a photo (JPEG, PNG) or PDF of a person; it is made into DICOM soon, and goes to the hub as a study."""
    imports = _imports(station, session, person_id)
    ending = ENDINGS.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if ending is None:
        raise Refusal("bad-media", f"taken are {', '.join(ENDINGS)}", fields=["Content-Type"])
    patient, issuer = _identifier(station, person_id)
    if station.storing.locked():
        raise Refusal("try-later", "others are storing", retry_s=AGAIN_AFTER_S)
    settings = station.around.config.imaging
    assert settings is not None, "there is something that takes them"
    async with station.storing:
        arriving = imports.arriving(ending, LIMIT_BYTES)
        try:
            await _take(arriving, unstalled(request.stream(), settings.stall_s))
            import_id = await arriving.keep(patient, issuer, description)
        except (TimeoutError, ClientDisconnect) as error:
            raise Refusal("bad-input", "the body stalls or is cut short", fields=["body"]) from error
        except OSError as error:
            raise Refusal("store-full", "there is no room for it") from error
        finally:
            await arriving.drop()
    if not import_id:
        raise Refusal("bad-input", "the body is empty", fields=["body"])
    await station.around.audit.note(session.who, "images-import", f"Patient/{person_id}")
    return screen.ImportLaid(import_id=import_id)


@router.get("/{import_id}")
async def became(person_id: PersonId, import_id: ImportId, station: AtStation, session: Reader) -> screen.ImportBecame:
    """What became of a file; it is forgotten at the next start of the node."""
    try:
        told = await _imports(station, session, person_id).became(import_id)
    except KeyError as error:
        raise NotFound("nothing is known of such a file") from error
    if told is None:
        return screen.ImportBecame(state="waiting", text=None)
    zh, _, en = told.text.partition(" / ")
    return screen.ImportBecame(
        state="imported" if told.is_imported else "refused", text=screen.Text2(zh=zh, en=en or zh)
    )


def _imports(station: Station, session: Session, person_id: str) -> ImportsView:
    imports = station.around.imports
    if imports is None:
        raise NotFound("this node takes no images")
    if not station.sees_person(session, person_id):
        raise NotFound("no such person at this site")
    return imports


def _identifier(station: Station, person_id: str) -> tuple[str, str]:
    """Return by what the person is known in DICOM: an identifier, and who gave it where that has room."""
    for each in station.around.care.roster.persons[person_id].facts.identifiers:
        if long_string.fits(each.value):
            return each.value, each.system if long_string.fits(each.system) else ""
    raise Refusal("bad-input", "this person has no identifier that DICOM could carry", fields=["person_id"])


async def _take(arriving: ArrivingImport, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        if not await arriving.write(piece):
            raise Refusal("too-large", f"over {LIMIT_BYTES} bytes", fields=["body"])

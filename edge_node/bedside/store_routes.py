"""STOW-RS at the node (PS3.18 10.5): images of a device or a program that does not speak DICOM's own protocol.

Whoever stores is signed in and may change plans, or is a device with a token of its own.  Every part goes the way of
an object that came by C-STORE, and is told to be stored after file and row are synced.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.message import Message
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.requests import ClientDisconnect
from telemed.parts_in import Begin, End, NoParts, PartsIn
from telemed.roles import Right, Role

from edge_node.bedside.gate import AtStation, changing, signed_in, station_of
from edge_node.bedside.jsonguard import BadBody
from edge_node.bedside.ports import ArrivingFile, FileNow, StudiesView
from edge_node.bedside.problems import Refusal
from edge_node.bedside.station import Station
from edge_node.samples.alarm import Who

DICOM, DICOM_JSON, MULTIPART = "application/dicom", "application/dicom+json", "multipart/related"
STORED, STORED_IN_PART, STORED_NONE, NOT_NOW = 200, 202, 409, 503
MOST_PARTS = 1000
WARNING, NOT_NOW_STATUS = 0xB000, 0xA700
"""Of PS3.4 table B.2-1: stored, and a person must look; no room now."""
SIGNED_IN = "STOW"
"""Stands where a modality's title stands, for what a person's own program sent."""
AGAIN_AFTER_S = 60
Uid = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9.]+$")]
router = APIRouter(prefix="/dicom-web")
_TOLD: dict[str, Any] = {"content": {DICOM_JSON: {}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    STORED: _TOLD | {"description": "All are stored"},
    STORED_IN_PART: _TOLD
    | {"description": "Some are not stored, or somebody must look; each is named with the reason"},
    STORED_NONE: {"content": {DICOM_JSON: {}, "application/problem+json": {}}, "description": "None is stored"},
    NOT_NOW: {"content": {DICOM_JSON: {}, "application/problem+json": {}}, "description": "None is stored; try again"},
}
_BODY = {"requestBody": {"required": True, "content": {MULTIPART: {"schema": {"type": "string"}}}}}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who stores."""

    who: Who
    title: str
    """Kept with each object, as a modality's title."""


async def storing(request: Request) -> Sender:
    """Return who stores: a device by its token, else who is signed in; refuse everybody else."""
    station = station_of(request)
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind:
        title = station.around.sender_of(token.strip()) if kind.lower() == "bearer" else ""
        if not title:
            await station.note_token_refused()
            raise Refusal("not-signed-in", "no such token")
        return Sender(Who(title, Role.PROGRAM), title)
    session = await changing(request, await signed_in(request))
    if not station.may(session, Right.CHANGE_PLAN):
        raise Refusal("refused-rights", f"{session.who.role} may not {Right.CHANGE_PLAN}")
    return Sender(session.who, SIGNED_IN)


storing.right = Right.CHANGE_PLAN  # type: ignore[attr-defined]  # as those of the gate
Storing = Annotated[Sender, Depends(storing)]


@router.post("/studies", responses=_ANSWERS, openapi_extra=_BODY)
async def store(request: Request, station: AtStation, sender: Storing) -> Response:
    """Store DICOM files."""
    return await _store(request, station, sender, "")


@router.post("/studies/{study}", responses=_ANSWERS, openapi_extra=_BODY)
async def store_in_study(study: Uid, request: Request, station: AtStation, sender: Storing) -> Response:
    """Store DICOM files of one study."""
    return await _store(request, station, sender, study)


async def _store(request: Request, station: Station, sender: Sender, study_uid: str) -> Response:
    studies, settings = station.around.studies, station.around.config.imaging
    if studies is None or settings is None:
        raise Refusal("not-found", "this node takes no images")
    boundary = _boundary(request.headers.get("content-type", ""))
    if station.storing.locked():
        raise Refusal("try-later", "others are storing", retry_s=AGAIN_AFTER_S)
    async with station.storing:
        try:
            pieces = unstalled(request.stream(), settings.stall_s)
            found = await _Parts(studies, sender.title, study_uid).run(PartsIn(boundary), pieces)
        except NoParts as error:
            raise Refusal("bad-input", str(error), fields=[error.where]) from error
        except BadBody as error:
            raise Refusal(error.code, str(error), fields=[error.field]) from error
        except (TimeoutError, ClientDisconnect) as error:
            raise Refusal("bad-input", "the body stalls or is cut short", fields=["body"]) from error
    return await _answer(station, sender, found)


class _Parts:
    """Takes the parts of one request; used once."""

    def __init__(self, studies: StudiesView, title: str, study_uid: str) -> None:
        self._open: Callable[[], ArrivingFile] = lambda: studies.arriving(title, study_uid)
        self._file: ArrivingFile | None = None
        self._found: list[FileNow] = []

    async def run(self, parts: PartsIn, pieces: AsyncIterator[bytes]) -> list[FileNow]:
        """Take a body to its end and return what became of each part, in order.

        Raises:
            NoParts: it is no multipart body; parts before that are stored.
            BadBody: its parts are no DICOM files, or too many; likewise.
        """
        try:
            async for piece in pieces:
                for event in parts.feed(piece):
                    await self._take(event)
            parts.close()
        finally:
            await self._drop()
        if not self._found:
            raise BadBody("the body has no part", "body", "bad-input")
        return self._found

    async def _take(self, event: Begin | bytes | End) -> None:
        if isinstance(event, Begin):
            _check(event, len(self._found))
            self._file = self._open()
        elif self._file is not None and isinstance(event, bytes):
            await self._file.write(event)
        elif self._file is not None:
            self._found.append(await self._file.keep())
            await self._drop()

    async def _drop(self) -> None:
        if self._file is not None:
            await self._file.drop()
        self._file = None


async def unstalled(pieces: AsyncIterator[bytes], stall_s: float) -> AsyncIterator[bytes]:
    """Yield what comes.

    Raises:
        TimeoutError: nothing does for so long.
    """
    while True:
        async with asyncio.timeout(stall_s):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


def _check(begun: Begin, count: int) -> None:
    if count >= MOST_PARTS:
        raise BadBody(f"at most {MOST_PARTS} files at once", "body", "bad-input")
    if begun.content_type not in ("", DICOM):
        raise BadBody(f"parts are {DICOM}; metadata with bulk data apart is not taken", "body", "bad-media")


def _boundary(content_type: str) -> str:
    told = Message()
    told["Content-Type"] = content_type
    kind, inner = told.get_content_type(), told.get_param("type", DICOM)
    if kind != MULTIPART or str(inner).lower() != DICOM:
        raise Refusal("bad-media", f'files are taken as {MULTIPART}; type="{DICOM}"', fields=["Content-Type"])
    return str(told.get_param("boundary", ""))


async def _answer(station: Station, sender: Sender, found: list[FileNow]) -> Response:
    kept = [one for one in found if _is_kept(one)]
    entries = dict.fromkeys(("images-store", f"study/{one.study_uid}", "ok") for one in kept)
    await station.around.audit.note_all(sender.who, list(entries))
    body = json.dumps(_told(found))
    headers = {"cache-control": "no-store"}
    if all(one.status == NOT_NOW_STATUS for one in found):
        return Response(body, NOT_NOW, headers | {"retry-after": str(AGAIN_AFTER_S)}, DICOM_JSON)
    is_plain = all(one.status == 0 for one in found)
    return Response(body, STORED if is_plain else STORED_IN_PART if kept else STORED_NONE, headers, DICOM_JSON)


def _is_kept(one: FileNow) -> bool:
    return one.status in (0, WARNING)


def _told(found: list[FileNow]) -> dict[str, Any]:
    """Return the Store Instances Response Module (PS3.18 I.2); this node gives nothing out by WADO-RS."""
    kept = [_reference(one) for one in found if _is_kept(one)]
    lost = [_reference(one) for one in found if not _is_kept(one)]
    told: dict[str, Any] = {"00081190": {"vr": "UR"}}
    if lost:
        told["00081198"] = {"vr": "SQ", "Value": lost}
    return told | ({"00081199": {"vr": "SQ", "Value": kept}} if kept else {})


def _reference(one: FileNow) -> dict[str, Any]:
    pairs = (("00081150", one.sop_class_uid), ("00081155", one.sop_instance_uid))
    told: dict[str, Any] = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in pairs if uid}
    if _is_kept(one):
        told["00081190"] = {"vr": "UR"}
    if one.status:
        told["00081196" if _is_kept(one) else "00081197"] = {"vr": "US", "Value": [one.status]}
    return told

"""WADO-RS: files as they are stored, their metadata, frames and pictures (PS3.18 10.4)."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from cloud_hub.access.rights import Principal
from cloud_hub.errors import ImageUnreadable
from cloud_hub.imaging import media, windows
from cloud_hub.imaging.face import (
    NO_STORE,
    RIGHT,
    Face,
    Guard,
    accepted,
    address,
    documented,
    versions_header,
)
from cloud_hub.imaging.looking import Found, Uids, study_told
from cloud_hub.imaging.matching import STUDY_KEY
from cloud_hub.imaging.media import DICOM, FrameForm
from cloud_hub.imaging.streaming import Multipart, Part, is_known, multipart, tag_of
from cloud_hub.store.studies import Instance

Uid = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9.]+$")]
Frames = Annotated[str, Path(min_length=1, max_length=4000, pattern=r"^[1-9][0-9,]*$")]
Tags = Annotated[str, Path(max_length=200, pattern=r"^[0-9A-F]{8}(/[1-9][0-9]{0,6}/[0-9A-F]{8})*$")]
Version = Annotated[int, Query(ge=0, le=1_000_000)]
Text = Annotated[str, Query(max_length=80)]
Filed = Annotated[str, Query(pattern=f"^({STUDY_KEY})?$")]
"""The one filed study that is meant, where several have the identifier."""
PIXELS = "7FE00010"


def _study(study: Uid, filed: Filed = "") -> Uids:
    return Uids(study, filed=filed)


def _series(study: Uid, series: Uid, filed: Filed = "") -> Uids:
    return Uids(study, series, filed=filed)


def _named(study: Uid, series: Uid, instance: Uid, filed: Filed = "") -> Uids:
    return Uids(study, series, instance, filed)


def _look(window: Text = "", viewport: Text = "") -> windows.Look:
    return windows.Look(windows.window(window), windows.viewport(viewport))


OfStudy = Annotated[Uids, Depends(_study)]
OfSeries = Annotated[Uids, Depends(_series)]
One = Annotated[Uids, Depends(_named)]
Look = Annotated[windows.Look, Depends(_look)]
_KNOWN = "What the If-None-Match header names is still so"
_FILES = documented(media.MULTIPART, DICOM, s206="A part of the file", s304=_KNOWN, s416="No such part")
_FRAMES = documented(media.MULTIPART, media.BYTES, *sorted({*media.STORED.values()}), s304=_KNOWN)
_PICTURES = documented(media.JPEG, media.PNG, s304=_KNOWN)
_TOLD = documented(media.DICOM_JSON, s304=_KNOWN)
ONE = "/studies/{study}/series/{series}/instances/{instance}"


def add(routes: APIRouter, face: Face, guard: Guard) -> None:
    """Add the routes of files, metadata, frames and pictures."""
    _add_files(routes, face, guard)
    _add_metadata(routes, face, guard)
    _add_frames(routes, face, guard)
    _add_pictures(routes, face, guard)


def _add_files(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT))]

    @routes.get("/studies/{study}", responses=_FILES)
    async def study_files(uids: OfStudy, request: Request, principal: who) -> Response:
        """Return all files of a study."""
        return await _files(face, request, await face.find(principal, uids))

    @routes.get("/studies/{study}/series/{series}", responses=_FILES)
    async def series_files(uids: OfSeries, request: Request, principal: who) -> Response:
        """Return all files of a series."""
        return await _files(face, request, await face.find(principal, uids))

    @routes.get(ONE, responses=_FILES)
    async def instance_file(uids: One, request: Request, principal: who, version: Version = 0) -> Response:
        """Return one file; `version` names another content of the same UID."""
        return await _files(face, request, await face.find(principal, uids, version))


def _add_metadata(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT))]

    @routes.get("/studies/{study}/metadata", responses=_TOLD)
    async def study_metadata(uids: OfStudy, request: Request, principal: who) -> Response:
        """Return the metadata of a study's instances."""
        return await _metadata(face, request, principal, uids)

    @routes.get("/studies/{study}/series/{series}/metadata", responses=_TOLD)
    async def series_metadata(uids: OfSeries, request: Request, principal: who) -> Response:
        """Return the metadata of a series' instances."""
        return await _metadata(face, request, principal, uids)

    @routes.get(ONE + "/metadata", responses=_TOLD)
    async def metadata(uids: One, request: Request, principal: who) -> Response:
        """Return the metadata of an instance."""
        return await _metadata(face, request, principal, uids)


def _add_frames(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT))]

    @routes.get(ONE + "/frames/{numbers}", responses=_FRAMES)
    async def frames(uids: One, numbers: Frames, request: Request, principal: who) -> Response:
        """Return frames, as stored or uncompressed."""
        one = await face.one(principal, uids)
        return await _frames(face, request, one, windows.frames(numbers, one.frames))

    @routes.get(ONE + "/bulkdata/{tags:path}", responses=_FRAMES)
    async def bulk_data(uids: One, tags: Tags, request: Request, principal: who) -> Response:
        """Return a long value that metadata gave the address of; of pixels, all frames."""
        one = await face.one(principal, uids)
        if tags == PIXELS:
            return await _frames(face, request, one, list(range(1, one.frames + 1)))
        form = media.frame_form(accepted(request), media.EXPLICIT_LITTLE, 1)
        answer = await face.files.readers.ask("bulk", face.files.path(one), tags=tags.split("/"))
        return _parts(form, answer.body)


def _add_pictures(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT))]

    @routes.get(ONE + "/rendered", responses=_PICTURES)
    async def rendered(uids: One, request: Request, principal: who, look: Look) -> Response:
        """Return the first frame as a picture."""
        return await _picture(face, request, await face.one(principal, uids), (1, look))

    @routes.get(ONE + "/frames/{numbers}/rendered", responses=_PICTURES)
    async def rendered_frame(uids: One, numbers: Frames, request: Request, principal: who, look: Look) -> Response:
        """Return a frame as a picture; of several, the first."""
        one = await face.one(principal, uids)
        return await _picture(face, request, one, (windows.frames(numbers, one.frames)[0], look))


async def _files(face: Face, request: Request, found: Found) -> Response:
    syntaxes = {one.transfer_syntax_uid for one in found.instances}
    if not media.is_multipart(accepted(request), syntaxes, len(found.instances)):
        (one,) = found.instances
        headers = NO_STORE | {"ETag": f'"{one.sha256}"'} | versions_header(found)
        if is_known(request.headers.get("if-none-match", ""), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        await face.check([one])
        kind = f"{DICOM}; transfer-syntax={one.transfer_syntax_uid}"
        # A UID is digits and dots; no name that came with a file is ever given out.
        return FileResponse(face.files.path(one), media_type=kind, headers=headers, filename=f"{one.sop_uid}.dcm")
    tag = tag_of(one.sha256 for one in found.instances)
    if is_known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=NO_STORE | {"ETag": tag})
    await face.check(found.instances)
    root = address(request)
    parts = [
        Part(
            (
                ("Content-Type", f"{DICOM}; transfer-syntax={one.transfer_syntax_uid}"),
                ("Content-Location", root + found.uids(one).path + found.uids(one).query),
            ),
            one.size_bytes,
            face.files.path(one),
        )
        for one in found.instances
    ]
    return _stream(multipart(DICOM, parts), {"ETag": tag} | versions_header(found))


async def _metadata(face: Face, request: Request, principal: Principal, uids: Uids) -> Response:
    media.demand_json(accepted(request))
    found = await face.find(principal, uids)
    tag = tag_of((one.sha256 for one in found.instances), "metadata")
    headers = NO_STORE | {"ETag": tag} | versions_header(found)
    if is_known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    pieces = _told(face, found, address(request))
    return StreamingResponse(pieces, media_type=media.DICOM_JSON, headers=headers)


async def _told(face: Face, found: Found, root: str) -> AsyncIterator[bytes]:
    """Yield metadata as a list, one instance after the other."""
    for number, one in enumerate(found.instances):
        yield b"," if number else b"["
        try:
            uids = found.uids(one)
            asked = {"address": root + uids.path, "query": uids.query}
            answer = await face.files.readers.ask("metadata", face.files.path(one), **asked)
            yield answer.body
        except (ImageUnreadable, FileNotFoundError):
            yield json.dumps(_indexed(found, one)).encode()
    yield b"]"


def _indexed(found: Found, one: Instance) -> dict[str, Any]:
    """What the index knows of an instance whose file cannot be read a second time, or is gone from the disk."""
    told = study_told(found.studies[one.study_key]) | one.attributes
    return told | {"0020000E": {"vr": "UI", "Value": [one.series_uid]}}


async def _frames(face: Face, request: Request, one: Instance, numbers: list[int]) -> Response:
    if not numbers or one.flaw:
        raise ImageUnreadable(one.flaw or "no-pixels")
    form = media.frame_form(accepted(request), one.transfer_syntax_uid, len(numbers))
    tag = tag_of([one.sha256], form, numbers)
    if is_known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=NO_STORE | {"ETag": tag})
    do = "decoded" if form.is_decoded else "stored"
    path, readers = face.files.path(one), face.files.readers
    first = (await readers.ask(do, path, index=numbers[0] - 1)).body
    if len(numbers) == 1:
        return _parts(form, first, tag)

    whole = multipart(form.media_type, [])

    async def pieces() -> AsyncIterator[bytes]:
        # The first was read already, so that a refusal of the whole object still had its status.
        yield whole.of(_part(form, first))
        for number in numbers[1:]:
            yield whole.of(_part(form, (await readers.ask(do, path, index=number - 1)).body))
        yield whole.end()

    return StreamingResponse(pieces(), media_type=whole.media_type, headers=NO_STORE | {"ETag": tag})


def _parts(form: FrameForm, body: bytes, tag: str = "") -> Response:
    headers = NO_STORE | ({"ETag": tag} if tag else {})
    if form.is_single:
        return Response(body, media_type=f"{form.media_type}; transfer-syntax={form.syntax}", headers=headers)
    return _stream(multipart(form.media_type, [_part(form, body)]), headers)


def _part(form: FrameForm, body: bytes) -> Part:
    kind = f"{form.media_type}; transfer-syntax={form.syntax}"
    return Part((("Content-Type", kind),), len(body), data=body)


def _stream(body: Multipart, headers: dict[str, str]) -> StreamingResponse:
    told = NO_STORE | headers | {"Content-Length": str(body.size_bytes)}
    return StreamingResponse(body.pieces(), media_type=body.media_type, headers=told)


async def _picture(face: Face, request: Request, one: Instance, asked: tuple[int, windows.Look]) -> Response:
    number, look = asked
    kind = media.picture_of(accepted(request))
    if not one.frames or one.flaw:
        raise ImageUnreadable(one.flaw or "no-pixels")
    tag = tag_of([one.sha256], kind, number, look)
    name = f'inline; filename="{one.sop_uid}-{number}.{kind}"'
    headers = NO_STORE | {"ETag": tag, "Content-Disposition": name}
    if is_known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    how = {"index": number - 1, "picture": kind, "window": look.window, "viewport": look.viewport}
    answer = await face.files.readers.ask("picture", face.files.path(one), **how)
    return Response(answer.body, media_type=f"image/{kind}", headers=headers)

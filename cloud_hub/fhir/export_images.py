"""Images in a person's own copy: their studies as ImagingStudy, and the DICOM files as they came."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sqlalchemy import Connection

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.fhir.archive import Archive
from cloud_hub.store import studies
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.studies import Instance, Narrowing, Study

FOLDER = "DICOM/"
_PIECE_BYTES = 1 << 20


def of_person(connection: Connection, principal: Principal, person_id: str) -> list[Study]:
    """Return a person's studies within scope, the oldest first (care store)."""
    found = list(images.seen(connection, principal, Narrowing(persons=frozenset({person_id}))))
    return sorted(found, key=lambda one: (one.study_date, one.study_time, one.study_key))


async def files(archive: Archive, care: Database, blobs: Blobs, study: Study, number: int) -> AsyncIterator[bytes]:
    """Write the files of a study, other contents of the same UID too; yield what can be sent.

    A file that is gone from the disk is listed and empty, with no entry: the rest of the copy is worth having.

    Args:
        archive: with no file begun.
        care: the care store.
        blobs: the folder of files.
        study: that is written.
        number: of the study in this copy; no name inside a file becomes a name in the archive.
    """
    every = await care.read(lambda c: studies.instances_of(c, {study.study_key}))
    for n, one in enumerate((each for each in every if not each.is_preview), 1):
        archive.begin(f"{_folder(study, number)}/I{n:06}.dcm")
        async for chunk in _written(archive, blobs, one):
            yield chunk
        yield archive.end()


async def _written(archive: Archive, blobs: Blobs, instance: Instance) -> AsyncIterator[bytes]:
    pieces = _pieces(blobs.path(instance.sha256))
    try:
        while data := await asyncio.to_thread(next, pieces, b""):
            yield await asyncio.to_thread(archive.add_bytes, data)
    except FileNotFoundError:
        return
    archive.note(1)


def _folder(study: Study, number: int) -> str:
    return f"{FOLDER}S{number:04}" + (f"-{study.study_date}" if study.study_date else "")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(_PIECE_BYTES):
            yield data

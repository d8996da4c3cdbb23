"""Asks the hospital's archive of images (PACS) by DICOMweb: which studies it has of a patient, and for single files.

Questions go to the configured origin alone, follow no redirect, and have one limit of time and one of size each.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx2

from cloud_hub.access.destinations import Allowed, AllowedTransport
from cloud_hub.config import ArchiveConfig
from cloud_hub.errors import ArchiveAway, ArchiveShut, ArchiveUnclear, ConfigRefused, DestinationRefused
from cloud_hub.imaging import archived, media
from cloud_hub.imaging.archived import ArchivedImage, ArchivedStudy, Told

T = TypeVar("T")
LIST_LIMIT_BYTES = 8 << 20
BETWEEN_PARTS_BYTES = 1 << 20
"""What an answer with one file may be longer than the file."""
STUDIES_MOST = 200
AT_ONCE = 500
"""How many images are asked for in one list."""
LISTS_AT_ONCE = 4
_FILE = f'{media.MULTIPART}; type="{media.DICOM}"; transfer-syntax=*'
_AWAY = (502, 503, 504)
_SHUT = (401, 403, 407)
Asked = list[tuple[str, str]]
Body = AsyncIterator[bytes]
Take = Callable[[str, Body], Awaitable[T]]
"""Takes the boundary of a multipart body, and the body."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The studies of a patient."""

    studies: list[ArchivedStudy]
    is_more: bool
    """True: the archive has, or may have, more than are asked for at once."""


@dataclass(frozen=True, slots=True)
class _Limits:
    time_s: float
    size_bytes: int


class Archive:
    """The one archive that is configured; one per hub process, all methods on the event loop."""

    def __init__(self, config: ArchiveConfig, largest_file_bytes: int) -> None:
        """Read password and certificates; ask nobody yet.

        Raises:
            ConfigRefused: one of them cannot be read.
        """
        self.config = config
        self._root = config.url.rstrip("/")
        self._auth = (config.user, _password(config)) if config.user else None
        self._context = _context(config)
        self._turns = asyncio.Semaphore(LISTS_AT_ONCE)
        self._of_list = _Limits(config.timeout_s, LIST_LIMIT_BYTES)
        self._of_file = _Limits(config.image_limit_s, largest_file_bytes + BETWEEN_PARTS_BYTES)

    async def studies(self, patient_id: str, study_uid: str = "") -> Listed:
        """Return the studies of exactly this patient; the one of this UID where one is named.

        Raises:
            ArchiveAway, ArchiveShut, ArchiveUnclear: the archive does not answer so that it can be used.
            ValueError: that is no number that may be asked for (`usable`).
        """
        if archived.usable([patient_id]) != (patient_id,):
            raise ValueError("no PatientID that may be asked for")
        asked = [("PatientID", patient_id), ("limit", str(STUDIES_MOST))]
        asked += [("StudyInstanceUID", study_uid)] if study_uid else []
        told = await self._list("/studies", asked + [("includefield", tag) for tag in archived.SHOWN])
        found = archived.studies_of(told, patient_id, self.config.issuer)
        return Listed([one for one in found if study_uid in ("", one.study_uid)], len(told) >= STUDIES_MOST)

    async def images(self, study_uid: str, patient_id: str) -> list[ArchivedImage]:
        """Return what the archive has of a study of this patient; of others who have the same UID, nothing.

        Raises:
            ArchiveAway, ArchiveShut, ArchiveUnclear: as `studies`; there are more than may be fetched.
        """
        seen, found, offset = set[str](), dict[str, ArchivedImage](), 0
        # Not every archive heeds `offset`: a list that names nothing new is the last one.
        while True:
            asked = [("limit", str(AT_ONCE)), ("offset", str(offset)), ("includefield", archived.PATIENT)]
            told = await self._list(f"/studies/{study_uid}/instances", asked)
            listed = archived.images_of(told, study_uid)
            if {image.sop_uid for image, _ in listed} <= seen:
                return list(found.values())
            seen |= {image.sop_uid for image, _ in listed}
            found |= {image.sop_uid: image for image, whose in listed if whose in ("", patient_id)}
            offset += len(told)
            if len(seen) > self.config.images_most:
                raise ArchiveUnclear(f"the study has more than {self.config.images_most} images")

    async def file(self, image: ArchivedImage, take: Take[T]) -> T:
        """Have the answer with one file taken as it arrives; return what `take` does.

        Raises:
            ArchiveAway, ArchiveShut, ArchiveUnclear: as `studies`; or whatever `take` raises.
        """

        async def work(answer: httpx2.Response) -> T:
            kind, parameters = media.parsed(answer.headers.get("content-type", ""))
            if answer.status_code != 200 or kind != media.MULTIPART:
                raise ArchiveUnclear(f"the archive answers {answer.status_code} {kind[:40]} instead of a file")
            return await take(parameters.get("boundary", ""), answer.aiter_raw())

        return await self._ask(image.path, [], _FILE, self._of_file, work)

    async def _list(self, path: str, asked: Asked) -> list[Told]:
        async def work(answer: httpx2.Response) -> bytes:
            if answer.status_code == 204:
                return b"[]"
            if answer.status_code != 200:
                raise ArchiveUnclear(f"the archive answers {answer.status_code} instead of a list")
            return await answer.aread()

        try:
            async with asyncio.timeout(self.config.timeout_s), self._turns:
                body = await self._ask(path, asked, media.DICOM_JSON, self._of_list, work)
        except TimeoutError as error:
            raise ArchiveAway("too much is asked of the archive just now") from error
        return await asyncio.to_thread(archived.results, body)

    async def _ask(
        self,
        path: str,
        asked: Asked,
        accept: str,
        limits: _Limits,
        work: Callable[[httpx2.Response], Awaitable[T]],
    ) -> T:
        """Ask one question and have its answer taken by `work`; foreign failures become ours."""
        allowed = Allowed(
            frozenset({self._root}), private=True, context=self._context, answer_limit_bytes=limits.size_bytes
        )
        client = httpx2.AsyncClient(
            transport=AllowedTransport(allowed), auth=self._auth, trust_env=False, timeout=self.config.timeout_s
        )
        question = client.stream("GET", self._root + path, params=tuple(asked), headers={"Accept": accept})
        try:
            async with client, asyncio.timeout(limits.time_s), question as answer:
                _demand_open(answer.status_code)
                return await work(answer)
        except DestinationRefused as error:
            raise ArchiveUnclear(str(error)) from error
        except httpx2.ProtocolError as error:
            raise ArchiveUnclear("the archive breaks off its answer, or it is no HTTP") from error
        except (TimeoutError, httpx2.HTTPError) as error:
            raise ArchiveAway(f"the archive does not answer ({type(error).__name__})") from error


def _demand_open(status: int) -> None:
    if status in _SHUT:
        raise ArchiveShut(f"the archive answers {status}: name or password")
    if status in _AWAY:
        raise ArchiveAway(f"the archive answers {status}")


def _password(config: ArchiveConfig) -> str:
    assert config.password_file is not None
    try:
        return config.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"imaging.archive.password_file: {config.password_file} cannot be read") from error


def _context(config: ArchiveConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigRefused(f"imaging.archive.ca_file: {config.ca_file} cannot be used") from error

"""What the routes of DICOMweb stand on, and what all of them do: who may, what is found, what is written down."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastapi import Request, Response
from telemed.screen import Problem

from cloud_hub.access import images
from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import NotFound, NotPermitted, StoreFailure
from cloud_hub.imaging import looking, media
from cloud_hub.imaging.looking import Found, Uids
from cloud_hub.imaging.media import Range
from cloud_hub.imaging.readers import Readers
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.studies import Instance, Study

PREFIX = "/dicom-web"
RIGHT = Right.SEE_RECORD
RESOURCE = "ImagingStudy"
"""FHIR type by whose scopes a program's token is judged here too."""
READ, SEARCH = "images-read", "images-search"
NO_STORE = {"Cache-Control": "no-store"}
NO_FILES = "this hub takes no images"
Guard = Callable[[Right], Callable[[Request], Awaitable[Principal]]]
"""`cloud_hub.web.guard.require`: this part may not import its neighbour."""


class Show(Protocol):
    """`Viewed.show_things`: writes (target, result) into the trail where it is due."""

    async def __call__(self, who: Principal, action: str, things: Iterable[tuple[str, str]]) -> None:
        """Return once it is written."""


@dataclass(frozen=True, slots=True)
class Images:
    """The files, and the processes that read them."""

    blobs: Blobs
    readers: Readers
    disk_limit_pct: float = 85
    """How full the disk may get by what is stored here."""
    largest_file_bytes: int = 2048 * 1024 * 1024
    reviewed: Callable[[], None] = lambda: None
    """Called on the event loop after something was said of a finding."""

    def path(self, instance: Instance) -> Path:
        """Return where the bytes of an instance lie."""
        return self.blobs.path(instance.sha256)


@dataclass(frozen=True, slots=True)
class Face:
    """What the routes need."""

    care: Database
    images: Images | None
    """None: this hub takes no files."""
    show: Show

    async def find(self, principal: Principal, uids: Uids, version: int = 0) -> Found:
        """Return the instances that are asked for, with their view written down.

        Raises:
            NotPermitted: the token has no scope for images.
            NotFound: nothing of that is open to this principal, or this hub takes no files.
        """
        demand(principal, "r")
        if self.images is None:
            raise NotFound(NO_FILES)
        found = await self.care.read(lambda c: looking.find(c, principal, uids, version))
        await self.shown(principal, READ, found.studies.values())
        return found

    async def one(self, principal: Principal, uids: Uids) -> Instance:
        """Return as `find` does, for one instance whose bytes are about to be sent; raises as `check` does too."""
        one = (await self.find(principal, uids)).instances[0]
        await self.check([one])
        return one

    async def check(self, instances: Iterable[Instance]) -> None:
        """Pass where the bytes of instances are there to be sent.

        Raises:
            StoreFailure: a file is gone from the disk.
        """
        paths = [self.files.path(one) for one in instances]
        if not await asyncio.to_thread(lambda: all(path.is_file() for path in paths)):
            raise StoreFailure("a file of this study is gone from the hub's disk")

    async def shown(self, principal: Principal, action: str, seen: Iterable[Study]) -> None:
        """Write down whose images are shown."""
        await self.show(principal, action, list(dict.fromkeys(images.audited(principal, one) for one in seen)))

    @property
    def files(self) -> Images:
        """The files.

        Raises:
            NotFound: this hub takes none.
        """
        if self.images is None:
            raise NotFound(NO_FILES)
        return self.images


def demand(principal: Principal, letter: str) -> None:
    """Pass where a token's scopes allow to read (r) or search (s).

    Raises:
        NotPermitted: they do not.
    """
    if not principal.may_read(RESOURCE, letter):
        raise NotPermitted(f"the token has no scope for {RESOURCE}.{letter}")


def accepted(request: Request) -> list[Range]:
    """Return what is accepted: the parameter `accept` outweighs the header (PS3.18 8.3.3.1)."""
    return media.ranges(request.query_params.get("accept") or request.headers.get("accept", ""))


def address(request: Request) -> str:
    """Return the address of the service."""
    return str(request.base_url).rstrip("/") + PREFIX


def versions_header(found: Found) -> dict[str, str]:
    """Return the warning that an instance has other contents too."""
    if not found.other_versions:
        return {}
    text = f"{found.other_versions} other contents of this SOP Instance UID were received; ask with version=2 and so on"
    return {"Warning": f'299 yuanzhen "{text}"'}


def answer(problem: Problem) -> Response:
    """Return a problem; a search that cannot be understood is 400 here (PS3.18 8.3.4)."""
    status = 400 if problem.status == 422 else problem.status
    told = problem.model_copy(update={"status": status})
    return Response(told.model_dump_json(), status, media_type="application/problem+json", headers=NO_STORE)


def documented(*media_types: str, **more: str) -> dict[int | str, dict[str, Any]]:
    """Return how a route's answers stand in OpenAPI; `more` are further statuses, written `s304`."""
    content: dict[str, Any] = {one: {} for one in media_types}
    found: dict[int | str, dict[str, Any]] = {200: {"content": content, "description": "As asked for"}}
    found |= {int(status[1:]): {"description": text} for status, text in more.items()}
    return found | {406: {"description": "None of the forms that are accepted can be given"}}

"""How many requests a session may make: 100 a minute, all at once if it likes (reliability 4.2).

Counted by the token that is sent, whatever it is worth; who sends none is a stranger, to whom nothing but the sign-in
is open, and that has its own limit.  Pages and their files, health and the live socket are not counted; of DICOMweb,
searches are, and not the images, of which one picture of a series may be hundreds.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from cloud_hub.web import problems
from cloud_hub.web.guard import session_token

COUNTED = ("/api/", "/fhir/", "/oauth/")
IMAGES, SEARCHED = "/dicom-web/", ("/studies", "/series", "/instances")
"""Address of DICOMweb, and how that of a search ends."""
REMEMBERED = 10_000
"""Sessions whose requests are counted; the one longest unheard is forgotten first, and has its burst again."""


@dataclass(slots=True)
class Buckets:
    """One bucket for each key: full at first, a request takes one, time fills it again."""

    per_minute: int
    _of: OrderedDict[bytes, tuple[float, float]] = field(default_factory=OrderedDict)
    """Key -> what is left, and when that was reckoned."""

    def wait_s(self, key: bytes, now_s: float) -> float:
        """Take one and return 0, or return how many seconds there will be none."""
        left, at_s = self._of.pop(key, (float(self.per_minute), now_s))
        left = min(self.per_minute, left + (now_s - at_s) * self.per_minute / 60)
        self._of[key] = (left - 1 if left >= 1 else left, now_s)
        if len(self._of) > REMEMBERED:
            self._of.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) * 60 / self.per_minute


class RequestRate:
    """ASGI middleware that answers 429 with Retry-After once a session's bucket is empty."""

    def __init__(
        self,
        app: ASGIApp,
        per_minute: int,
        faces: Mapping[str, problems.Writer],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count from now on.

        Args:
            app: what is protected.
            per_minute: requests of one session.
            faces: path prefix -> writer of refusals, for parts that have a form of their own.
            now_s: a steady clock.
        """
        self._app, self._faces, self._now_s = app, faces, now_s
        self._buckets = Buckets(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count one request, and hand it on or refuse it."""
        wait_s = self._wait_s(scope) if scope["type"] == "http" and _is_counted(scope["method"], scope["path"]) else 0
        if wait_s == 0:
            await self._app(scope, receive, send)
            return
        refusal = problems.problem(429, "too-many-requests")
        writer = next(
            (face for prefix, face in self._faces.items() if scope["path"].startswith(prefix)), problems.write
        )
        answer = writer(refusal)
        answer.headers["Retry-After"] = str(math.ceil(wait_s))
        await answer(scope, receive, send)

    def _wait_s(self, scope: Scope) -> float:
        token, _ = session_token(HTTPConnection(scope))
        return self._buckets.wait_s(hashlib.sha256(token.encode()).digest(), self._now_s()) if token else 0.0


def _is_counted(method: str, path: str) -> bool:
    is_search = method == "GET" and path.startswith(IMAGES) and path.endswith(SEARCHED)
    return is_search or path.startswith(COUNTED)

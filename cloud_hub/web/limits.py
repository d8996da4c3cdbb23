"""What a request may be at most, judged before any route sees it (reliability 4.2, 4.4 rows 28 and 30).

A body is at most 1 MB, but for files that are stored (STOW-RS); JSON is at most 32 levels deep, names each key once,
and has no NUL in a text.
"""

import json
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from telemed.screen import Problem

from cloud_hub.web import problems

BODY_LIMIT_BYTES = 1_000_000
QUERY_LIMIT_BYTES = 8_000
DEPTH_LIMIT = 32
_STREAMED = re.compile(r"/dicom-web/studies(/[0-9.]+)?")
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class JsonRefused(ValueError):
    """The JSON text is over a limit or names a key twice."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.fields = ["body." + field] if field else ["body"]


def check_json(body: bytes) -> None:
    """Pass where the body is JSON within the limits.

    Raises:
        JsonRefused: deeper than DEPTH_LIMIT, a key twice, NUL in a text, NaN or Infinity, or not JSON at all.
    """
    depth = 0
    for token in _TOKENS.finditer(body):
        first = token[0][:1]
        depth += (first in (b"{", b"[")) - (first in (b"}", b"]"))
        if depth > DEPTH_LIMIT:
            raise JsonRefused(f"nested deeper than {DEPTH_LIMIT}")
    if rb"\u0000" in body:
        raise JsonRefused("NUL in a text")
    try:
        json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except JsonRefused:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonRefused("not JSON") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise JsonRefused("a key stands twice", key[:40])
        found[key] = value
    return found


def _no_constant(name: str) -> None:
    raise JsonRefused(f"{name} is no JSON number")


class RequestLimits:
    """ASGI middleware that refuses what is too large or malformed; only JSON bodies are held in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request, then hand it on with its body as it was."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _judge_query(scope["query_string"])
        if refusal is None and scope["method"] in ("POST", "PUT", "PATCH", "DELETE") and not _is_streamed(scope):
            body = await _read(receive)
            refusal = _judge_body(body, _header(scope, b"content-type"))
            receive = _again(body, receive)
        if refusal is not None:
            await problems.write(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_streamed(scope: Scope) -> bool:
    """True for the one service whose bodies are files: its route takes them piece by piece, within its own limits."""
    return scope["method"] == "POST" and bool(_STREAMED.fullmatch(scope["path"]))


def _judge_query(query: bytes) -> Problem | None:
    if len(query) > QUERY_LIMIT_BYTES:
        return problems.problem(414, "too-large", fields=["query"])
    if b"%00" in query or b"\0" in query:
        return problems.problem(422, "bad-request", "NUL in the query", ["query"])
    return None


def _judge_body(body: bytes | None, content_type: str) -> Problem | None:
    if body is None:
        return problems.problem(413, "too-large", f"at most {BODY_LIMIT_BYTES} bytes", ["body"])
    if not body or not re.match(r"application/(json|[\w.-]+\+json)\b", content_type):
        return None
    try:
        check_json(body)
    except JsonRefused as error:
        return problems.problem(400, "unreadable", str(error), error.fields)
    return None


async def _read(receive: Receive) -> bytes | None:
    """Return the body; None as soon as it is over the limit."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        size += len(message.get("body", b""))
        if size > BODY_LIMIT_BYTES:
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes | None, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def once_more() -> Message:
        return waiting.pop() if waiting else await receive()

    return once_more


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "").lower()

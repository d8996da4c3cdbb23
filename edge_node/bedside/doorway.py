"""What every request passes first: limits on the body, and the headers of every answer (reliability 4.2)."""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_node.bedside import problems
from edge_node.bedside.headers import HEADERS, NO_STORE
from edge_node.bedside.jsonguard import BODY_LIMIT_BYTES, BadBody, check

_STREAMED = re.compile(r"/dicom-web/studies(/[0-9.]+)?|/api/v1/persons/[A-Za-z0-9-]+/imports")


class Doorway:
    """ASGI middleware in front of the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on once its body and its query have been looked at."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        dressed = _dress(scope["path"], send)
        try:
            _check_query(scope)
            if _is_streamed(scope):
                await self._app(scope, receive, dressed)
                return
            body = await _read(receive)
            if body and _is_json(scope):
                check(body)
        except BadBody as error:
            refusal = problems.Refusal(error.code, str(error), fields=[error.field])
            await problems.answer(refusal)(scope, receive, dressed)
            return
        await self._app(scope, _replay(body, receive), dressed)


def _is_streamed(scope: Scope) -> bool:
    """Whether a body is files: its route takes them piece by piece, within limits of its own."""
    return scope["method"] == "POST" and bool(_STREAMED.fullmatch(scope["path"]))


def _dress(path: str, send: Send) -> Send:
    is_data = path.startswith(("/api/", "/metrics", "/readyz", "/healthz"))

    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", []))
            names = {name.lower() for name, _ in own}
            own += [(name, value) for name, value in HEADERS.items() if name not in names]
            if is_data and b"cache-control" not in names:
                own.append(NO_STORE)
            message = {**message, "headers": own}
        await send(message)

    return dressed


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > BODY_LIMIT_BYTES:
            raise BadBody(f"over {BODY_LIMIT_BYTES} bytes", code="too-large")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _is_json(scope: Scope) -> bool:
    kinds = [value for name, value in scope["headers"] if name.lower() == b"content-type"]
    return not kinds or b"json" in kinds[0].lower()


def _check_query(scope: Scope) -> None:
    query = unquote(scope.get("query_string", b"").decode("latin-1"))
    if "\x00" in query or "\x00" in scope["path"]:
        raise BadBody("a null byte in the address", "query", "bad-input")

"""`/healthz`, `/readyz`, `/metrics`: is the process alive, can it serve, and its numbers."""

import hmac
import ipaddress
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from cloud_hub.errors import NotSignedIn, StoreFailure
from cloud_hub.store import probe
from cloud_hub.web.parts import parts_of

NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"description": "What is missing", "content": {"application/json": {"schema": {"type": "object"}}}}
}


def router(registry: CollectorRegistry, token_file: Path | None) -> APIRouter:
    """Return the routes; `token_file` holds the bearer token for /metrics asked from elsewhere than loopback."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @routes.get("/readyz", responses=NOT_READY)
    async def readyz(request: Request) -> JSONResponse:
        """Say whether the hub can serve: broker connected, both stores writable."""
        parts = parts_of(request)
        missing = parts.is_ready()
        for name, database in (("care", parts.stores.care), ("samples", parts.stores.samples)):
            try:
                await database.write(probe.touch)
            except StoreFailure:
                if f"store {name}" not in missing:
                    missing.append(f"store {name}")
        return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200)

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Return the numbers of this process in Prometheus' text form; they name nobody."""
        if not _may_read(request, token_file):
            raise NotSignedIn("metrics are for loopback, or for whoever has the token")
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return routes


def _may_read(request: Request, token_file: Path | None) -> bool:
    if request.client and _is_loopback(request.client.host):
        return True
    if token_file is None:
        return False
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    known = token_file.read_text().strip()
    return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), known.encode())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""/healthz (process), /readyz (can serve), /metrics (loopback or token)."""

import hmac

from fastapi import APIRouter, Request, Response, status
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from edge_node.health.state import Health, register

_LOOPBACK = frozenset({"127.0.0.1", "::1"})


def router(health: Health, figures: CollectorRegistry, metrics_token: str = "") -> APIRouter:
    """Return the routes; `figures` gets the node's, `metrics_token` lets a scraper in that is not on this machine."""
    routes = APIRouter()
    register(health, figures)

    @routes.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @routes.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        """The node can serve, or what it still waits for."""
        missing = health.not_ready()
        code = status.HTTP_503_SERVICE_UNAVAILABLE if missing else status.HTTP_200_OK
        return JSONResponse({"status": "not-ready" if missing else "ready", "missing": missing}, code)

    @routes.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        if not _may_read(request, metrics_token):
            return Response("loopback or bearer token only\n", status.HTTP_403_FORBIDDEN, media_type="text/plain")
        return Response(generate_latest(figures), media_type=CONTENT_TYPE_LATEST)

    return routes


def _may_read(request: Request, token: str) -> bool:
    if request.client is not None and request.client.host in _LOOPBACK:
        return True
    given = request.headers.get("authorization", "")
    return bool(token) and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())

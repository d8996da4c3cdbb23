"""Puts the bedside page together."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from telemed import answers

from edge_node.bedside import consent_routes, import_routes, problems, routes, socket, store_routes, study_routes
from edge_node.bedside.doorway import Doorway
from edge_node.bedside.problems import Refusal
from edge_node.bedside.station import Station

STATIC = Path(__file__).with_name("static")
_OWN_PATHS = ("api/", "dicom-web/", "healthz", "readyz", "metrics", "openapi.json")
_YEAR_S = 31_536_000


def build(station: Station, more: Sequence[APIRouter] = (), static: Path = STATIC) -> FastAPI:
    """Return the application; `more` are routers of other parts of the node (health), `static` the built page."""
    app = FastAPI(
        title="Yuanzhen bedside",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        responses=answers.refusals(),
    )
    app.state.station = station
    problems.install(app)
    app.add_middleware(Doorway)
    app.include_router(routes.router)
    app.include_router(consent_routes.router)
    app.include_router(study_routes.router)
    app.include_router(import_routes.router)
    app.include_router(store_routes.router)
    app.include_router(socket.router)
    for router in more:
        app.include_router(router)
    _serve_page(app, static.resolve())
    return app


def _serve_page(app: FastAPI, static: Path) -> None:
    @app.get("/{path:path}", include_in_schema=False)
    async def page(path: str) -> FileResponse:
        """A file of the built page; any other address is the page itself, which finds its own way."""
        if path.startswith(_OWN_PATHS):
            raise Refusal("not-found", "no such resource")
        index = static / "index.html"
        if not index.is_file():
            raise Refusal("page-missing", "build the page first: make ui")
        wanted = (static / path).resolve()
        is_file = path != "" and wanted.is_relative_to(static) and wanted.is_file()
        if is_file and "assets" in wanted.parts:
            return FileResponse(wanted, headers={"cache-control": f"public, max-age={_YEAR_S}, immutable"})
        return FileResponse(wanted if is_file else index, headers={"cache-control": "no-cache"})

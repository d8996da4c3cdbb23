"""Serves the screens: files of the built bundle, and its first page for every other path (single-page application)."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

BUNDLE = Path(__file__).parent / "ui" / "dist" / "hub"
NOT_BUILT = "页面尚未构建：运行 make ui。\nThe screens are not built yet: run make ui.\n"
FOREVER = "public, max-age=31536000, immutable"
_NOT_PAGES = ("api/", "fhir/", "oauth/", ".well-known/", "assets/", "dicomweb/")


def install(app: FastAPI, bundle: Path = BUNDLE) -> None:
    """Add the fall-back route; must be the last route of the application."""
    root = bundle.resolve()

    @app.get("/{path:path}", include_in_schema=False)
    async def page(path: str) -> Response:
        """Return a file of the bundle, else its first page."""
        found = _file(root, path)
        if found is not None:
            cached = FOREVER if path.startswith("assets/") else "no-cache"
            return FileResponse(found, headers={"Cache-Control": cached})
        if path.startswith(_NOT_PAGES):
            raise HTTPException(404)
        first = _file(root, "index.html")
        if first is None:
            return PlainTextResponse(NOT_BUILT, 404)
        return FileResponse(first, headers={"Cache-Control": "no-cache"})


def _file(root: Path, path: str) -> Path | None:
    """The file of this name below the root; None where there is none, or where it lies elsewhere."""
    if not path or "\0" in path:
        return None
    found = (root / path).resolve()
    return found if found.is_relative_to(root) and found.is_file() else None

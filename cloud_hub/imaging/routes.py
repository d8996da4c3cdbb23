"""`/dicom-web`: search, retrieve and store (PS3.18), within the rights of whoever asks."""

from fastapi import APIRouter, Response
from telemed import answers

from cloud_hub.imaging import retrieve_routes, search_routes, store_routes
from cloud_hub.imaging.face import PREFIX, Face, Guard


def router(face: Face, guard: Guard) -> APIRouter:
    """Return the routes, to be mounted at the root of the application."""
    routes = APIRouter(prefix=PREFIX, tags=["dicom-web"], default_response_class=Response, responses=answers.refusals())
    search_routes.add(routes, face, guard)
    retrieve_routes.add(routes, face, guard)
    store_routes.add(routes, face, guard)
    return routes

"""The hub's HTTP application, put together from its routers."""

from datetime import datetime, timedelta
from functools import partial

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from telemed import answers

from cloud_hub.access import federated
from cloud_hub.access import passkeys as keys
from cloud_hub.access.sign_in import Access
from cloud_hub.fhir import export_routes, outcome
from cloud_hub.fhir import routes as fhir
from cloud_hub.imaging import archive_routes, findings_routes, key_image_routes, model_reports, review_routes
from cloud_hub.imaging import face as imaging
from cloud_hub.imaging import routes as dicomweb
from cloud_hub.imaging.fetching import Fetching
from cloud_hub.web import headers, health, oauth, problems, socket, static_files
from cloud_hub.web.api import (
    alarms,
    break_glass,
    care_team,
    consents,
    consults,
    displays,
    nodes,
    oidc,
    own_account,
    passkeys,
    referrals,
    second_factor,
    session,
    sign_in_ways,
    studies,
    trends,
)
from cloud_hub.web.guard import require
from cloud_hub.web.limits import RequestLimits
from cloud_hub.web.parts import Parts
from cloud_hub.web.rate import RequestRate
from cloud_hub.web.viewed import Viewed

TITLE = "Yuanzhen hub"
PLAIN = (
    session,
    sign_in_ways,
    oidc,
    passkeys,
    second_factor,
    alarms,
    referrals,
    trends,
    studies,
    consults,
    care_team,
    consents,
    displays,
    own_account,
    break_glass,
    nodes,
    socket,
    oauth,
)
"""Modules whose routes need nothing but what the application carries."""


def build(
    parts: Parts,
    access: Access,
    registry: CollectorRegistry,
    version: str,
    images: imaging.Images | None = None,
    fetching: Fetching | None = None,
) -> FastAPI:
    """Return the application; every route names the right it needs, or stands in `guard.OPEN_PATHS`.

    Args:
        parts: what the routes stand on.
        access: the identity store.
        registry: what `/metrics` shows.
        version: of the software.
        images: files of studies and what reads them; None: there are none here.
        fetching: the hospital's archive of images; None: none is configured.

    Raises:
        ConfigRefused: the secret at the identity provider cannot be read.
    """
    app = FastAPI(
        title=TITLE,
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        responses=answers.refusals(),
    )
    app.state.parts = parts
    app.state.access = access
    app.state.federated = federated.make(parts.config.oidc, access)
    app.state.passkeys = keys.make(parts.config.web.passkeys, access)
    app.state.viewed = Viewed(access)
    app.state.is_demo = parts.config.demo
    parts.live.on_consent = access.forget
    forms = {f"{fhir.PREFIX}/": outcome.answer, f"{imaging.PREFIX}/": imaging.answer}
    problems.install(app, forms)
    app.add_middleware(RequestLimits)
    app.add_middleware(RequestRate, per_minute=parts.config.web.requests_per_minute, faces=forms)
    app.add_middleware(headers.SecurityHeaders)
    face = fhir.Face(
        samples=parts.stores.samples,
        care=parts.stores.care,
        audit=access.audit_many,
        version=version,
        utc_offset=_offset(parts.config.utc_offset),
        is_demo=parts.config.demo,
        blobs=None if images is None else images.blobs,
        read_report=None if images is None else partial(model_reports.read_one, images),
    )
    app.include_router(health.router(registry, parts.config.web.metrics_token_file))
    for module in PLAIN:
        app.include_router(module.router)
    app.include_router(export_routes.router(face, require))
    app.include_router(fhir.router(face, require))
    pictures = imaging.Face(parts.stores.care, images, app.state.viewed.show_things)
    app.include_router(dicomweb.router(pictures, require))
    app.include_router(findings_routes.router(pictures, require))
    app.include_router(key_image_routes.router(pictures, require))
    app.include_router(review_routes.router(pictures, require))
    app.include_router(archive_routes.router(pictures, fetching, require))
    static_files.install(app)
    return app


def _offset(text: str) -> timedelta:
    """Offset written as +08:00; dates without a zone in searches are meant in it."""
    return datetime.strptime(text, "%z").utcoffset() or timedelta()

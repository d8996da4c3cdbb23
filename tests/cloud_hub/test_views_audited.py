"""No route of the hub shows a person without an entry in the audit trail; the list is made from the router."""

from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from telemed.roles import Role
from telemed.shown import STRETCH_NS

from cloud_hub.access.glass import WITHOUT_CONSENT
from cloud_hub.access.rights import Principal
from cloud_hub.errors import StoreFailure
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import audit
from cloud_hub.web import guard
from cloud_hub.web.live import Stores
from cloud_hub.web.viewed import Viewed
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.test_face import CLINIC, NOW_NS, _page_that_leaves, _sign_in, app, stores, stranger

__all__ = ["app", "hashed", "stores", "stranger"]
SHOWS = {
    ("GET", "/api/v1/beds/{key}/trends"): f"/api/v1/beds/{CLINIC}:B01/trends",
    ("GET", "/api/v1/referrals"): "/api/v1/referrals",
    ("GET", "/api/v1/persons/{person_id}/care-team"): "/api/v1/persons/p1/care-team",
    ("GET", "/api/v1/persons/{person_id}/consents"): "/api/v1/persons/p1/consents",
    ("GET", "/api/v1/persons/{person_id}/export"): "/api/v1/persons/p1/export",
    ("GET", "/fhir/R4/Consent"): "/fhir/R4/Consent?patient=Patient/p1",
    ("GET", "/fhir/R4/Patient"): "/fhir/R4/Patient",
    ("GET", "/fhir/R4/Patient/{person_id}"): "/fhir/R4/Patient/p1",
}
"""Routes that show a person, each with how to ask for p1."""
SHOWS_OTHERWISE = {
    ("WS", "/api/v1/live"),
    ("GET", "/fhir/R4/Observation"),
    ("GET", "/fhir/R4/Observation/{fhir_id}"),
    ("GET", "/fhir/R4/AuditEvent"),
    ("GET", "/fhir/R4/AuditEvent/{fhir_id}"),
    ("GET", "/fhir/R4/Consent/{fhir_id}"),
    ("GET", "/api/v1/studies"),
    ("GET", "/api/v1/studies/{study_key}/key-image"),
    ("GET", "/api/v1/studies/{study_key}/reviews"),
    ("GET", "/api/v1/persons/{person_id}/archive"),
    ("GET", "/fhir/R4/ImagingStudy"),
    ("GET", "/fhir/R4/ImagingStudy/{fhir_id}"),
    ("GET", "/fhir/R4/DiagnosticReport"),
    ("GET", "/fhir/R4/DiagnosticReport/{fhir_id}"),
}
"""The live socket is tested below, studies in tests/cloud_hub/web, what is said of findings in
tests/cloud_hub/imaging/test_reviews.py, what an archive has in tests/cloud_hub/imaging/test_archive.py, the others in
tests/cloud_hub/fhir."""
_IMAGE = "/dicom-web/studies/{study}/series/{series}/instances/{instance}"
SHOWS_IMAGES = {
    "/dicom-web/studies",
    "/dicom-web/series",
    "/dicom-web/instances",
    "/dicom-web/studies/{study}",
    "/dicom-web/studies/{study}/metadata",
    "/dicom-web/studies/{study}/series",
    "/dicom-web/studies/{study}/instances",
    "/dicom-web/studies/{study}/series/{series}",
    "/dicom-web/studies/{study}/series/{series}/metadata",
    "/dicom-web/studies/{study}/series/{series}/instances",
    _IMAGE,
    f"{_IMAGE}/metadata",
    f"{_IMAGE}/rendered",
    f"{_IMAGE}/frames/{{numbers}}",
    f"{_IMAGE}/frames/{{numbers}}/rendered",
    f"{_IMAGE}/bulkdata/{{tags:path}}",
    "/api/v1/studies/{study}/findings",
}
"""Each is asked for in tests/cloud_hub/imaging/test_dicomweb.py."""
ACTS = {
    ("POST", "/api/v1/session"),
    ("DELETE", "/api/v1/session"),
    ("POST", "/api/v1/alarms/{alarm_id}/actions"),
    ("POST", "/api/v1/referrals/{referral_id}/moves"),
    ("POST", "/api/v1/studies/{study_key}/read"),
    ("POST", "/api/v1/persons/{person_id}/archive/{study_uid}/fetch"),
    ("DELETE", "/api/v1/studies/{study_key}/read"),
    ("POST", "/api/v1/studies/{study_key}/findings/{finding_uid}/reviews"),
    ("POST", "/api/v1/consults"),
    ("POST", "/api/v1/consults/{consult_id}/end"),
    ("POST", "/api/v1/oidc/begin"),
    ("POST", "/api/v1/oidc/key/begin"),
    ("POST", "/api/v1/oidc/second-factor"),
    ("POST", "/api/v1/oidc/sign-out"),
    ("POST", "/api/v1/oidc/back-channel-logout"),
    ("POST", "/api/v1/passkeys/begin"),
    ("POST", "/api/v1/passkeys"),
    ("POST", "/api/v1/passkeys/{key_id}/remove"),
    ("POST", "/api/v1/passkeys/sign-in/begin"),
    ("POST", "/api/v1/passkeys/sign-in"),
    ("POST", "/api/v1/passkeys/proof/begin"),
    ("POST", "/api/v1/passkeys/proof"),
    ("POST", "/api/v1/account/password"),
    ("DELETE", "/api/v1/account/sessions/{session_id}"),
    ("DELETE", "/api/v1/account/sessions"),
    ("POST", "/api/v1/second-factor/totp"),
    ("POST", "/api/v1/second-factor/totp/confirm"),
    ("POST", "/api/v1/second-factor/totp/remove"),
    ("PUT", "/api/v1/persons/{person_id}/care-team/{username}"),
    ("DELETE", "/api/v1/persons/{person_id}/care-team/{username}"),
    ("POST", "/api/v1/persons/{person_id}/consents"),
    ("POST", "/api/v1/persons/{person_id}/consents/withdrawal"),
    ("POST", "/api/v1/consults/{consult_id}/recording"),
    ("POST", "/api/v1/displays"),
    ("DELETE", "/api/v1/displays/{display_id}"),
    ("POST", "/api/v1/displays/pair"),
    ("POST", "/api/v1/nodes/{site}/{node}/token"),
    ("POST", "/api/v1/nodes/{site}/{node}/revocation"),
    ("POST", "/api/v1/break-glass"),
    ("POST", "/api/v1/break-glass/{break_id}/renew"),
    ("POST", "/api/v1/break-glass/{break_id}/close"),
    ("POST", "/api/v1/break-glass/{break_id}/review"),
    ("POST", "/api/v1/break-glass/{break_id}/seen"),
    ("POST", "/dicom-web/studies"),
    ("POST", "/dicom-web/studies/{study}"),
    ("POST", "/oauth/token"),
    ("POST", "/oauth/authorize"),
    ("POST", "/oauth/authorize/key"),
}
"""What somebody does is written down by itself, with what it was done to."""
SHOWS_NOBODY = {
    ("GET", "/api/v1/session"),
    ("GET", "/api/v1/second-factor"),
    ("GET", "/api/v1/oidc/callback"),
    ("GET", "/api/v1/passkeys"),
    ("GET", "/api/v1/sign-in-ways"),
    ("GET", "/api/v1/persons/{person_id}/archive/{study_uid}/fetch"),
    ("GET", "/api/v1/account/sessions"),
    ("GET", "/api/v1/displays"),
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/break-glass"),
    ("GET", "/api/v1/break-glass/review"),
    ("GET", "/api/v1/break-glass/notices"),
    ("GET", "/oauth/authorize"),
    ("GET", "/oauth/key.js"),
    ("GET", "/oauth/page.css"),
    ("GET", "/.well-known/smart-configuration"),
    ("GET", "/fhir/R4/metadata"),
    ("GET", "/fhir/R4/Device"),
    ("GET", "/fhir/R4/Device/{fhir_id}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/{path:path}"),
}


def written(care: Database) -> list[tuple[str, ...]]:
    """The trail as (actor, action, object), without signing in and what the world began with."""
    query = select(audit.c.actor, audit.c.action, audit.c.object).order_by(audit.c.id)
    rows = [tuple(row) for row in care.read_blocking(lambda c: c.execute(query).all())]
    return [row for row in rows if row[1] not in ("sign-in", WITHOUT_CONSENT)]


@pytest.mark.anyio
async def test_every_route_is_known_to_show_a_person_or_not(app: FastAPI) -> None:
    found = {route for route in guard.rights_by_route(app) if not route[1].startswith("/fhir/R4/{rest")}

    # A new route must be put into one of these lists; one that shows a person, with how to ask it.
    shows_images = {("GET", path) for path in SHOWS_IMAGES}
    assert found - (shows_images | set(SHOWS) | SHOWS_OTHERWISE | ACTS | SHOWS_NOBODY) == set()


@pytest.mark.anyio
@pytest.mark.parametrize("address", SHOWS.values(), ids=[path for _, path in SHOWS])
async def test_whoever_is_shown_a_person_is_written_down(
    stranger: httpx.AsyncClient, stores: Stores, address: str
) -> None:
    await _sign_in(stranger, "physician")
    answer = await stranger.get(address)

    assert answer.status_code == 200, answer.text
    assert [row for row in written(stores.care) if row[0] == "physician" and row[2] == "Patient/p1"]


@pytest.mark.anyio
async def test_a_live_page_is_written_down_before_it_shows_anything(
    app: FastAPI, stranger: httpx.AsyncClient, stores: Stores
) -> None:
    await _sign_in(stranger, "physician")
    await _page_that_leaves(app, stranger.cookies["yz_session"])
    await _page_that_leaves(app, stranger.cookies["yz_session"])

    assert written(stores.care) == [("physician", "live-view", "Patient/p1")]


@pytest.mark.anyio
async def test_an_operator_who_sees_no_person_is_not_written_down(
    app: FastAPI, stranger: httpx.AsyncClient, stores: Stores
) -> None:
    await _sign_in(stranger, "operator")
    await _page_that_leaves(app, stranger.cookies["yz_session"])

    assert written(stores.care) == []


class Trail:
    """An identity store's trail, with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_ns = NOW_NS
        self.entries: list[str] = []
        self.results: list[str] = []
        self.is_broken = False

    def now_ns(self) -> int:
        return self.at_ns

    async def audit_many(self, _who: Principal, entries: list[tuple[str, str, str]]) -> None:
        if self.is_broken:
            raise StoreFailure("disk")
        self.entries += [target for _action, target, _result in entries]
        self.results += [result for _action, _target, result in entries]


def who(token: str) -> Principal:
    return Principal("u", Role.PHYSICIAN, "", "", "b", None, csrf_token=token)


@pytest.mark.anyio
async def test_one_entry_a_person_session_and_quarter_of_an_hour() -> None:
    trail = Trail()
    viewed = Viewed(trail)  # type: ignore[arg-type]
    for token, minutes, expected in (("a", 0, 2), ("a", 14, 0), ("b", 0, 2), ("a", 1, 2), ("b", 0, 0)):
        trail.at_ns += minutes * STRETCH_NS // 15
        before = len(trail.entries)
        await viewed.show(who(token), "live-view", ["p1", "p2", "", "p1"])
        assert len(trail.entries) - before == expected


@pytest.mark.anyio
async def test_a_view_under_broken_glass_is_told_apart_and_anew() -> None:
    trail = Trail()
    viewed = Viewed(trail)  # type: ignore[arg-type]
    opened = replace(who("a"), opened=frozenset({("s", "p1")}))
    for principal in (who("a"), opened, opened):
        await viewed.show(principal, "live-view", ["p1", "p2"])
    assert list(zip(trail.entries, trail.results, strict=True)) == [
        ("Patient/p1", "ok"),
        ("Patient/p2", "ok"),
        ("Patient/p1", "ok-btg"),
    ]


@pytest.mark.anyio
async def test_a_trail_that_cannot_be_written_is_tried_again_the_next_time(capsys: pytest.CaptureFixture[str]) -> None:
    trail = Trail()
    viewed = Viewed(trail)  # type: ignore[arg-type]
    trail.is_broken = True
    for _ in range(3):
        await viewed.show(who("a"), "live-view", ["p1"])
    trail.is_broken = False
    await viewed.show(who("a"), "live-view", ["p1"])
    assert trail.entries == ["Patient/p1"]
    assert capsys.readouterr().out.count("view-not-audited") == 1

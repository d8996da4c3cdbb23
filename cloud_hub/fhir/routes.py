"""`/fhir/R4`: read and search.  Only the CapabilityStatement is open (decision 15); scopes are checked here."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from telemed import answers

from cloud_hub.access import images
from cloud_hub.access.rights import Principal, Right, result_of_read
from cloud_hub.errors import NotPermitted
from cloud_hub.fhir import (
    audit_event,
    audit_reads,
    capability,
    consent_reads,
    diagnostic_report,
    imaging_study,
    outcome,
    reads,
)
from cloud_hub.fhir.diagnostic_report import ReadReport
from cloud_hub.fhir.json_text import Json, dumps
from cloud_hub.fhir.observation import Draft, Setting, compose
from cloud_hub.fhir.parameters import Values, write_cursor
from cloud_hub.fhir.patient import device, patient
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database

PREFIX = "/fhir/R4"
RIGHT_OF = {
    "Patient": Right.SEE_RECORD,
    "Observation": Right.SEE_VITALS,
    "Device": Right.SEE_DEVICES,
    "Consent": Right.SEE_CONSENT,
    "AuditEvent": Right.READ_AUDIT,
    "ImagingStudy": Right.SEE_RECORD,
    "DiagnosticReport": Right.SEE_RECORD,
}
Guard = Callable[[Right], Callable[[Request], Awaitable[Principal]]]
"""`cloud_hub.web.guard.require`: this part may not import its neighbour."""


class Audit(Protocol):
    """`Access.audit_many`: notes (action, target, result) for each."""

    async def __call__(self, who: Principal, entries: Sequence[tuple[str, str, str]]) -> None:
        """Append the entries in one transaction."""


@dataclass(frozen=True, slots=True)
class Face:
    """What the routes need."""

    samples: Database
    care: Database
    audit: Audit
    version: str
    utc_offset: timedelta = timedelta(hours=8)
    is_demo: bool = False
    blobs: Blobs | None = None
    """Files of studies, for a person's own copy; None: this hub takes none."""
    read_report: ReadReport | None = None
    """Reads the report of a model; None: this hub takes no files."""
    now_ns: Callable[[], int] = time.time_ns
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


def router(face: Face, guard: Guard) -> APIRouter:
    """Return the routes, to be mounted at the root of the application."""
    told = answers.refusals(fhir_json={"type": "object", "required": ["resourceType", "issue"]})
    routes = APIRouter(prefix=PREFIX, tags=["fhir"], default_response_class=Response, responses=told)
    _add_metadata(routes, face)
    _add_patient(routes, face, guard)
    _add_observation(routes, face, guard)
    _add_device(routes, face, guard)
    _add_consent(routes, face, guard)
    _add_audit_event(routes, face, guard)
    _add_imaging_study(routes, face, guard)
    _add_diagnostic_report(routes, face, guard)

    @routes.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def unknown(rest: str, request: Request) -> Response:
        """Refuse what is no resource of ours, and every method on what is."""
        name = rest.partition("/")[0]
        if name in RIGHT_OF and request.method != "GET":
            return _answer(outcome.outcome(405, f"{request.method} {name} is not supported"), 405, {"Allow": "GET"})
        return _answer(outcome.outcome(404, "no such resource here", "没有这种资源。"), 404)

    return routes


def _add_metadata(routes: APIRouter, face: Face) -> None:
    @routes.get("/metadata")
    async def metadata(request: Request) -> Response:
        """Return the CapabilityStatement."""
        started = face.started.isoformat(timespec="seconds")
        return _answer(capability.statement(_base(request), face.version, started))


def _add_patient(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT_OF["Patient"]))]

    @routes.get("/Patient/{person_id}")
    async def read(person_id: str, principal: who) -> Response:
        """Return one person."""
        _demand(principal, "Patient", "r")
        found = await face.care.read(lambda c: reads.patient(c, principal, person_id))
        await face.audit(principal, [_patient_read(principal, person_id)])
        return _answer(patient(found))

    @routes.get("/Patient")
    async def search(request: Request, principal: who) -> Response:
        """Return the persons that match."""
        _demand(principal, "Patient", "s")
        values = request.query_params.multi_items()
        found, after = await face.care.read(lambda c: reads.patients(c, principal, values, face.utc_offset))
        await face.audit(principal, [_patient_read(principal, one.person_id) for one in found])
        return _bundle(request, values, [patient(one) for one in found], after and write_cursor(after))


def _add_observation(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT_OF["Observation"]))]

    @routes.get("/Observation/{fhir_id}")
    async def read(fhir_id: str, principal: who) -> Response:
        """Return one observation."""
        _demand(principal, "Observation", "r")
        around = await face.care.read(lambda c: reads.scene(c, principal))
        draft = await face.samples.read(lambda c: reads.observation(c, principal, around, fhir_id))
        await _audit_drafts(face, principal, around, [draft])
        return _answer(_composed(face, around, draft))

    @routes.get("/Observation")
    async def search(request: Request, principal: who) -> Response:
        """Return the observations that match, newest first."""
        _demand(principal, "Observation", "s")
        values = request.query_params.multi_items()
        asked = reads.ObservationSearch.read(values, face.utc_offset)
        around = await face.care.read(lambda c: reads.scene(c, principal))
        page = await face.samples.read(lambda c: reads.observations(c, principal, around, asked))
        await _audit_drafts(face, principal, around, page.drafts)
        following = write_cursor(*page.following) if page.following else None
        return _bundle(request, values, [_composed(face, around, one) for one in page.drafts], following)


def _add_device(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT_OF["Device"]))]

    @routes.get("/Device/{fhir_id}")
    async def read(fhir_id: str, principal: who) -> Response:
        """Return one device."""
        _demand(principal, "Device", "r")
        return _answer(device(await face.care.read(lambda c: reads.device(c, principal, fhir_id))))

    @routes.get("/Device")
    async def search(request: Request, principal: who) -> Response:
        """Return the devices that match."""
        _demand(principal, "Device", "s")
        values = request.query_params.multi_items()
        found, after = await face.care.read(lambda c: reads.devices(c, principal, values))
        return _bundle(request, values, [device(one) for one in found], after and write_cursor(after))


def _add_consent(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT_OF["Consent"]))]

    @routes.get("/Consent/{fhir_id}")
    async def read(fhir_id: str, principal: who) -> Response:
        """Return one consent."""
        _demand(principal, "Consent", "r")
        found = await face.care.read(lambda c: consent_reads.consent(c, principal, fhir_id, face.now_ns()))
        await face.audit(principal, [_consent_read(principal, consent_reads.person_of(fhir_id) or "")])
        return _answer(found.resource)

    @routes.get("/Consent")
    async def search(request: Request, principal: who) -> Response:
        """Return the consents that match: who agreed to what."""
        _demand(principal, "Consent", "s")
        values = request.query_params.multi_items()
        asked = consent_reads.ConsentSearch.read(values, face.utc_offset)
        page = await face.care.read(lambda c: consent_reads.consents(c, principal, asked, face.now_ns()))
        if page.seen:
            await face.audit(principal, [_consent_read(principal, one) for one in page.seen])
        following = write_cursor(*page.following) if page.following else None
        return _bundle(request, values, [one.resource for one in page.consents], following)


def _add_audit_event(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT_OF["AuditEvent"]))]

    @routes.get("/AuditEvent/{fhir_id}")
    async def read(fhir_id: str, principal: who) -> Response:
        """Return one event."""
        _demand(principal, "AuditEvent", "r")
        found = await face.care.read(lambda c: audit_reads.event(c, principal, fhir_id))
        await face.audit(principal, [("audit-read", f"AuditEvent/{fhir_id}", "ok")])
        return _answer(audit_event.compose(found, face.utc_offset))

    @routes.get("/AuditEvent")
    async def search(request: Request, principal: who) -> Response:
        """Return the events that match, newest first: who looked at whom, and who did what."""
        _demand(principal, "AuditEvent", "s")
        values = request.query_params.multi_items()
        asked = audit_reads.AuditSearch.read(values, face.utc_offset)
        page = await face.care.read(lambda c: audit_reads.events(c, principal, asked))
        about = [f"Patient/{one}" for one in sorted(asked.person_ids or ())] or ["AuditEvent"]
        await face.audit(principal, [("audit-read", one, "ok") for one in about])
        found = [audit_event.compose(one, face.utc_offset) for one in page.events]
        return _bundle(request, values, found, write_cursor(*page.following) if page.following else None)


def _add_imaging_study(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT_OF["ImagingStudy"]))]

    @routes.get("/ImagingStudy/{fhir_id}")
    async def read(fhir_id: str, request: Request, principal: who) -> Response:
        """Return one study with its series and instances."""
        _demand(principal, "ImagingStudy", "r")
        found = await face.care.read(lambda c: imaging_study.find(c, principal, fhir_id))
        await _audit_studies(face, principal, [found])
        return _answer(imaging_study.compose(found, face.utc_offset, _dicomweb(request)))

    @routes.get("/ImagingStudy")
    async def search(request: Request, principal: who) -> Response:
        """Return the studies that match, newest first, with their series."""
        _demand(principal, "ImagingStudy", "s")
        values = request.query_params.multi_items()
        asked = imaging_study.ImagingSearch.read(values, face.utc_offset)
        page, following = await face.care.read(lambda c: imaging_study.search(c, principal, asked))
        await _audit_studies(face, principal, page)
        told = [imaging_study.compose(one, face.utc_offset, _dicomweb(request)) for one in page]
        return _bundle(request, values, told, write_cursor(following) if following is not None else None)


def _add_diagnostic_report(routes: APIRouter, face: Face, guard: Guard) -> None:
    who = Annotated[Principal, Depends(guard(RIGHT_OF["DiagnosticReport"]))]

    @routes.get("/DiagnosticReport/{fhir_id}")
    async def read(fhir_id: str, principal: who) -> Response:
        """Return what a model said of one study, and what physicians say of each finding."""
        _demand(principal, "DiagnosticReport", "r")
        found = await diagnostic_report.find(face.care, face.read_report, principal, fhir_id)
        await _audit_reports(face, principal, [found])
        return _answer(diagnostic_report.compose(found, face.utc_offset))

    @routes.get("/DiagnosticReport")
    async def search(request: Request, principal: who) -> Response:
        """Return the reports that match, of the newest study first."""
        _demand(principal, "DiagnosticReport", "s")
        values = request.query_params.multi_items()
        asked = diagnostic_report.ReportSearch.read(values)
        page, following = await diagnostic_report.search(face.care, face.read_report, principal, asked)
        await _audit_reports(face, principal, page)
        told = [diagnostic_report.compose(one, face.utc_offset) for one in page]
        return _bundle(request, values, told, write_cursor(following) if following is not None else None)


async def _audit_reports(face: Face, principal: Principal, found: Sequence[diagnostic_report.Reviewed]) -> None:
    things = dict.fromkeys(images.audited(principal, one.study) for one in found)
    if things:
        await face.audit(principal, [("diagnosticreport-read", target, result) for target, result in things])


async def _audit_studies(face: Face, principal: Principal, found: Sequence[imaging_study.Scan]) -> None:
    things = dict.fromkeys(images.audited(principal, one.study) for one in found)
    if things:
        await face.audit(principal, [("imagingstudy-read", target, result) for target, result in things])


def _dicomweb(request: Request) -> str:
    return str(request.base_url).rstrip("/") + "/dicom-web"


def _demand(principal: Principal, resource: str, letter: str) -> None:
    if not principal.may_read(resource, letter):
        raise NotPermitted(f"the token has no scope for {resource}.{letter}")


def _composed(face: Face, around: reads.Scene, draft: Draft) -> dict[str, Json]:
    person_id = around.whereabouts.subject(draft)
    return compose(draft, Setting(person_id, around.device_of(draft.source), face.utc_offset, face.is_demo))


async def _audit_drafts(face: Face, principal: Principal, around: reads.Scene, drafts: Sequence[Draft]) -> None:
    """Note each person whose measurements were looked at, once a page."""
    seen = dict.fromkeys(around.whereabouts.subject(draft) for draft in drafts)
    entries = [("observation-read", f"Patient/{one}", result_of_read(principal, one)) for one in seen if one]
    if entries:
        await face.audit(principal, entries)


def _patient_read(principal: Principal, person_id: str) -> tuple[str, str, str]:
    return "patient-read", f"Patient/{person_id}", result_of_read(principal, person_id)


def _consent_read(principal: Principal, person_id: str) -> tuple[str, str, str]:
    return "consent-read", f"Patient/{person_id}", result_of_read(principal, person_id)


def _bundle(request: Request, values: Values, resources: Sequence[dict[str, Json]], following: str | None) -> Response:
    """Return a searchset; `total` only where this page is all there is, since counting would read everything."""
    base = _base(request)
    kind = request.url.path.rstrip("/").rpartition("/")[2]
    links = [{"relation": "self", "url": _url(base, kind, values)}]
    if following:
        rest = [pair for pair in values if pair[0] != "_cursor"]
        links.append({"relation": "next", "url": _url(base, kind, [*rest, ("_cursor", following)])})
    bundle: dict[str, Json] = {"resourceType": "Bundle", "type": "searchset"}
    if not following and not any(name == "_cursor" for name, _ in values):
        bundle["total"] = len(resources)
    bundle["link"] = links
    if resources:
        bundle["entry"] = [
            {"fullUrl": f"{base}/{kind}/{one['id']}", "resource": one, "search": {"mode": "match"}} for one in resources
        ]
    return _answer(bundle)


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/") + PREFIX


def _url(base: str, kind: str, values: Values) -> str:
    return f"{base}/{kind}" + (f"?{urlencode(list(values))}" if values else "")


def _answer(resource: dict[str, Json], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(dumps(resource), status, media_type=outcome.MEDIA_TYPE, headers=kept)

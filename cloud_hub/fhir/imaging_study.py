"""ImagingStudy from the index of images: composed and searched by the same rights as the images themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.errors import NotFound
from cloud_hub.fhir import parameters
from cloud_hub.fhir.json_text import Json
from cloud_hub.fhir.observation import instant
from cloud_hub.fhir.parameters import Span, Token, Values
from cloud_hub.store import studies
from cloud_hub.store.studies import Instance, Narrowing, Series, Study

DCM = "http://dicom.nema.org/resources/ontology/DCM"
DICOM_UID, URI = "urn:dicom:uid", "urn:ietf:rfc:3986"
CONNECTION = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
KIND = "ImagingStudy"
_UTC = timedelta(0)


@dataclass(frozen=True, slots=True)
class Scan:
    """A study with as much below it as is told."""

    study: Study
    series: Sequence[Series]
    instances: Sequence[Instance] = ()


@dataclass(frozen=True, slots=True)
class ImagingSearch:
    """A search for studies, read from its parameters."""

    ids: list[list[Token]]
    identifiers: list[list[Token]]
    modalities: list[list[Token]]
    persons: list[set[str]]
    started: list[Span]
    updates: list[Span]
    utc_offset: timedelta
    count: int
    skipped: int

    @classmethod
    def read(cls, values: Values, utc_offset: timedelta) -> "ImagingSearch":
        """Return the search that these parameters mean.

        Raises:
            BadRequest: one cannot be understood.
        """
        parameters.check(KIND, values)
        return cls(
            ids=parameters.tokens(values, "_id"),
            identifiers=parameters.tokens(values, "identifier"),
            modalities=parameters.tokens(values, "modality"),
            persons=parameters.references(values, ("patient", "subject"), "Patient"),
            started=parameters.spans(values, "started", utc_offset),
            updates=parameters.spans(values, "_lastUpdated", utc_offset),
            utc_offset=utc_offset,
            count=parameters.count(values),
            skipped=(parameters.number_cursor(values, 1) or (0,))[0],
        )

    def wants(self, study: Study) -> bool:
        """True where a study meets every parameter."""
        at_ns = started_ns(study, self.utc_offset)
        held = [
            (self.ids, [("", study.study_key)]),
            (self.identifiers, [(DICOM_UID, f"urn:oid:{study.study_uid}"), (DICOM_UID, study.study_uid)]),
            (self.modalities, [(DCM, one) for one in study.modalities]),
        ]
        return (
            all(any(token.fits(one) for token in some for one in found) for asked, found in held for some in asked)
            and all(study.person_id in allowed for allowed in self.persons)
            and all(at_ns is not None and span.holds(at_ns) for span in self.started)
            and all(span.holds(study.indexed_ns) for span in self.updates)
        )

    @property
    def narrowing(self) -> Narrowing:
        """What the database looks for."""
        persons = frozenset(set.intersection(*self.persons)) if self.persons else None
        return Narrowing(persons=persons)


def find(connection: Connection, principal: Principal, fhir_id: str) -> Scan:
    """Return a study within scope with all that is below it (care store).

    Raises:
        NotFound: no such study, or not within scope.
    """
    for study in images.seen(connection, principal, Narrowing(study_keys=frozenset({fhir_id}))):
        return scan_of(connection, study)
    raise NotFound("no such ImagingStudy")


def scan_of(connection: Connection, study: Study) -> Scan:
    """Return a study with all that counts below it (care store); a preview is none of it."""
    keys = {study.study_key}
    counting = [one for one in studies.counting(studies.instances_of(connection, keys)) if not one.is_preview]
    return Scan(study, studies.series_of(connection, keys), counting)


def search(connection: Connection, principal: Principal, asked: ImagingSearch) -> tuple[list[Scan], int | None]:
    """Return a page of studies within scope, the newest day first, and how many to skip for the next (care store)."""
    matching = (one for one in images.seen(connection, principal, asked.narrowing) if asked.wants(one))
    found = list(islice(matching, asked.skipped, asked.skipped + asked.count + 1))
    page = [Scan(one, studies.series_of(connection, {one.study_key})) for one in found[: asked.count]]
    return page, asked.skipped + asked.count if len(found) > asked.count else None


def started_ns(study: Study, utc_offset: timedelta) -> int | None:
    """Return when a study began, by the region's clocks; None where it does not say."""
    text = study.study_date + (study.study_time[:6] or "0").ljust(6, "0")
    try:
        at = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=timezone(utc_offset))
    except ValueError:
        return None
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * 10**9


def compose(scan: Scan, utc_offset: timedelta, dicomweb: str) -> dict[str, Json]:
    """Return the ImagingStudy; `dicomweb` is where its images are fetched, empty where they lie beside it."""
    study = scan.study
    subject: Json = {"reference": f"Patient/{study.person_id}"} if study.person_id else {"display": "未归档 unassigned"}
    found: dict[str, Json] = {
        "resourceType": KIND,
        "id": study.study_key,
        "meta": {"lastUpdated": instant(study.indexed_ns, _UTC)},
        "identifier": [{"system": DICOM_UID, "value": f"urn:oid:{study.study_uid}"}],
        "status": "available",
        "subject": subject,
    }
    if study.modalities:
        found["modality"] = [_modality(one) for one in study.modalities]
    at_ns = started_ns(study, utc_offset)
    if at_ns is not None:
        found["started"] = instant(at_ns, utc_offset) if study.study_time else _day(study.study_date)
    if dicomweb:
        found |= {"contained": [_endpoint(dicomweb)], "endpoint": [{"reference": "#wado"}]}
    found |= {"numberOfSeries": study.series_count, "numberOfInstances": study.instance_count}
    description = _text(study.attributes, "00081030")
    if description:
        found["description"] = description
    below = [(one, [inner for inner in scan.instances if inner.series_uid == one.series_uid]) for one in scan.series]
    return found | ({"series": [_series(*one) for one in below]} if below else {})


def _series(series: Series, instances: Sequence[Instance]) -> Json:
    found: dict[str, Json] = {"uid": series.series_uid}
    if series.series_number >= 0:
        found["number"] = series.series_number
    found["modality"] = _modality(series.modality or "OT")
    description = _text(series.attributes, "0008103E")
    if description:
        found["description"] = description
    found["numberOfInstances"] = series.instance_count
    told = [_instance(one) for one in instances]
    return found | ({"instance": told} if told else {})


def _instance(instance: Instance) -> Json:
    sop_class = {"system": URI, "code": f"urn:oid:{_text(instance.attributes, '00080016') or '1.2.840.10008.1.1'}"}
    number = {"number": instance.instance_number} if instance.instance_number >= 0 else {}
    return {"uid": instance.sop_uid, "sopClass": sop_class, **number}


def _endpoint(address: str) -> Json:
    return {
        "resourceType": "Endpoint",
        "id": "wado",
        "status": "active",
        "connectionType": {"system": CONNECTION, "code": "dicom-wado-rs"},
        "payloadType": [{"text": "DICOM"}],
        "address": address,
    }


def _modality(code: str) -> Json:
    return {"system": DCM, "code": code}


def _day(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"


def _text(attributes: dict[str, Any], tag: str) -> str:
    values = attributes.get(tag, {}).get("Value") or [""]
    return str(values[0] or "").strip()

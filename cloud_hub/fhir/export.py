"""Everything about one person as a zip: NDJSON of R4 resources, DICOM files, a list with hashes, and an index."""

import asyncio
import html
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from string import Template
from typing import TypeVar

from sqlalchemy import Connection

from cloud_hub.access.rights import Principal
from cloud_hub.care import referral
from cloud_hub.care.places import Stay
from cloud_hub.fhir import (
    audit_event,
    audit_reads,
    consent_reads,
    diagnostic_report,
    export_images,
    imaging_study,
    reads,
    record,
    scan,
)
from cloud_hub.fhir import patient as resource_of
from cloud_hub.fhir.archive import Archive, Member, manifest
from cloud_hub.fhir.json_text import Json, dumps
from cloud_hub.fhir.observation import Setting, Source, compose, instant
from cloud_hub.fhir.routes import Face
from cloud_hub.fhir.whereabouts import Whereabouts
from cloud_hub.store import alarms, care_team, events, persons, samples
from cloud_hub.store.events import Place
from cloud_hub.store.persons import Person
from cloud_hub.store.studies import Study

AT_ONCE = 500
"""Resources read in one go: what is held in memory at a time."""
ASK_EVERY_S = 3.0
"""How soon whoever has no right any more is sent nothing more; a part may take minutes."""
Some = AsyncIterator[list[dict[str, Json]]]
Ask = Callable[[], Awaitable[bool]]
_One = TypeVar("_One")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose copy it is, and as far as whose scope it reaches."""

    person: Person
    principal: Principal
    """Narrowed to the one person; what was opened by breaking the glass cannot be taken away (clinical 9.2)."""
    around: reads.Scene
    stays: tuple[Stay, ...]


def demand(connection: Connection, principal: Principal, person_id: str) -> Person:
    """Return the person if this principal may have their copy (care store).

    Raises:
        NotFound: no such person within scope; an opened record counts for nothing here.
    """
    return reads.patient(connection, replace(principal, opened=frozenset()), person_id)


def subject(connection: Connection, principal: Principal, person_id: str, now_ns: int) -> Subject:
    """Return what an export that begins now needs to know (care store).

    Whoever still lies there may leave meanwhile, and the next in the bed is not theirs: for what was measured, their
    stay ends now.

    Raises:
        NotFound: no such person within scope; an opened record counts for nothing here.
    """
    person = demand(connection, principal, person_id)
    one = frozenset({person_id})
    narrowed = replace(principal, opened=frozenset(), sites=frozenset({person.site}), persons=one)
    stays = persons.stays(connection, person.region, {person.site})
    own = tuple(stay for stay in stays if stay.person_id == person_id)
    ended = (stay if stay.to_ns is not None else replace(stay, to_ns=now_ns) for stay in stays)
    places = persons.places(connection, person.region, {person.site})
    return Subject(person, narrowed, reads.scene(connection, narrowed, Whereabouts(ended, places)), own)


async def stream(face: Face, who: Subject, now_ns: int, may_go_on: Ask) -> AsyncIterator[bytes]:
    """Yield the zip, bit by bit, as fast as it is taken.

    It ends as soon as its reader has no right any more: that is asked before each part, and within one as often as
    `ASK_EVERY_S` says.  What was sent is no whole zip then.
    """
    archive = Archive(datetime.fromtimestamp(now_ns / 1e9, UTC))
    parts: tuple[tuple[str, Some], ...] = (
        ("Patient.ndjson", _at_once([resource_of.patient(who.person)])),
        ("Encounter.ndjson", _at_once([record.encounter(stay, n) for n, stay in enumerate(who.stays, 1)])),
        ("Consent.ndjson", _at_once(await face.care.read(lambda c: _consents(c, who, now_ns)))),
        ("ServiceRequest.ndjson", _at_once(await face.care.read(lambda c: _referrals(c, who)))),
        ("Flag.ndjson", _alarms(face, who)),
        ("Observation.ndjson", _observations(face, who)),
        ("Observation-waves.ndjson", _waves(face, who)),
        ("ImagingStudy.ndjson", _studies(face, who)),
        ("DiagnosticReport.ndjson", _reports(face, who)),
        ("AuditEvent.ndjson", _audit(face, who)),
    )
    try:
        for name, some in parts:
            archive.begin(name)
            async for found in _allowed(some, may_go_on):
                # Composing and packing hundreds of resources would hold up the live pages.
                yield await asyncio.to_thread(archive.add, found)
            yield archive.end()
        for number, study in enumerate(await face.care.read(lambda c: _imaged(c, who)), 1):
            if face.blobs is not None:
                files = export_images.files(archive, face.care, face.blobs, study, number)
                async for chunk in _allowed(files, may_go_on):
                    yield chunk
    except _RightEnded:
        return
    yield archive.whole("manifest.json", dumps(manifest(archive.members)) + "\n")
    yield archive.whole("index.html", index(who, archive.members, now_ns, is_demo=face.is_demo))
    yield archive.close()


class _RightEnded(Exception):
    """Who asked for the copy may not have it any more."""


async def _allowed(some: AsyncIterator[_One], may_go_on: Ask) -> AsyncIterator[_One]:
    """Yield what comes; ask before the first and then at most each `ASK_EVERY_S`."""
    asked_s = -math.inf
    async for one in some:
        if time.monotonic() - asked_s >= ASK_EVERY_S:
            if not await may_go_on():
                raise _RightEnded
            asked_s = time.monotonic()
        yield one


def index(who: Subject, members: Iterable[Member], now_ns: int, *, is_demo: bool) -> str:
    """Return the page that says in both languages what is in the archive."""
    page = Template(resources.files("cloud_hub.fhir").joinpath("export_index.html").read_text(encoding="utf-8"))
    person = who.person
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{_WORDS.get(name, _IMAGES)}</td><td>{count}</td></tr>"
        for name, count in _counts(members).items()
    )
    stays = "".join(f"<li>{html.escape(_stay_text(stay))}</li>" for stay in who.stays)
    return page.substitute(
        name=html.escape(f"{person.family_name}{person.given_name} {person.name_en}".strip()),
        born=html.escape(person.birth_date),
        numbers=html.escape(" · ".join(value for _, value in person.identifiers)),
        site=html.escape(person.site),
        at=datetime.fromtimestamp(now_ns // 10**9, UTC).isoformat(),
        demo="演示 Demo" if is_demo else "",
        rows=rows,
        stays=stays,
    )


_WORDS = {
    "Patient.ndjson": "本人信息 Who you are",
    "Encounter.ndjson": "住院与在床 Stays",
    "Consent.ndjson": "授权 Consents",
    "ServiceRequest.ndjson": "转诊 Referrals",
    "Flag.ndjson": "报警与处理经过 Alarms and who answered them",
    "Observation.ndjson": "测量值 Measurements",
    "Observation-waves.ndjson": "波形 Waveforms",
    "ImagingStudy.ndjson": "影像检查 Studies with images",
    "DiagnosticReport.ndjson": "AI 报告与医师判断 Reports of AI, and what physicians said of them",
    "AuditEvent.ndjson": "谁看过您的资料 Who looked at your record",
    "manifest.json": "文件清单与校验 List of files with hashes",
}

_IMAGES = "影像文件（DICOM） Images (DICOM files)"


def _counts(members: Iterable[Member]) -> dict[str, int]:
    """Return how many things are in each file, and in each folder of images."""
    found = dict[str, int]()
    for one in members:
        name = f"{one.name.rpartition('/')[0]}/" if one.name.startswith(export_images.FOLDER) else one.name
        found[name] = found.get(name, 0) + one.count
    return found


def _stay_text(stay: Stay) -> str:
    begin = instant(stay.from_ns, timedelta(0))
    return f"{stay.bed}: {begin} – {'…' if stay.to_ns is None else instant(stay.to_ns, timedelta(0))}"


async def _at_once(found: list[dict[str, Json]]) -> Some:
    yield found


def _consents(connection: Connection, who: Subject, now_ns: int) -> list[dict[str, Json]]:
    return [one.resource for one in consent_reads.of_person(connection, who.person, now_ns)]


def _referrals(connection: Connection, who: Subject) -> list[dict[str, Json]]:
    found = []
    for site, referral_id in care_team.referrals_of(connection, who.person.region, who.person.person_id):
        log = events.of_aggregate(connection, Place(who.person.region, site), "referral", referral_id)
        folded = referral.fold(referral_id, log)
        if folded is not None:
            found.append(record.service_request(folded, site))
    return found


async def _alarms(face: Face, who: Subject) -> Some:
    person, after = who.person, ""
    while True:
        found = await face.care.read(
            lambda c, after=after: alarms.of_person(c, person.region, person.person_id, after, AT_ONCE)  # type: ignore[misc]
        )
        yield [record.flag(one) for one in found]
        if len(found) < AT_ONCE:
            return
        after = found[-1].alarm_id


async def _observations(face: Face, who: Subject) -> Some:
    asked = reads.ObservationSearch.read([("patient", who.person.person_id)], face.utc_offset)
    asked = replace(asked, count=AT_ONCE)
    while True:
        page = await face.samples.read(
            lambda c, asked=asked: reads.observations(c, who.principal, who.around, asked)  # type: ignore[misc]
        )
        yield [compose(one, _setting(face, who, one.source)) for one in page.drafts]
        if page.following is None:
            return
        asked = replace(asked, start=page.following)


async def _waves(face: Face, who: Subject) -> Some:
    windows = who.around.whereabouts.windows({who.person.person_id})
    sites = frozenset({who.person.site})
    sources = await face.samples.read(lambda c: scan.sources(c, who.person.region, sites, "wave"))
    for source in sources:
        from_ns, to_ns = who.around.whereabouts.window(source, windows) or (0, 0)
        last = (0, -1)
        while from_ns < to_ns:
            found = await face.samples.read(
                lambda c, s=source, f=from_ns, t=to_ns: samples.records_between(c, [s.stream_id], f, t, AT_ONCE)  # type: ignore[misc]
            )
            # The page before ended within an instant, which is read once more.
            fresh = [one for one in found if (one.measured_ns, one.record.seq) > last]
            yield await asyncio.to_thread(_composed_waves, face, who, source, fresh)
            if len(found) < AT_ONCE or not fresh:
                break
            last = (found[-1].measured_ns, found[-1].record.seq)
            from_ns = last[0]


def _composed_waves(
    face: Face, who: Subject, source: Source, found: list[samples.StoredRecord]
) -> list[dict[str, Json]]:
    made = []
    for stored in found:
        if who.around.whereabouts.person_at(source, stored.measured_ns) != who.person.person_id:
            continue
        sample = samples.waveform_set(stored)
        if sample is not None:
            made.append(record.wave(source, stored.record.seq, sample, _setting(face, who, source)))
    return made


def _imaged(connection: Connection, who: Subject) -> list[Study]:
    return export_images.of_person(connection, who.principal, who.person.person_id)


async def _studies(face: Face, who: Subject) -> Some:
    for study in await face.care.read(lambda c: _imaged(c, who)):
        found = await face.care.read(lambda c, study=study: imaging_study.scan_of(c, study))  # type: ignore[misc]
        yield [imaging_study.compose(found, face.utc_offset, "")]


async def _reports(face: Face, who: Subject) -> Some:
    asked = diagnostic_report.ReportSearch.read([("patient", who.person.person_id)])
    following: int | None = 0
    while following is not None:
        asked = replace(asked, skipped=following)
        page, following = await diagnostic_report.search(face.care, face.read_report, who.principal, asked)
        yield [diagnostic_report.compose(one, face.utc_offset) for one in page]


async def _audit(face: Face, who: Subject) -> Some:
    asked = audit_reads.AuditSearch.read([("patient", who.person.person_id)], face.utc_offset)
    asked = replace(asked, count=AT_ONCE)
    while True:
        page = await face.care.read(
            lambda c, asked=asked: audit_reads.events(c, who.principal, asked)  # type: ignore[misc]
        )
        yield [audit_event.compose(one, face.utc_offset) for one in page.events]
        if page.following is None:
            return
        asked = replace(asked, start=page.following)


def _setting(face: Face, who: Subject, source: Source) -> Setting:
    return Setting(who.person.person_id, who.around.device_of(source), face.utc_offset, face.is_demo)

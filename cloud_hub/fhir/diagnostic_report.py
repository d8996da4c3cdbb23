"""DiagnosticReport from the reports of models: preliminary until a physician has judged each finding, then final.

Findings are Observations contained in it: what a model points to is nobody's measurement until a person says so, and
must not be found as one beside the vital signs.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import Connection
from telemed.ai_codes import CODES, FINDINGS, SCHEME
from telemed.screen import Text2

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.care import finding_review
from cloud_hub.care.finding_review import ModelReport, Review, Said, State, Verdict
from cloud_hub.errors import NotFound
from cloud_hub.fhir import codes, parameters
from cloud_hub.fhir.imaging_study import DCM, DICOM_UID, started_ns
from cloud_hub.fhir.json_text import Json
from cloud_hub.fhir.observation import instant
from cloud_hub.fhir.parameters import Token, Values
from cloud_hub.store import accounts, finding_reviews, studies
from cloud_hub.store.engine import Database
from cloud_hub.store.studies import Instance, Narrowing, Study

KIND = "DiagnosticReport"
SNOMED = "http://snomed.info/sct"
SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"
LOCAL = f"urn:yuanzhen:{SCHEME}"
PRESENT: list[codes.Coding] = [(SNOMED, "52101004")]
ABSENT: list[codes.Coding] = [(SNOMED, "2667000")]
DIAMETER: list[codes.Coding] = [(SNOMED, "81827009")]
CERTAINTY: list[codes.Coding] = [(DCM, "111012")]
BRAIN: list[codes.Coding] = [(SNOMED, "12738006")]
UNVERIFIED = "AI 未经核实 · AI, not verified"
ReadReport = Callable[[Instance], Awaitable[ModelReport | None]]
"""`cloud_hub.imaging.model_reports.read_one`: this part may not import its neighbour."""
Candidate = tuple[Study, Instance]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A report with all that was said of it, in order, and by whom."""

    study: Study
    fhir_id: str
    read: ModelReport
    reviews: Sequence[Review]
    names: dict[str, Text2]
    """Of those who said something, by their user names."""

    @property
    def state(self) -> State:
        """How far people have come with it."""
        return finding_review.state(self.read.outcome, self.reviews)


@dataclass(frozen=True, slots=True)
class ReportSearch:
    """A search for reports, read from its parameters."""

    ids: list[list[Token]]
    identifiers: list[list[Token]]
    persons: list[set[str]]
    states: list[list[Token]]
    count: int
    skipped: int

    @classmethod
    def read(cls, values: Values) -> "ReportSearch":
        """Return the search that these parameters mean.

        Raises:
            BadRequest: one cannot be understood.
        """
        parameters.check(KIND, values)
        return cls(
            ids=parameters.tokens(values, "_id"),
            identifiers=parameters.tokens(values, "identifier"),
            persons=parameters.references(values, ("patient", "subject"), "Patient"),
            states=parameters.tokens(values, "status"),
            count=parameters.count(values),
            skipped=(parameters.number_cursor(values, 1) or (0,))[0],
        )

    def may_be(self, candidate: Candidate) -> bool:
        """True where a report meets every parameter that can be judged unread."""
        study, instance = candidate
        uid = instance.sop_uid
        held = [
            (self.ids, [("", id_of(instance))]),
            (self.identifiers, [(DICOM_UID, f"urn:oid:{uid}"), (DICOM_UID, uid)]),
        ]
        return _fits(held) and all(study.person_id in allowed for allowed in self.persons)

    def wants(self, found: Reviewed) -> bool:
        """True where a report that was read meets the rest."""
        return _fits([(self.states, [("http://hl7.org/fhir/diagnostic-report-status", found.state.value)])])

    @property
    def narrowing(self) -> Narrowing:
        """What the database looks for."""
        return Narrowing(persons=frozenset(set.intersection(*self.persons)) if self.persons else None)


def id_of(instance: Instance) -> str:
    """Return the id: of these bytes in this study, and no others."""
    return hashlib.sha256(f"{instance.study_key}\n{instance.sop_uid}\n{instance.sha256}".encode()).hexdigest()


async def find(care: Database, read: ReadReport | None, principal: Principal, fhir_id: str) -> Reviewed:
    """Return a report within scope.

    Raises:
        NotFound: no such report, or not within scope.
    """
    asked = ReportSearch([[Token(None, fhir_id)]], [], [], [], 1, 0)
    page, _ = await search(care, read, principal, asked)
    if not page:
        raise NotFound("no such DiagnosticReport")
    return page[0]


async def search(
    care: Database, read: ReadReport | None, principal: Principal, asked: ReportSearch
) -> tuple[list[Reviewed], int | None]:
    """Return a page of reports within scope, of the newest study first, and how many to skip for the next."""
    if read is None:
        return [], None
    candidates = await care.read(lambda c: _candidates(c, principal, asked))
    found = list[Reviewed]()
    for number, (study, instance) in enumerate(candidates[asked.skipped :], asked.skipped):
        said = await read(instance)
        if said is None:
            continue
        one = await care.read(lambda c, s=study, i=instance, r=said: _reviewed(c, s, i, r))  # type: ignore[misc]
        if asked.wants(one):
            if len(found) == asked.count:
                return found, number
            found.append(one)
    return found, None


def compose(found: Reviewed, utc_offset: timedelta) -> dict[str, Json]:
    """Return the DiagnosticReport."""
    study, read, report = found.study, found.read, found.read.report
    standing = finding_review.newest(found.reviews)
    observations = [_observation(found, number, uid, standing.get(uid)) for number, uid in enumerate(read.told, 1)]
    changed_ns = max([study.indexed_ns, *(one.at_ns for one in found.reviews)])
    made: dict[str, Json] = {
        "resourceType": KIND,
        "id": found.fhir_id,
        "meta": {"lastUpdated": instant(changed_ns, timedelta(0))},
        "contained": [_model(read), *observations],
        "identifier": [{"system": DICOM_UID, "value": f"urn:oid:{report.sop_uid}"}],
        "status": found.state.value,
        "category": [{"coding": [{"system": SECTION, "code": "RAD"}]}],
        "code": codes.concept(
            [(DCM, "126000")], f"AI 影像报告 AI imaging report ({report.task} {report.task_version})"
        ),
        "subject": _subject(study),
        "issued": instant(changed_ns, utc_offset),
        "imagingStudy": [{"reference": f"ImagingStudy/{study.study_key}"}],
    }
    at_ns = started_ns(study, utc_offset)
    if at_ns is not None and study.study_time:
        made["effectiveDateTime"] = instant(at_ns, utc_offset)
    readers = dict.fromkeys(one.username for one in standing.values() if one.word.verdict is not Verdict.REOPENED)
    if readers:
        made["resultsInterpreter"] = [{"display": _name(found, one)} for one in readers]
    if observations:
        made["result"] = [{"reference": f"#{one['id']}"} for one in observations]
    mark = UNVERIFIED if found.state is State.PRELIMINARY else ""
    made["conclusion"] = "\n".join(one for one in (mark, *_words(found)) if one)
    made["conclusionCode"] = [codes.concept([(LOCAL, read.outcome)], " ".join(CODES[read.outcome]))]
    return made


def _words(found: Reviewed) -> tuple[str, ...]:
    """Return marks, summary and limits as the model's report has them, which are the model's until the end."""
    return tuple(f"AI: {one}" for one in found.read.comments)


def _candidates(connection: Connection, principal: Principal, asked: ReportSearch) -> list[Candidate]:
    found = list[Candidate]()
    for study in images.seen(connection, principal, asked.narrowing):
        if "SR" not in study.modalities:
            continue
        for series in studies.series_of(connection, {study.study_key}):
            if series.modality == "SR":
                inside = studies.instances_of(connection, {study.study_key}, series.series_uid)
                found += [(study, one) for one in inside if one.version == 1 and not one.is_preview]
    return [one for one in found if asked.may_be(one)]


def _reviewed(connection: Connection, study: Study, instance: Instance, read: ModelReport) -> Reviewed:
    every = finding_reviews.of_studies(connection, {study.study_key})
    mine = [one for one in every if one.report.sha256 == instance.sha256]
    known = [accounts.account_of(connection, one) for one in dict.fromkeys(each.username for each in mine)]
    names = {one.username: Text2(zh=one.name_zh, en=one.name_en) for one in known if one is not None}
    return Reviewed(study, id_of(instance), read, mine, names)


def _observation(found: Reviewed, number: int, uid: str, standing: Review | None) -> dict[str, Json]:
    told = found.read.told[uid]
    word = None if standing is None or standing.word.verdict is Verdict.REOPENED else standing.word
    said = word.said if word is not None and word.said is not None else told.said
    is_absent = word is not None and word.verdict is Verdict.REJECTED
    value = codes.concept(ABSENT, "不属实 absent") if is_absent else codes.concept(PRESENT, "有 present")
    made: dict[str, Json] = {
        "resourceType": "Observation",
        "id": f"finding-{number}",
        "identifier": [{"system": DICOM_UID, "value": f"urn:oid:{uid}"}],
        "status": "preliminary" if word is None else "final",
        "category": [{"coding": [{"system": codes.CATEGORY, "code": "imaging"}]}],
        "code": codes.concept([(LOCAL, FINDINGS[said.code])], " ".join(CODES[FINDINGS[said.code]])),
        "subject": _subject(found.study),
        "device": {"reference": "#model"},
        "bodySite": codes.concept(BRAIN, f"脑 Brain {said.region}".strip()),
        "valueCodeableConcept": value,
        "component": [] if is_absent else _components(said, told.confidence),
        "note": [_note(found, standing) if word is not None and standing is not None else {"text": UNVERIFIED}],
    }
    if word is not None and standing is not None:
        made["performer"] = [{"display": _name(found, standing.username)}]
    return {name: value for name, value in made.items() if value != []}


def _components(said: Said, confidence: float) -> list[Json]:
    size: Json = {"value": Decimal(str(said.diameter_mm)), "unit": "mm", "system": codes.UCUM, "code": "mm"}
    sure: Json = {"value": Decimal(str(round(100 * confidence, 2))), "unit": "%", "system": codes.UCUM, "code": "%"}
    x_mm, y_mm, z_mm = said.centre_mm
    return [
        {"code": codes.concept(DIAMETER, "直径 Diameter"), "valueQuantity": size},
        {"code": codes.concept(CERTAINTY, "AI 把握 Certainty of the model"), "valueQuantity": sure},
        {"code": {"text": "中心 Centre (LPS, mm)"}, "valueString": f"{x_mm:g} {y_mm:g} {z_mm:g}"},
    ]


def _note(found: Reviewed, review: Review) -> dict[str, Json]:
    reason = f" ({review.word.reason})" if review.word.reason else ""
    at = instant(review.at_ns, timedelta(0))
    return {"authorString": _name(found, review.username), "time": at, "text": f"{review.word.verdict}{reason}"}


def _model(read: ModelReport) -> dict[str, Json]:
    report = read.report
    return {
        "resourceType": "Device",
        "id": "model",
        "identifier": [{"system": "urn:yuanzhen:bundle", "value": report.bundle_sha256}],
        "deviceName": [{"name": report.task, "type": "model-name"}],
        "version": [{"value": report.task_version}],
        "note": [{"text": f"training data: {read.training_data}"}],
    }


def _subject(study: Study) -> dict[str, Json]:
    return {"reference": f"Patient/{study.person_id}"} if study.person_id else {"display": "未归档 unassigned"}


def _name(found: Reviewed, username: str) -> str:
    name = found.names.get(username)
    return username if name is None else " ".join(dict.fromkeys((name.zh, name.en)))


def _fits(held: list[tuple[list[list[Token]], list[codes.Coding]]]) -> bool:
    return all(any(token.fits(one) for token in some for one in found) for asked, found in held for some in asked)

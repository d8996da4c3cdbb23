"""Writes the report that a physician has verified: the model's, without what was rejected, with what was changed.

In the process in which files from outside are read, because it begins with one.  The model's own report stays as it is
and is named as the predecessor (PS3.3 C.17.2).
"""

import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from highdicom import sr
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from telemed import ai_report
from telemed.ai_codes import CODES, FINDINGS, SCHEME
from telemed.ai_report import NotOurs
from telemed.bundle import RESEARCH_MARK

from cloud_hub.imaging.files import Unreadable
from cloud_hub.imaging.reports import NO_REPORT

SERIES_NUMBER = 9005
MANUFACTURER, MODEL_NAME = "Yuanzhen", "Hub"
REJECTED, EDITED = "rejected", "edited"
AGREED = "医师核实：未见，与模型一致 · Judged by a physician: none, as the model says"
_GROUPS, _GROUP, _TRACKING, _TRACKING_UID, _PROCEDURE = "126010", "125007", "112039", "112040", "121058"
_COMMENT, _CERTAINTY = "121106", "111012"
_COPIED = ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber")
_COPIED_TOO = ("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName", "SpecificCharacterSet")


@dataclass(frozen=True, slots=True)
class Observer:
    """Who answers for what the report says."""

    name: str
    """As a DICOM name."""
    organization: str
    at: str
    """ISO 8601 with its offset, of their last word."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What is to be written."""

    sop_uid: str
    series_uid: str
    number: int
    observers: list[Observer]
    """At least one; the last to speak first."""
    words: dict[str, dict[str, Any]]
    """Verdict, reason and what it is instead, of each finding by its tracking UID."""
    predecessors: list[tuple[str, str, str]]
    """SOP class, instance and series of reports that were verified before."""


def verified(path: Path, asked: dict[str, Any]) -> bytes:
    """Return the file of the verified report of a model's report.

    Raises:
        Unreadable: the file is no report of a model.
    """
    what = Verified(**asked | {"observers": [Observer(**one) for one in asked["observers"]]})
    report = dcmread(path)
    try:
        ai_report.read_back(report)
    except NotOurs as error:
        raise Unreadable(NO_REPORT) from error
    whole = io.BytesIO()
    _document(report, what).save_as(whole, enforce_file_format=True)
    return whole.getvalue()


def _document(report: Dataset, what: Verified) -> Dataset:
    first = what.observers[0]
    made = sr.Comprehensive3DSR(
        evidence=list(_evidence(report)),
        content=_content(report, what),
        series_instance_uid=what.series_uid,
        series_number=SERIES_NUMBER,
        sop_instance_uid=what.sop_uid,
        instance_number=what.number,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=True,
        is_verified=True,
        verifying_observer_name=first.name,
        verifying_organization=first.organization,
        previous_versions=[report, *(_predecessor(report, *one) for one in what.predecessors)],
    )
    made.VerifyingObserverSequence = [_observer(one) for one in what.observers]
    return _finished(made, report, datetime.fromisoformat(first.at))


def _finished(made: Dataset, report: Dataset, at: datetime) -> Dataset:
    """Return a document with the one time of when it was verified, so that made again it is the same."""
    for kind in ("Content", "Series", "InstanceCreation"):
        setattr(made, f"{kind}Date", at.strftime("%Y%m%d"))
        setattr(made, f"{kind}Time", at.strftime("%H%M%S"))
    made.ContributingEquipmentSequence[-1].ContributionDateTime = at.strftime("%Y%m%d%H%M%S")
    made.SpecificCharacterSet = "ISO_IR 192"
    made.TimezoneOffsetFromUTC = at.strftime("%z") or "+0000"
    made.SeriesDescription = f"{report.get('SoftwareVersions', 'AI')} VERIFIED"[:64]
    made.ManufacturerModelName = MODEL_NAME
    made.DeviceSerialNumber = "hub"
    made.SoftwareVersions = report.get("SoftwareVersions", "")
    return made


def _observer(one: Observer) -> Dataset:
    made, at = Dataset(), datetime.fromisoformat(one.at)
    made.VerifyingOrganization = one.organization
    made.VerificationDateTime = at.strftime("%Y%m%d%H%M%S%z")
    made.VerifyingObserverName = one.name
    made.VerifyingObserverIdentificationCodeSequence = Sequence()
    return made


def _predecessor(report: Dataset, sop_class: str, sop_uid: str, series_uid: str) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = sop_class, sop_uid, series_uid
    made.StudyInstanceUID = report.StudyInstanceUID
    return made


def _evidence(report: Dataset) -> Iterator[Dataset]:
    """Yield the images that the report speaks of, as far as it names them, with whose they are."""
    for study in report.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            for image in series.ReferencedSOPSequence:
                made = Dataset()
                for keyword in (*_COPIED, *_COPIED_TOO):
                    setattr(made, keyword, report.get(keyword, ""))
                made.SeriesInstanceUID = series.SeriesInstanceUID
                made.SOPClassUID, made.SOPInstanceUID = image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID
                yield made


def _content(report: Dataset, what: Verified) -> Dataset:
    root = Dataset()
    for keyword in ("ValueType", "ConceptNameCodeSequence", "ContinuityOfContent", "ContentTemplateSequence"):
        setattr(root, keyword, copy.deepcopy(report[keyword].value))
    items = [copy.deepcopy(one) for one in report.ContentSequence]
    at = next(index for index, one in enumerate(items) if _concept(one) == _PROCEDURE)
    items[at:at] = [item for one in what.observers for item in _person(one)]
    # What is said of the whole study, in which nothing was found, stands under the report's own UID.
    words = {uid: word for uid, word in what.words.items() if uid != report.SOPInstanceUID}
    for one in items:
        if _concept(one) == _GROUPS:
            one.ContentSequence = Sequence(_groups(one.ContentSequence, words))
    root.ContentSequence = Sequence(items)
    return root


def _person(one: Observer) -> list[Dataset]:
    context = sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(
            name=one.name, organization_name=one.organization
        ),
    )
    return list(context)


def _groups(groups: Sequence, words: dict[str, dict[str, Any]]) -> list[Dataset]:
    found = []
    for group in groups:
        uid = next(str(one.UID) for one in group.ContentSequence if _concept(one) == _TRACKING_UID)
        if _concept(group) != _GROUP or uid not in words:
            found.append(_summarised(group, words))
        elif words[uid]["verdict"] != REJECTED:
            found.append(_changed(group, words[uid]["said"]) if words[uid]["verdict"] == EDITED else group)
    return found


def _summarised(group: Dataset, words: dict[str, dict[str, Any]]) -> Dataset:
    """Return the group about the whole study with what people found instead of what the model summed up."""
    verdicts = [one["verdict"] for one in words.values()]
    rejected, limits = verdicts.count(REJECTED), _limits(group)
    items = [one for one in group.ContentSequence if _concept(one) != _COMMENT or _stays(one, limits)]
    for one in items:
        if _concept(one) == "OUTCOME" and rejected == len(verdicts):
            one.ConceptCodeSequence[0].CodeValue = "NONE-FOUND"
            one.ConceptCodeSequence[0].CodeMeaning = CODES["NONE-FOUND"][1]
    items.append(
        sr.TextContentItem(codes.DCM.Comment, _judged(words) if words else AGREED, sr.RelationshipTypeValues.CONTAINS)
    )
    group.ContentSequence = Sequence(items)
    return group


def _judged(words: dict[str, dict[str, Any]]) -> str:
    verdicts = [one["verdict"] for one in words.values()]
    rejected, changed = verdicts.count(REJECTED), verdicts.count(EDITED)
    accepted = len(verdicts) - rejected - changed
    reasons = ", ".join(one["reason"] for one in words.values() if one["verdict"] == REJECTED)
    text = f"医师核实：属实 {accepted}，改 {changed}，不属实 {rejected} · "
    text += f"Judged by a physician: {accepted} accepted, {changed} changed, {rejected} rejected"
    return text + (f" ({reasons})" if reasons else "")


def _stays(comment: Dataset, limits: str) -> bool:
    """True for what holds of a verified report too: neither the mark nor a summary that was made of other findings."""
    return str(comment.TextValue) in (limits, " · ".join(RESEARCH_MARK))


def _limits(group: Dataset) -> str:
    values = [str(one.TextValue) for one in group.ContentSequence if "TextValue" in one]
    named = (one.removeprefix(f"{ai_report.LIMITS}=") for one in values if one.startswith(f"{ai_report.LIMITS}="))
    return next(named, "")


def _changed(group: Dataset, said: dict[str, Any]) -> Dataset:
    """Return a finding as a person corrected it; how sure the model was speaks of its own words and goes."""
    code, region = FINDINGS[said["code"]], said["region"].upper()
    dropped = {_CERTAINTY} | ({"REGION"} if not region else set())
    items = [one for one in group.ContentSequence if _concept(one) not in dropped]
    for one in items:
        match _concept(one):
            case "121071":
                _recode(one, code)
            case "121231":
                one.GraphicData = _ends(said)
            case "81827009":
                one.MeasuredValueSequence[0].NumericValue = f"{said['diameter_mm']:g}"
            case "REGION":
                _recode(one, region)
    if region and not any(_concept(one) == "REGION" for one in items):
        items.append(_region(region))
    group.ContentSequence = Sequence(items)
    return group


def _ends(said: dict[str, Any]) -> list[float]:
    """Return the ends of the three axes of a ball (PS3.3 C.18.9.1.2)."""
    centre_mm, radius_mm = said["centre_mm"], said["diameter_mm"] / 2
    return [
        float(centre_mm[at] + (sign * radius_mm if at == axis else 0.0))
        for axis in range(3)
        for sign in (-1, 1)
        for at in range(3)
    ]


def _region(code: str) -> Dataset:
    name, value = (sr.CodedConcept(each, SCHEME, CODES[each][1]) for each in ("REGION", code))
    return sr.CodeContentItem(name, value, sr.RelationshipTypeValues.CONTAINS)


def _recode(item: Dataset, code: str) -> None:
    item.ConceptCodeSequence[0].CodeValue, item.ConceptCodeSequence[0].CodeMeaning = code, CODES[code][1]


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""

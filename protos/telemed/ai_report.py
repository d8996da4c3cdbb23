"""What a structured report of a model (TID 1500) says, read back; edge and hub must agree on it.

Written by `edge_node.findings.report`.  Takes a pydicom data set and imports no library of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from telemed.ai_codes import FINDINGS
from telemed.ai_result import AiResult, ModelIdentity, Sphere

SUMMARY = "summary"
"""Tracking identifier of the group that speaks of the whole study."""
WEIGHTS, TRAINED_ON, BUNDLE, ENGINE, THRESHOLD, LIMITS = (
    "weights_sha256", "training_data", "bundle_sha256", "engine", "threshold", "limits",
)  # fmt: skip
"""Algorithm parameters, each as name=value."""
_GROUP, _TRACKING, _TRACKING_UID, _FINDING = "125007", "112039", "112040", "121071"
_NAME, _VERSION, _PARAMETER = "111001", "111003", "111002"
_SURFACE, _DIAMETER, _CERTAINTY, _SOURCE_IMAGE = "121231", "81827009", "111012", "121233"
Item = Any
"""A content item of a report, as pydicom has it."""


class NotOurs(ValueError):
    """A report that is none of ours, or does not say what it must."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says."""

    outcome: str
    """FOUND, NONE-FOUND or NOT-READ."""
    reason: str
    """Why the study was not read; empty where it was."""
    results: tuple[AiResult, ...]
    model: ModelIdentity
    bundle_id: str
    comments: tuple[str, ...]
    tracking_uids: tuple[str, ...]
    """Of each result: its name, the same in its segment and in what a person makes of it."""


def read_back(report: Item) -> Report:
    """Return what a report says.

    Raises:
        NotOurs: it is none of ours, or one that a person verified, which is no model's word any more.
    """
    try:
        if report.VerificationFlag != "UNVERIFIED":
            raise NotOurs("verified")
        groups = [each for each in _below(report) if _concept(each) == _GROUP]
        summary = next(each for each in groups if _text(each, _TRACKING) == SUMMARY)
        said = dict(each.partition("=")[::2] for each in _texts(summary, _PARAMETER))
        model = ModelIdentity(_text(summary, _NAME), _text(summary, _VERSION), said[WEIGHTS], said[TRAINED_ON])
        series = _series_by_image(report)
        others = [each for each in groups if each is not summary]
        results = tuple(_result(each, model, series, said[LIMITS]) for each in others)
        return Report(
            _code(summary, "OUTCOME"), _code(summary, "REASON"), results, model, said[BUNDLE],
            tuple(_texts(summary, "121106")), tuple(str(_one(each, _TRACKING_UID).UID) for each in others),
        )  # fmt: skip
    except (AttributeError, KeyError, IndexError, StopIteration, TypeError, ValueError) as error:
        raise NotOurs(type(error).__name__) from error


def _result(group: Item, model: ModelIdentity, series: dict[str, str], limits: str) -> AiResult:
    surface = _one(group, _SURFACE)
    image = _image(_one(group, _SOURCE_IMAGE))
    points = [float(number) for number in surface.GraphicData]
    x_mm, y_mm, z_mm = (sum(points[axis:6:3]) / 2 for axis in range(3))
    finding = _one(group, _FINDING).ConceptCodeSequence[0].CodeValue
    return AiResult(
        code=next(code for code, ours in FINDINGS.items() if ours == finding),
        place=Sphere((x_mm, y_mm, z_mm), _number(group, _DIAMETER)),
        confidence=round(_number(group, _CERTAINTY) / 100, 4),
        model=model,
        series_uid=series[image],
        key_image_uid=image,
        limits=limits,
        region=_code(group, "REGION").lower() or None,
    )


def _below(item: Item) -> Iterator[Item]:
    for each in item.get("ContentSequence") or ():
        yield each
        yield from _below(each)


def _concept(item: Item) -> str:
    names = item.get("ConceptNameCodeSequence")
    return _value(names[0]) if names else ""


def _value(code: Item) -> str:
    """Return a code; one of more than 16 characters stands in an element of its own (PS3.3 8.1)."""
    return str(code.CodeValue if "CodeValue" in code else code.LongCodeValue)


def _all(item: Item, concept: str) -> list[Item]:
    return [each for each in _below(item) if _concept(each) == concept]


def _one(item: Item, concept: str) -> Item:
    return _all(item, concept)[0]


def _texts(item: Item, concept: str) -> list[str]:
    return [str(each.TextValue) for each in _all(item, concept) if "TextValue" in each]


def _text(item: Item, concept: str) -> str:
    return _texts(item, concept)[0]


def _code(item: Item, concept: str) -> str:
    """Return the code of an answer; empty where it is not given."""
    found = _all(item, concept)
    return _value(found[0].ConceptCodeSequence[0]) if found else ""


def _number(item: Item, concept: str) -> float:
    return float(_one(item, concept).MeasuredValueSequence[0].NumericValue)


def _image(item: Item) -> str:
    return str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def _series_by_image(report: Item) -> dict[str, str]:
    return {
        str(image.ReferencedSOPInstanceUID): str(series.SeriesInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }

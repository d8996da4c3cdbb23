"""What physicians said of findings, made fit for training: without who, where and when, of those who agreed.  Pure.

References to images are the UIDs that the same project's de-identified images have (`cloud_hub.imaging.deidentify`).
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cloud_hub.care import finding_review
from cloud_hub.care.finding_review import Review, Said, Verdict
from cloud_hub.care.pseudonym import Project


@dataclass(frozen=True, slots=True)
class Judged:
    """A study of a person with all that was said of the findings of its reports."""

    person_id: str
    study_uid: str
    reviews: tuple[Review, ...]


def of_those_who_agreed(judged: Iterable[Judged], agreeing: Collection[str]) -> Iterator[Judged]:
    """Yield the studies of persons who agreed to research; a study of nobody is nobody's to agree to."""
    for one in judged:
        if one.person_id and one.person_id in agreeing:
            yield one


def labels(project: Project, judged: Judged) -> Iterator[dict[str, Any]]:
    """Yield a label for each finding of a study on which a verdict stands, in the order of the project's names."""
    found = []
    for sha256 in {one.report.sha256 for one in judged.reviews}:
        mine = [one for one in judged.reviews if one.report.sha256 == sha256]
        for uid, standing in finding_review.newest(mine).items():
            if standing.word.verdict is not Verdict.REOPENED:
                earlier = sorted((one for one in mine if one.finding_uid == uid), key=lambda one: one.version)[:-1]
                found.append(_label(project, judged, standing, earlier))
    # In another order than they were said: that order is a trace of the day.
    yield from sorted(found, key=lambda one: str(one["finding_uid"]))


def _label(project: Project, judged: Judged, standing: Review, earlier: list[Review]) -> dict[str, Any]:
    report, told, word = standing.report, standing.told, standing.word
    return {
        "person": project.code("person", judged.person_id),
        "study_uid": project.uid(judged.study_uid),
        "series_uid": project.uid(told.series_uid),
        "key_image_uid": project.uid(told.key_image_uid) if told.key_image_uid else "",
        "report_uid": project.uid(report.sop_uid),
        "finding_uid": project.uid(standing.finding_uid),
        "task": report.task,
        "task_version": report.task_version,
        "bundle_sha256": report.bundle_sha256,
        "told": _said(told.said) | {"confidence": told.confidence},
        "verdict": word.verdict.value,
        "reason": word.reason,
        "said": None if word.said is None else _said(word.said),
        "rater": project.code("rater", standing.username),
        "earlier": [
            {"verdict": one.word.verdict.value, "rater": project.code("rater", one.username)} for one in earlier
        ],
    }


def _said(said: Said) -> dict[str, Any]:
    return asdict(said) | {"centre_mm": list(said.centre_mm)}

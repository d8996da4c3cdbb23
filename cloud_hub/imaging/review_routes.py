"""`/api/v1/studies/{study_key}/reviews`: what models said of a study with what physicians say of it, for pages.

Addressed by the key of the filed study: whose finding it is must not be open to doubt.
"""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from sqlalchemy import Connection
from telemed import answers, screen
from telemed.screen import Text2

from cloud_hub.access.rights import Principal, Right
from cloud_hub.care.finding_review import ModelReport, Review, Said, Verdict, Word
from cloud_hub.desk import finding_reviews as desk
from cloud_hub.desk.finding_reviews import Asked
from cloud_hub.errors import BadRequest, StepRefused
from cloud_hub.imaging import model_reports
from cloud_hub.imaging.face import NO_STORE, READ, RIGHT, Face, Guard, demand
from cloud_hub.store import accounts, finding_reviews

PREFIX = "/api/v1/studies"
NOT_FIRST = Text2(
    zh="其他医师已先作出判断，请查看后再决定。",
    en="Another physician said something of this finding first. Please look at it before you decide.",
)
_REFERENCE = "#/components/schemas/{model}"
StudyKey = Annotated[str, Path(min_length=64, max_length=64, pattern=r"^[0-9a-f]+$")]
Uid = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9.]+$")]


def router(face: Face, guard: Guard) -> APIRouter:
    """Return the routes, to be mounted at the root of the application."""
    routes = APIRouter(prefix=PREFIX, tags=["studies"], responses=answers.refusals())
    reader = Annotated[Principal, Depends(guard(RIGHT))]
    doctor = Annotated[Principal, Depends(guard(Right.CHANGE_PLAN))]

    @routes.get("/{study_key}/reviews")
    async def reviews(study_key: StudyKey, response: Response, principal: reader) -> screen.ReviewedReports:
        """Return what models said of a study, and what physicians say of each finding."""
        response.headers.update(NO_STORE)
        demand(principal, "r")
        study, found = await model_reports.of_study(face, principal, study_key)
        told = await face.care.read(lambda c: _reports(c, study_key, found))
        await face.shown(principal, READ, [study])
        return screen.ReviewedReports(reports=told)

    @routes.post(
        "/{study_key}/findings/{finding_uid}/reviews",
        status_code=201,
        response_model=screen.FindingReviews,
        responses=_conflict_documented(),
    )
    async def review(
        study_key: StudyKey, finding_uid: Uid, body: screen.FindingReviewBody, response: Response, principal: doctor
    ) -> screen.FindingReviews | Response:
        """Say of a finding that it is one, another or none, or of a report that there is none; or take that back."""
        response.headers.update(NO_STORE)
        asked = _asked(await _report(face, principal.for_changes(), study_key, body.sha256), finding_uid, body)
        now_ns = time.time_ns()
        outcome = await face.care.write(lambda c: desk.review(c, principal, asked, now_ns))
        told = await face.care.read(lambda c: [_review(c, one) for one in outcome.reviews])
        if outcome.is_taken:
            face.files.reviewed()
            return screen.FindingReviews(reviews=told)
        return _conflict(told)

    return routes


async def _report(face: Face, principal: Principal, study_key: str, sha256: str) -> ModelReport:
    """Return the report that is spoken of.

    Raises:
        NotFound: the study is not open to this principal.
        StepRefused: no report of it has these bytes.
    """
    _, found = await model_reports.of_study(face, principal, study_key)
    for one in found:
        if one.report.sha256 == sha256:
            return one
    raise StepRefused("no report of this study has these bytes", [])


def _asked(read: ModelReport, finding_uid: str, body: screen.FindingReviewBody) -> Asked:
    told = read.of(finding_uid)
    if told is None:
        raise BadRequest("the report has no such finding", ["finding_uid"])
    new = body.said
    said = None if new is None else Said(new.code, new.region, new.centre_mm, new.diameter_mm)
    word = Word(Verdict(body.verdict), body.reason, said)
    return Asked(body.review_id, read.report, finding_uid, told, word, body.version)


def _reports(connection: Connection, study_key: str, found: list[ModelReport]) -> list[screen.ReviewedReport]:
    every = finding_reviews.of_studies(connection, {study_key})
    return [
        _told(connection, one, [each for each in every if each.report.sha256 == one.report.sha256]) for one in found
    ]


def _told(connection: Connection, read: ModelReport, said: list[Review]) -> screen.ReviewedReport:
    report = read.report
    return screen.ReviewedReport(
        sop_uid=report.sop_uid,
        sha256=report.sha256,
        outcome=read.outcome,
        reason=read.reason,
        task=report.task,
        version=report.task_version,
        bundle_sha256=report.bundle_sha256,
        training_data=read.training_data,
        comments=list(read.comments),
        state=model_reports.state(read, said).value,
        findings=[_finding(connection, read, uid, said) for uid in read.told],
        reviews=[_review(connection, one) for one in said if one.finding_uid == report.sop_uid],
    )


def _finding(connection: Connection, read: ModelReport, uid: str, said: list[Review]) -> screen.ReviewedFinding:
    told = read.told[uid]
    zh, en = model_reports.name(told.said.code)
    return screen.ReviewedFinding(
        finding_uid=uid,
        name=Text2(zh=zh, en=en),
        told=_said(told.said),
        confidence=told.confidence,
        series_uid=told.series_uid,
        key_image_uid=told.key_image_uid,
        reviews=[_review(connection, one) for one in said if one.finding_uid == uid],
    )


def _review(connection: Connection, review: Review) -> screen.FindingReview:
    account = accounts.account_of(connection, review.username)
    names = (review.username, review.username) if account is None else (account.name_zh, account.name_en)
    word = review.word
    return screen.FindingReview(
        version=review.version,
        verdict=word.verdict.value,
        reason=word.reason,
        said=word.said and _said(word.said),
        by=Text2(zh=names[0], en=names[1]),
        at_ms=review.at_ns // 10**6,
    )


def _said(said: Said) -> screen.FindingSaid:
    return screen.FindingSaid.model_validate(
        {"code": said.code, "region": said.region, "centre_mm": said.centre_mm, "diameter_mm": said.diameter_mm}
    )


def _conflict_documented() -> dict[int | str, dict[str, Any]]:
    schema = screen.FindingConflict.model_json_schema(ref_template=_REFERENCE)
    # What it refers to is in the document already, by the answer that is none.
    del schema["$defs"]
    content = {"application/problem+json": {"schema": schema}}
    return {409: {"description": "Something else was said of it first, and stands", "content": content}}


def _conflict(reviews: list[screen.FindingReview]) -> Response:
    detail, code = NOT_FIRST.en, StepRefused.code
    told = screen.FindingConflict(
        title="Conflict", status=409, detail=detail, code=code, text=NOT_FIRST, reviews=reviews
    )
    return Response(told.model_dump_json(), 409, media_type="application/problem+json", headers=NO_STORE)

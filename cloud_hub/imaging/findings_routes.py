"""`GET /api/v1/studies/{study}/findings`: what models said of a study, each report with its limits, for pages."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel
from telemed import answers
from telemed.ai_codes import CODES, FINDINGS

from cloud_hub.access.rights import Principal
from cloud_hub.errors import ImageUnreadable
from cloud_hub.imaging.face import NO_STORE, RIGHT, Face, Guard
from cloud_hub.imaging.looking import Uids
from cloud_hub.imaging.matching import STUDY_KEY
from cloud_hub.store.studies import Instance

PREFIX = "/api/v1/studies"
SOP_CLASS = "00080016"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
Uid = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9.]+$")]
Filed = Annotated[str, Query(pattern=f"^({STUDY_KEY})?$")]


class FindingView(BaseModel):
    """One finding that a model pointed to."""

    code: str
    name_zh: str
    name_en: str
    centre_mm: tuple[float, float, float]
    """LPS, in the frame of reference of the series."""
    diameter_mm: float
    confidence: float
    """0 to 1, calibrated."""
    region: str
    """Empty where the model says none."""
    series_uid: str
    key_image_uid: str
    """Empty where no image shows it."""
    status: str


class ReportView(BaseModel):
    """One report of one model; never verified by anybody."""

    sop_instance_uid: str
    series_instance_uid: str
    outcome: str
    """FOUND, NONE-FOUND or NOT-READ."""
    reason: str
    """Code why the study was not read."""
    task: str
    version: str
    bundle_sha256: str
    training_data: str
    comments: list[str]
    """Marks, summary and limits, in both languages; to be shown with every finding."""
    findings: list[FindingView]


class FindingsView(BaseModel):
    """Answer: the reports of a study, the newest model's not before the others'."""

    study_uid: str
    reports: list[ReportView]


def router(face: Face, guard: Guard) -> APIRouter:
    """Return the route, to be mounted at the root of the application."""
    routes = APIRouter(prefix=PREFIX, tags=["studies"], responses=answers.refusals())
    who = Annotated[Principal, Depends(guard(RIGHT))]

    @routes.get("/{study}/findings")
    async def findings(study: Uid, response: Response, principal: who, filed: Filed = "") -> FindingsView:
        """Return what models said of a study; nothing where no model has read it.

        `filed` names the one filed study that is meant, where several have the identifier.
        """
        response.headers.update(NO_STORE)
        found = await face.find(principal, Uids(study, filed=filed))
        reports = [await _report(face, one) for one in found.instances if _is_report(one)]
        return FindingsView(study_uid=study, reports=[each for each in reports if each is not None])

    return routes


def _is_report(instance: Instance) -> bool:
    values: list[object] = instance.attributes.get(SOP_CLASS, {}).get("Value") or []
    return values == [COMPREHENSIVE_3D_SR]


async def _report(face: Face, instance: Instance) -> ReportView | None:
    """Return what a report says; None for one that no model of ours wrote.

    Raises:
        StoreFailure: it is gone from the disk, so that nobody can say that there is none.
    """
    await face.check([instance])
    try:
        told = (await face.files.readers.ask("report", face.files.path(instance))).told
    except ImageUnreadable:
        return None
    return ReportView(
        sop_instance_uid=instance.sop_uid,
        series_instance_uid=instance.series_uid,
        outcome=told["outcome"],
        reason=told["reason"],
        task=told["model"]["task"],
        version=told["model"]["version"],
        bundle_sha256=told["bundle_id"],
        training_data=told["model"]["training_data"],
        comments=told["comments"],
        findings=[_finding(each) for each in told["results"]],
    )


def _finding(told: dict[str, Any]) -> FindingView:
    zh, en = CODES[FINDINGS[told["code"]]]
    return FindingView(
        code=told["code"],
        name_zh=zh,
        name_en=en,
        centre_mm=told["place"]["centre_mm"],
        diameter_mm=told["place"]["diameter_mm"],
        confidence=told["confidence"],
        region=told["region"] or "",
        series_uid=told["series_uid"],
        key_image_uid=told["key_image_uid"] or "",
        status=told["status"],
    )

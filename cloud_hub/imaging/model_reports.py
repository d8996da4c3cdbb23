"""The reports of models among a study's files, read in the process in which files from outside are read."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from telemed.ai_codes import CODES, FINDINGS

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.care import finding_review
from cloud_hub.care.finding_review import ModelReport, Report, Review, Said, State, Told
from cloud_hub.errors import ImageUnreadable, NotFound, StoreFailure
from cloud_hub.imaging.face import Face, Images
from cloud_hub.store import studies
from cloud_hub.store.studies import Instance, Narrowing, Study

SOP_CLASS = "00080016"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"


async def of_study(face: Face, principal: Principal, study_key: str) -> tuple[Study, list[ModelReport]]:
    """Return a study and what models said of it; the caller writes down that it was shown.

    Raises:
        NotFound: no such study is open to this principal.
        StoreFailure: a file is gone from the disk.
    """
    study, found = await face.care.read(lambda c: _find(c, principal, study_key))
    read = [await read_one(face.files, one) for one in found]
    return study, [one for one in read if one is not None]


def state(read: ModelReport, said: Sequence[Review]) -> State:
    """Return how far people have come with a report."""
    return finding_review.state(read.outcome, said)


def name(code: str) -> tuple[str, str]:
    """Return what a finding is called, Chinese and English."""
    return CODES[FINDINGS[code]]


def _find(connection: Connection, principal: Principal, study_key: str) -> tuple[Study, list[Instance]]:
    # Of one that is on its way nothing has been said yet, which is no failure.
    asked = Narrowing(study_keys=frozenset({study_key}), with_announced=True)
    study = next(images.seen(connection, principal, asked), None)
    if study is None:
        raise NotFound("no such study within scope")
    every = studies.instances_of(connection, {study_key})
    return study, [one for one in every if one.version == 1 and not one.is_preview and is_report(one)]


def is_report(instance: Instance) -> bool:
    """Return whether an object is a report as models and physicians here make them."""
    values: list[object] = instance.attributes.get(SOP_CLASS, {}).get("Value") or []
    return values == [COMPREHENSIVE_3D_SR]


async def read_one(files: Images, instance: Instance) -> ModelReport | None:
    """Return what a report says; None for what no model of ours wrote, or a person verified.

    Raises:
        StoreFailure: the file is gone from the disk.
    """
    if not is_report(instance):
        return None
    try:
        said = (await files.readers.ask("report", files.path(instance))).told
    except ImageUnreadable:
        return None
    except FileNotFoundError as error:
        raise StoreFailure("a file of this study is gone from the hub's disk") from error
    told = {uid: _told(one) for uid, one in zip(said["tracking_uids"], said["results"], strict=True)}
    model = said["model"]
    report = Report(
        instance.study_key, instance.sop_uid, instance.sha256, model["task"][:40], model["version"][:40],
        said["bundle_id"][:64], len(told),
    )  # fmt: skip
    return ModelReport(report, said["outcome"], said["reason"], model["training_data"], tuple(said["comments"]), told)


def _told(said: dict[str, Any]) -> Told:
    x_mm, y_mm, z_mm = said["place"]["centre_mm"]
    place = Said(said["code"], said["region"] or "", (x_mm, y_mm, z_mm), said["place"]["diameter_mm"])
    return Told(place, said["confidence"], said["series_uid"], said["key_image_uid"] or "")

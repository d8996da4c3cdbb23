"""Findings as a structured report: Comprehensive 3D SR by template TID 1500, unverified; in the writer alone."""

from collections.abc import Sequence

import numpy as np
from highdicom import sr
from highdicom.sr.coding import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from telemed import ai_report
from telemed.ai_codes import CODES, FINDINGS, SCHEME

from edge_node.findings import equipment
from edge_node.findings.documents import Write
from edge_node.findings.pipe import Found
from edge_node.findings.uids import uid

_CERTAINTY = CodedConcept("111012", "DCM", "Certainty of Finding")
_DIAMETER = CodedConcept("81827009", "SCT", "Diameter")
_BRAIN = CodedConcept("12738006", "SCT", "Brain")
_LANGUAGE = CodedConcept("en-US", "RFC5646", "English (United States)")
Group = sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations


def made(write: Write, magnitude: Sequence[Dataset], phase: Sequence[Dataset]) -> Dataset:
    """Return the report; of a study that was not read it says why."""
    evidence = [*magnitude, *phase]
    groups: list[Group] = [_summary(write), *(_finding(write, each, magnitude) for each in write.findings)]
    # The library describes what findings point at; every image that was read stands in the evidence.  With all of them
    # described a report is seven times as long, and on a thin link findings would wait for that.
    pointed_at = {each.key_image_uid for each in write.findings}
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(write)),
        procedure_reported=CodedConcept("816077007", "SCT", "Magnetic resonance imaging of head"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(_LANGUAGE),
        referenced_images=[each for each in evidence if each.SOPInstanceUID in pointed_at] or None,
    )
    document = sr.Comprehensive3DSR(
        evidence=evidence, content=content, is_complete=True, is_final=False, is_verified=False,
        **equipment.names(write, "report"),
    )  # fmt: skip
    return equipment.finished(document, write, evidence[0])


def tracking_uid(write: Write, number: int) -> str:
    """Return the tracking UID of a finding: that of its segment too."""
    return uid(*write.names, "finding", str(number))


def _observer(write: Write) -> sr.ObserverContext:
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=equipment.node_uid(write), name=write.node, manufacturer_name=equipment.MANUFACTURER,
            model_name=equipment.MODEL_NAME, serial_number=write.node,
        ),
    )  # fmt: skip


def _summary(write: Write) -> sr.MeasurementsAndQualitativeEvaluations:
    """Return the group that speaks of the whole study: what came of it, by which model, within which limits."""
    outcome = "NOT-READ" if write.reason else "FOUND" if write.findings else "NONE-FOUND"
    answers = [sr.QualitativeEvaluation(_own("OUTCOME"), _own(outcome))]
    if write.reason:
        why = CodedConcept(write.reason, SCHEME, write.summary[1][:64])
        answers.append(sr.QualitativeEvaluation(_own("REASON"), why))
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid(*write.names, ai_report.SUMMARY), ai_report.SUMMARY),
        finding_type=_own("CMB"),
        algorithm_id=_algorithm(write, is_whole=True),
        qualitative_evaluations=answers,
    )
    for zh, en in [*write.model.marks, write.summary, write.model.limits]:
        if zh or en:
            comment = sr.TextContentItem(
                codes.DCM.Comment, f"{zh} · {en}", relationship_type=sr.RelationshipTypeValues.CONTAINS
            )
            group[0].ContentSequence.append(comment)
    return group


def _finding(
    write: Write, found: Found, images: Sequence[Dataset]
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    number = write.findings.index(found) + 1
    image = next((each for each in images if each.SOPInstanceUID == found.key_image_uid), images[len(images) // 2])
    surface = sr.VolumeSurface(
        sr.GraphicTypeValues3D.ELLIPSOID,
        _ellipsoid(found),
        frame_of_reference_uid=image.FrameOfReferenceUID,
        source_images=[sr.SourceImageForSegmentation(image.SOPClassUID, image.SOPInstanceUID)],
    )
    regions = [sr.QualitativeEvaluation(_own("REGION"), _own(found.region.upper()))] if found.region else []
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(tracking_uid(write, number), f"{write.model.task}-{number}"),
        referenced_volume_surface=surface,
        finding_type=_own(FINDINGS[found.code]),
        algorithm_id=_algorithm(write, is_whole=False),
        finding_sites=[sr.FindingSite(_BRAIN)],
        measurements=[
            sr.Measurement(_DIAMETER, found.diameter_mm, codes.UCUM.Millimeter),
            sr.Measurement(_CERTAINTY, round(100 * found.confidence, 2), codes.UCUM.Percent),
        ],
        qualitative_evaluations=regions,
    )


def _algorithm(write: Write, *, is_whole: bool) -> sr.AlgorithmIdentification:
    model = write.model
    said = {ai_report.BUNDLE: model.bundle_id, ai_report.WEIGHTS: model.weights_sha256}
    if is_whole:
        said |= {
            ai_report.TRAINED_ON: model.training_data,
            ai_report.ENGINE: model.engine,
            ai_report.THRESHOLD: f"{model.threshold:g}",
            ai_report.LIMITS: f"{model.limits[0]} · {model.limits[1]}",
        }
    return sr.AlgorithmIdentification(
        model.task, model.version, [f"{name}={value}" for name, value in said.items()],
        manufacturer=equipment.MANUFACTURER,
    )  # fmt: skip


def _ellipsoid(found: Found) -> "np.typing.NDArray[np.float64]":
    """Return the ends of the three axes of a ball (PS3.3 C.18.9.1.2)."""
    ends = np.repeat(np.eye(3), 2, axis=0) * np.tile([-1.0, 1.0], 3)[:, None]
    return np.asarray(np.asarray(found.centre_mm) + ends * found.diameter_mm / 2)


def _own(code: str) -> CodedConcept:
    return CodedConcept(code, SCHEME, CODES[code][1])

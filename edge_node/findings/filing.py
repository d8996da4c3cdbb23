"""Lays what came of a study among the node's images, from where it goes to the hub as the study itself does."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from telemed import study as wire
from telemed.bundle import AI_MARK, RESEARCH_MARK, Manifest
from telemed.recipes import cmb_bundle

from edge_node.errors import BufferFailure, UplinkError
from edge_node.findings.documents import ModelSaid, Write
from edge_node.findings.due import Duty, Sources
from edge_node.findings.reader import Reading
from edge_node.findings.reasons import WORDS, NotRead, Reason
from edge_node.findings.uids import uid
from edge_node.findings.writing import written
from edge_node.imaging import rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.delivery import Offer, Offered
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored
from edge_node.imaging.study import Instance, Study, goes_ahead

UNTOLD = frozenset({Reason.NOT_FOR_PATIENTS, Reason.PATIENTS_MIXED})
"""Of these no report is made: no model was let near, or nobody can say of whom it would be."""
NS = 10**9


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one study and one model."""

    study: Study
    duty: Duty
    sources: Sources
    manifest: Manifest | None
    """Of the bundle that was on duty when it began, None where the model's files are gone; what read it has its own."""
    took_s: float
    reading: Reading | None = None
    refusal: NotRead | None = None


@dataclass(frozen=True, slots=True)
class Filing:
    """Files the outcomes of one node."""

    catalog: Catalog
    objects: Objects
    offer: Offer | None
    """None: nothing is sent."""
    node: str
    memory_mib: int
    limit_s: float
    clock_ns: Callable[[], int]
    zone: tzinfo
    """Of the site: its images tell their times in it, and do not say so."""

    async def make(self, outcome: Outcome) -> list[Stored]:
        """Return the objects of an outcome, which lie on the disk and are in no catalogue yet.

        Raises:
            NotRead: they could not be made.
        """
        if outcome.refusal is not None and outcome.refusal.reason in UNTOLD:
            return []
        at = datetime.fromtimestamp(self.clock_ns() // NS, self.zone)
        return await written(told(outcome, self.objects, self.node, self.memory_mib, at), self.limit_s)

    async def file(self, outcome: Outcome, made: Sequence[Stored]) -> None:
        """Note the objects in one transaction, and offer to the hub what goes ahead.

        What could not be offered is offered with the study's other images.

        Raises:
            CatalogueFailure: they are not noted.
        """
        await self.catalog.write(lambda c: [rows.take(c, each, self.clock_ns()) for each in made])
        with contextlib.suppress(UplinkError, BufferFailure, OSError):
            await self._offer_ahead(outcome.study.study_id, made)

    async def _offer_ahead(self, study_id: str, made: Sequence[Stored]) -> None:
        done: list[str] = []
        try:
            for each in made:
                if self.offer is not None and goes_ahead(each.content.modality, each.size_bytes):
                    path = self.objects.path(each.sha256)
                    await self.offer(Offered(path, wire.OBJECT_NAME, study_id, is_ahead=True))
                    done.append(each.sha256)
        finally:
            await self.catalog.write(lambda c: rows.note_files(c, done))


def is_filed(instances: Sequence[Instance], study_uid: str, duty: Duty, sources: Sources) -> bool:
    """Whether the report of these images by this model lies among the study's objects already."""
    report = uid(*names(study_uid, duty, sources), "report")
    return any(each.sop_instance_uid == report for each in instances)


def names(study_uid: str, duty: Duty, sources: Sources) -> tuple[str, str, str]:
    """Return of what all UIDs of an outcome are made."""
    return study_uid, duty.bundle_id, sources.digest


def told(outcome: Outcome, objects: Objects, node: str, memory_mib: int, at: datetime) -> Write:
    """Return what the writer is told of an outcome."""
    by_uid = {each.sop_instance_uid: str(objects.path(each.sha256)) for each in outcome.sources.instances}
    reading, refusal = outcome.reading, outcome.refusal
    # Of a study that was not read one image stands for all: what the report copies is the same in each.
    magnitude = reading.fits.magnitude if reading is not None else sorted(by_uid)[:1]
    return Write(
        folder=str(objects.folder),
        magnitude=[by_uid[each] for each in magnitude],
        phase=[by_uid[each] for each in reading.fits.phase] if reading is not None else [],
        names=names(outcome.study.study_uid, outcome.duty, outcome.sources),
        model=_model(outcome),
        findings=reading.told.findings if reading is not None else [],
        summary=reading.told.summary if reading is not None else WORDS[refusal.reason] if refusal else ("", ""),
        reason=refusal.reason if refusal is not None else "",
        made_at=at.isoformat(),
        node=node,
        memory_mib=memory_mib,
    )


def _model(outcome: Outcome) -> ModelSaid:
    duty, reading = outcome.duty, outcome.reading
    manifest = reading.manifest if reading is not None else outcome.manifest
    if manifest is None:
        return ModelSaid(duty.task, duty.version, duty.bundle_id, "", "", 0.0, "", ("", ""), [AI_MARK], False)
    precision = reading.provenance.precision if reading is not None else "fp32"
    graph = manifest.graphs.get(cmb_bundle.DETECTOR) or next(iter(manifest.graphs.values()))
    weights = {str(name): file for name, file in graph.files.items()}[precision]
    return ModelSaid(
        task=manifest.task,
        version=manifest.version,
        bundle_id=duty.bundle_id,
        weights_sha256=manifest.files[weights].sha256,
        training_data=manifest.trained_on,
        threshold=manifest.thresholds.get(cmb_bundle.SCORE, 0.0),
        engine=engine(reading),
        limits=(manifest.limits.zh, manifest.limits.en),
        marks=[AI_MARK, RESEARCH_MARK] if manifest.is_for_research else [AI_MARK],
        is_for_research=manifest.is_for_research,
    )


def engine(reading: Reading | None) -> str:
    """Return by what a model was run; empty where it was not."""
    if reading is None:
        return ""
    by = reading.provenance
    return f"{by.library}/{by.precision}" + (" slow path" if by.is_slow_path else "")

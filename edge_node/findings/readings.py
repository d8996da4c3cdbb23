"""Has complete studies read by the models on duty, one after the other, and tells what came of each.

Whatever happens here, the study itself is kept and sent as it came.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import structlog

from edge_node.errors import InferenceError
from edge_node.findings.due import Duty, Sources, Waits, due, sources
from edge_node.findings.filing import Filing, Outcome, engine, is_filed
from edge_node.findings.metrics import FindingsMetrics
from edge_node.findings.pipe import Ask
from edge_node.findings.reader import Reading, read
from edge_node.findings.reasons import NotRead, Reason
from edge_node.findings.rules import SeriesRules, TaskRules
from edge_node.imaging import rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored
from edge_node.imaging.study import Study
from edge_node.inference.rollout import ON_DUTY
from edge_node.inference.runtime import Inference

LOOK_EVERY_S = 1.0
PASSING = frozenset({Reason.ENGINE_FAILED, Reason.READER_FAILED, Reason.WRITER_FAILED, Reason.MODEL_ABSENT})
"""Another attempt may go better."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What the reading of one study may use."""

    memory_mib: int
    limit_s: float
    again_after_s: tuple[float, ...]
    """Waits after each attempt but the last."""


class _Overtaken(Exception):
    """During a reading another bundle came on duty, or more of the study came: nothing is told, it is read anew."""


@dataclass(frozen=True, slots=True)
class _Attempts:
    count: int = 0
    not_before_s: float = 0.0


@dataclass(slots=True)
class Readings:
    """Reads the studies of one catalogue; `run` is called once."""

    catalog: Catalog
    objects: Objects
    models: Inference
    rules: SeriesRules
    waits: Waits
    means: Means
    filing: Filing
    note: Callable[[str, str, str], Awaitable[None]]
    """Action, target, result: for the audit trail; returns once it is written there."""
    metrics: FindingsMetrics
    clock_ns: Callable[[], int] = time.time_ns
    steady_s: Callable[[], float] = time.monotonic
    _settled: set[tuple[str, int, str]] = field(default_factory=set)
    """Study, generation and bundle of what need not be looked at again."""
    _studies: list[Study] = field(default_factory=list)
    """Of which something came lately, as of `_version` of the catalogue."""
    _version: tuple[int, int] = (-1, -1)
    _attempts: dict[tuple[str, str], _Attempts] = field(default_factory=dict)

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Read what is due now.

        Raises:
            CatalogueFailure: the catalogue cannot be read.
        """
        duties = self._duties()
        if not duties:
            return
        await self._bring_up_to_date()
        for study, duty in list(due(self._studies, duties, self.clock_ns(), self.waits)):
            key = (study.study_id, study.generation, duty.bundle_id)
            if key not in self._settled and await self._attempt(study, duty):
                self._settled.add(key)

    def _duties(self) -> list[Duty]:
        return [
            Duty(row.task, row.version, row.bundle_id)
            for row in self.models.rows()
            if row.stage in ON_DUTY and self.rules.of(row.task) is not None
        ]

    async def _bring_up_to_date(self) -> None:
        """Read the catalogue again where it has changed: most looks find it as it was."""
        version = await self.catalog.read(rows.version)
        if version == self._version:
            return
        since_ns = self.clock_ns() - self.waits.within_ns
        self._studies = await self.catalog.read(lambda c: rows.recent(c, since_ns))
        self._version = version
        known = {study.study_id for study in self._studies}
        self._settled = {each for each in self._settled if each[0] in known}

    async def _attempt(self, study: Study, duty: Duty) -> bool:
        """Read a study by a model; False where that is to be tried again."""
        tried = self._attempts.get((study.study_id, duty.bundle_id), _Attempts())
        # The list is of this look's beginning, and what stands before it in there may have taken minutes.
        if self.steady_s() < tried.not_before_s or await self._now(study) != study:
            return False
        rules = self.rules.of(duty.task)
        assert rules is not None, "only such tasks are due"
        here = await self.catalog.read(lambda c: rows.instances_here(c, study.study_id))
        instances = await self.catalog.read(lambda c: rows.instances(c, study.study_id))
        found = sources(here, rules.modality)
        if not found.instances or is_filed(instances, study.study_uid, duty, found):
            return True
        try:
            outcome = await self._outcome(study, duty, rules, found)
        except _Overtaken:
            return False
        waits_s = self.means.again_after_s
        if outcome is not None and not await self._settle(outcome, is_last=tried.count >= len(waits_s)):
            again = _Attempts(tried.count + 1, self.steady_s() + waits_s[tried.count])
            self._attempts[(study.study_id, duty.bundle_id)] = again
            return False
        self._attempts.pop((study.study_id, duty.bundle_id), None)
        return True

    async def _outcome(self, study: Study, duty: Duty, rules: TaskRules, found: Sources) -> Outcome | None:
        """Return what came of a study; None where it is of another kind.

        Raises:
            _Overtaken: it is of another bundle than that of the duty, or of less than there is of the study.
        """
        if duty not in self._duties():
            raise _Overtaken
        began_s, manifest = self.steady_s(), self.models.manifest(duty.task)
        reading, refusal = None, None
        try:
            reading = await self._read(study, duty, rules, found)
        except NotRead as refused:
            refusal = refused
        except InferenceError as failed:
            refusal = NotRead(Reason.ENGINE_FAILED, str(failed)[:100])
        if reading is None and refusal is None:
            return None
        is_of_duty = duty in self._duties() if reading is None else reading.provenance.bundle_id == duty.bundle_id
        if not is_of_duty or await self._has_changed(study, rules, found):
            raise _Overtaken
        return Outcome(study, duty, found, manifest, self.steady_s() - began_s, reading, refusal)

    async def _now(self, study: Study) -> Study | None:
        return await self.catalog.read(lambda c: rows.study(c, study.study_id))

    async def _has_changed(self, study: Study, rules: TaskRules, found: Sources) -> bool:
        """Whether other images, or another patient's, came since; whose it is may have been decided meanwhile."""
        now = await self._now(study)
        instances = await self.catalog.read(lambda c: rows.instances_here(c, study.study_id))
        return now is None or now.is_mixed != study.is_mixed or sources(instances, rules.modality) != found

    async def _settle(self, outcome: Outcome, *, is_last: bool) -> bool:
        """File and tell an outcome; False where another attempt is to be made first."""
        if outcome.refusal is not None and outcome.refusal.reason in PASSING and not is_last:
            return False
        made: list[Stored] = []
        try:
            made = await self.filing.make(outcome)
        except NotRead as failed:
            if not is_last:
                return False
            outcome = replace(outcome, reading=None, refusal=failed)
        # The trail first: what is filed is never looked at again, and must not be missing there after a crash.
        await self._tell(outcome)
        await self.filing.file(outcome, made)
        return True

    async def _read(self, study: Study, duty: Duty, rules: TaskRules, found: Sources) -> Reading | None:
        if study.is_mixed:
            raise NotRead(Reason.PATIENTS_MIXED)
        files = [(str(self.objects.path(each.sha256)), each.sop_instance_uid) for each in found.instances]
        ask = Ask(rules.model_dump(mode="json"), files, self.means.memory_mib)
        reading = await read(ask, self.models, duty.task, self.means.limit_s)
        if reading is None:
            return None
        if found.differing & {*reading.fits.magnitude, *reading.fits.phase}:
            raise NotRead(Reason.IMAGES_DIFFER)
        return reading

    async def _tell(self, outcome: Outcome) -> None:
        task, target = outcome.duty.task, f"study/{outcome.study.study_id}/bundle/{outcome.duty.bundle_id}"
        self.metrics.seconds.labels(task).observe(outcome.took_s)
        if outcome.refusal is not None:
            reason = outcome.refusal.reason
            self.metrics.studies.labels(task, reason).inc()
            await self.note("study-not-read", target, f"{reason} {outcome.took_s:.1f}s")
            log.info("study-not-read", task=task, reason=reason, detail=outcome.refusal.detail)
        elif outcome.reading is not None:
            count = len(outcome.reading.told.findings)
            self.metrics.studies.labels(task, "read").inc()
            await self.note("study-read", target, f"{count} {engine(outcome.reading)} {outcome.took_s:.1f}s")
            log.info("study-read", task=task, findings=count, took_s=round(outcome.took_s, 2))

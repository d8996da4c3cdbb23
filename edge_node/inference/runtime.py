"""The models of a node: takes bundles in as they arrive, puts them on duty, rolls them back, lends them out."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import structlog
from telemed.bundle import Bundle, BundleRefused, Manifest, Refusal
from telemed.bundle_golden import Array, Arrays

from edge_node.errors import EngineFailed, ModelAbsent
from edge_node.inference import provenance, rollout, shelf
from edge_node.inference.engine import Offer
from edge_node.inference.installing import Installer, offers_here, told
from edge_node.inference.ports import Arrival, Arrivals, Outlets, Settings
from edge_node.inference.provenance import Provenance, Subject
from edge_node.inference.rollout import ON_DUTY, Event, Row, Rows, Stage
from edge_node.inference.shelf import Shelf
from edge_node.inference.slot import Slot, idle_ones_rest
from edge_node.inference.trust import Trust
from edge_node.inference.worker import Worker

LOOK_EVERY_S = 30.0
TOLD_FOR_NS = 7 * 86400 * 10**9
"""How long people are told of a bundle that was refused, unless another one of its task is taken."""
_TOLD = ON_DUTY | {Stage.REFUSED, Stage.ROLLED_BACK}

log = structlog.get_logger(__name__)


class Model:
    """A bundle on loan: all its runs are of one bundle, whatever is installed meanwhile."""

    def __init__(self, owner: "Inference", slot: Slot, worker: Worker) -> None:
        self._owner, self._slot, self._worker = owner, slot, worker

    @property
    def manifest(self) -> Manifest:
        """What is said of it: thresholds, recipes, limits."""
        return self._slot.bundle.manifest

    @property
    def provenance(self) -> Provenance:
        """What a result of it must say."""
        loaded = (self._worker.loaded.version, self._worker.loaded.device)
        return provenance.of(self._slot.bundle, self._worker.choice, loaded, self._slot.choice)

    async def run(self, graph: str, inputs: Arrays) -> dict[str, Array]:
        """Return the outputs of one run of a graph.

        Raises:
            EngineFailed: it gave nothing that can be used; get the model again, another version may be on duty.
            EngineLate: it did not answer within the graph's deadline.
            Misfit: the inputs are not those that the graph takes.
        """
        began_s = time.monotonic()
        try:
            found = await self._worker.run(graph, inputs)
        except EngineFailed as failed:
            await self._owner.fault(self._slot, failed)
            raise
        self._owner.ran(self._slot, time.monotonic() - began_s)
        return found


class Inference:
    """The models of one node; `run` is called once."""

    def __init__(self, settings: Settings, arrivals: Arrivals, outlets: Outlets) -> None:
        """Start nothing yet; blocking.

        Raises:
            OSError: the folder cannot be used.
        """
        self._settings, self._arrivals, self._outlets = settings, arrivals, outlets
        self._shelf = Shelf(settings.folder)
        trust = Trust(settings.folder / shelf.TRUST, settings.root)
        self._installer = Installer(self._shelf, trust, settings.means, settings.slow_factor)
        self._rows: Rows = tuple(row for row in self._shelf.rows() if row.stage is not Stage.TRIAL)
        self._slots: dict[str, Slot] = {}
        self._arrived, self._new_on_duty = asyncio.Event(), asyncio.Event()
        self._changing = asyncio.Lock()
        """Held while it changes who is on duty."""
        self._saving = asyncio.Lock()
        for row in self._rows:
            if row.stage in ON_DUTY:
                self._put_on_duty(row)

    def arrived(self) -> None:
        """Look at once whether there is a bundle to be taken in."""
        self._arrived.set()

    def rows(self) -> Rows:
        """Return what is known of each bundle."""
        return self._rows

    def refused(self) -> list[str]:
        """Return what people must be told of: bundles refused or rolled back lately, with nothing taken since."""
        since_ns = self._outlets.clock_ns() - TOLD_FOR_NS
        in_order = sorted(self._rows, key=lambda row: (row.changed_ns, bool(row.reason)))
        newest = {row.task: row for row in in_order if row.stage in _TOLD}
        # What nobody could say the task of is told until anything is taken.
        taken_ns = max((row.changed_ns for row in self._rows if row.stage in ON_DUTY), default=0)
        newest_faults = [row for row in newest.values() if row.reason and row.changed_ns > since_ns]
        faulty = [row for row in newest_faults if row.task or row.changed_ns > taken_ns]
        return [" ".join(filter(None, (row.task, row.version, row.reason))) for row in faulty]

    @asynccontextmanager
    async def model(self, task: str, subject: Subject) -> AsyncIterator[Model]:
        """Give the bundle that is on duty for a task, for the time of one study.

        Raises:
            ModelAbsent: there is none.
            NotForPatients: it must not be run on this one.
            EngineFailed: its worker does not start.
        """
        slot = self._on_duty(task, subject)
        slot.users += 1
        try:
            yield Model(self, slot, await self._awake(slot))
        finally:
            slot.users -= 1
            if slot.is_retired and not slot.users:
                await slot.rest()

    def ran(self, slot: Slot, seconds: float) -> None:
        """Count a run without a fault; called by the model on loan."""
        task = slot.bundle.manifest.task
        self._outlets.metrics.runs.labels(task, "done").inc()
        self._outlets.metrics.seconds.labels(task).observe(seconds)
        slot.runs += 1
        row = self._row_of(slot)
        if row is not None and row.stage is Stage.PROBATION and slot.runs >= self._settings.probation_runs:
            self._move(row.bundle_id, Event.STEADY)
            self._arrived.set()

    async def fault(self, slot: Slot, failed: EngineFailed) -> None:
        """Take note of a run that gave nothing; called by the model on loan.

        Where anything but the engine that is everywhere ran it, that is given up first; else a bundle on probation
        gives way to the one before it.
        """
        task = slot.bundle.manifest.task
        self._outlets.metrics.runs.labels(task, failed.reason).inc()
        log.warning("inference-failed", task=task, reason=failed.reason, detail=failed.detail)
        if await slot.gives_engine_up():
            self._new_on_duty.set()
            return
        async with self._changing:
            row = self._row_of(slot)
            if row is not None and rollout.can_go_back(self._rows, row) and not slot.is_retired:
                await self._roll_back(slot, row, failed)

    async def run(self) -> None:
        """Take in what arrives, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take_in(), name="inference-arrivals")
                group.create_task(self._rest_when_idle(), name="inference-idle")
                if self._settings.is_accelerated:
                    group.create_task(self._choose_engines(), name="inference-engines")
        finally:
            for slot in self._slots.values():
                await slot.rest()

    async def _take_in(self) -> None:
        while True:
            self._arrived.clear()
            await self._save()
            for arrival in await self._arrivals.waiting():
                if await self._install(arrival):
                    await self._arrivals.settled(arrival)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._arrived.wait()

    async def _choose_engines(self) -> None:
        """Find out by what each bundle runs best; a task of its own, because building an engine takes minutes."""
        offers = await offers_here()
        while True:
            self._new_on_duty.clear()
            for slot in list(self._slots.values()):
                await self._choose(slot, offers)
            await self._new_on_duty.wait()

    async def _rest_when_idle(self) -> None:
        while True:
            await asyncio.sleep(self._settings.idle_s / 4)
            await idle_ones_rest(list(self._slots.values()), self._settings.idle_s)

    async def _install(self, arrival: Arrival) -> bool:
        """Judge a file and put its bundle on duty, or not; return False where it is to be tried again later."""
        try:
            bundle = await asyncio.to_thread(self._installer.believed, arrival.path)
        except BundleRefused as refused:
            fault = (refused.reason, refused.detail)
            self._rows = rollout.unbelieved(self._rows, arrival.sha256, fault, self._outlets.clock_ns())
            await self._tell_refused(arrival.sha256[:12], fault)
            return True
        except OSError as error:
            log.warning("bundle-not-judged", bundle=arrival.sha256[:12], reason=error.strerror)
            return False
        manifest = bundle.manifest
        on_duty = rollout.on_duty(self._rows, manifest.task)
        if on_duty is not None and on_duty.bundle_id == bundle.bundle_id:
            return True
        former = self._slots.get(manifest.task)
        self._rows = rollout.on_trial(self._rows, bundle, self._outlets.clock_ns())
        try:
            worker = await self._installer.tried(arrival.path, bundle, former.bundle if former else None)
        except (BundleRefused, EngineFailed) as refused:
            self._move(bundle.bundle_id, Event.FAILED, (refused.reason, refused.detail))
            await self._tell_refused(f"{manifest.task}/{manifest.version}", (refused.reason, refused.detail))
            return refused.reason is not Refusal.NO_ROOM
        await self._switch(bundle, worker)
        return True

    async def _switch(self, bundle: Bundle, worker: Worker) -> None:
        """Put a bundle on duty; the one before it ends with the studies that it has begun."""
        manifest = bundle.manifest
        async with self._changing:
            former = self._slots.get(manifest.task)
            self._move(bundle.bundle_id, Event.PASSED)
            slot = self._put_on_duty(next(row for row in self._rows if row.bundle_id == bundle.bundle_id))
            if slot is None:
                await worker.close()
            else:
                slot.worker = worker
            if former is not None:
                await _retire(former)
            await self._others_rest(slot)
        self._new_on_duty.set()
        await self._save()
        self._outlets.metrics.bundles.labels("taken").inc()
        self._outlets.note("bundle-installed", f"bundle/{manifest.task}/{manifest.version}", "ok")
        log.info("bundle-installed", task=manifest.task, version=manifest.version, bundle=bundle.bundle_id[:12])

    async def _choose(self, slot: Slot, offers: Sequence[Offer]) -> None:
        """Have a bundle run by what is fastest here, if that was not found out yet for the libraries that are here."""
        row = self._row_of(slot)
        if row is None or not offers or (row.offer == told(offers, row.choice) and not slot.wants_building):
            return
        slot.wants_building = False
        try:
            chosen = await self._installer.best(slot.bundle, offers)
        except BundleRefused as damaged:
            log.warning("bundle-damaged", task=row.task, detail=damaged.detail)
            return
        self._rows = tuple(
            replace(each, choice=chosen, offer=told(offers, chosen)) if each.bundle_id == row.bundle_id else each
            for each in self._rows
        )
        await slot.choose(chosen)
        await self._save()

    async def _roll_back(self, slot: Slot, row: Row, failed: EngineFailed) -> None:
        self._move(row.bundle_id, Event.MISBEHAVED, (failed.reason, failed.detail))
        del self._slots[row.task]
        await _retire(slot)
        former = rollout.on_duty(self._rows, row.task)
        if former is not None:
            self._put_on_duty(former)
        await self._save()
        self._outlets.metrics.rolled_back.labels(row.task, failed.reason).inc()
        self._outlets.note("bundle-rolled-back", f"bundle/{row.task}/{row.version}", failed.reason)
        log.warning("bundle-rolled-back", task=row.task, version=row.version, reason=failed.reason)

    def _put_on_duty(self, row: Row) -> Slot | None:
        """Return the new slot of a bundle; None where the disk has damaged it."""
        try:
            bundle = self._shelf.bundle(row.bundle_id)
        except BundleRefused as damaged:
            log.warning("bundle-damaged", task=row.task, detail=damaged.detail)
            return None
        slot = Slot(bundle, self._shelf.place(row.bundle_id), row.choice, self._outlets.budget())
        self._slots[row.task] = slot
        return slot

    def _on_duty(self, task: str, subject: Subject) -> Slot:
        slot = self._slots.get(task)
        if slot is None:
            raise ModelAbsent(task)
        provenance.check(slot.bundle, subject, is_research=self._settings.is_research)
        return slot

    async def _others_rest(self, slot: Slot | None) -> None:
        """End the workers that nobody uses: one model at a time holds memory."""
        await idle_ones_rest([each for each in self._slots.values() if each is not slot], 0)

    async def _awake(self, slot: Slot) -> Worker:
        """Return a slot's worker, started where it does not run; a fault where it does not start."""
        try:
            async with slot.starting:
                if not slot.is_awake:
                    await self._others_rest(slot)
                return await slot.awake(self._settings.means)
        except EngineFailed as failed:
            await self.fault(slot, failed)
            raise

    def _row_of(self, slot: Slot) -> Row | None:
        return next((row for row in self._rows if row.bundle_id == slot.bundle.bundle_id), None)

    def _move(self, bundle_id: str, event: Event, fault: tuple[str, str] = ("", "")) -> None:
        self._rows = rollout.moved(self._rows, bundle_id, event, self._outlets.clock_ns(), fault)

    async def _save(self) -> None:
        async with self._saving:
            await asyncio.to_thread(self._shelf.save, self._rows)
        self._outlets.metrics.serving.clear()
        for task, slot in self._slots.items():
            version = slot.bundle.manifest.version
            self._outlets.metrics.serving.labels(task, version, str(slot.choice)).set(1)

    async def _tell_refused(self, target: str, fault: tuple[str, str]) -> None:
        await self._save()
        self._outlets.metrics.bundles.labels(fault[0]).inc()
        self._outlets.note("bundle-refused", f"bundle/{target}", fault[0])
        log.warning("bundle-refused", bundle=target, reason=fault[0], detail=fault[1])


async def _retire(slot: Slot) -> None:
    slot.is_retired = True
    if not slot.users:
        await slot.rest()
